import { hex0x } from "../core/bytes.js";
import { asSealedEvent, SEALED_TOPIC } from "./audit-log.js";
import { ANCHORED_TOPIC, asEvidenceEvent } from "./evidence-registry.js";
import { RangeRefused } from "./port.js";
import type { Chain, ContractEvent, Contracts } from "./port.js";
import { asUnavailable, quantity, RpcFault } from "./rpc.js";
import type { Rpc, RpcLog } from "./rpc.js";
import { asSlaEvent, SLA_TOPICS } from "./sla-registry.js";

/** What the contracts announced, as the node behind an RPC has it. */
export function eventCalls(rpc: Rpc): Pick<Chain, "events" | "eventsIn"> {
  return {
    events: async (of, fromBlock, toBlock) => {
      const range = { fromBlock: quantity(fromBlock), toBlock: quantity(toBlock) };
      try {
        return await search(rpc, of, range);
      } catch (error) {
        // Every node words it differently, and has its own code for it.
        if (error instanceof RpcFault) throw new RangeRefused(error.message, { cause: error });
        throw error;
      }
    },
    eventsIn: async (of, blockHash) => {
      try {
        return await search(rpc, of, { blockHash });
      } catch (error) {
        throw asUnavailable(error);
      }
    },
  };
}

async function search(rpc: Rpc, of: Contracts, where: object): Promise<ContractEvent[]> {
  const logs = await rpc<RpcLog[]>("eth_getLogs", { ...filterFor(of), ...where });
  return logs.flatMap((log) => eventIn(of, log) ?? []);
}

/**
 * A filter has the same topics for all of its contracts: asked for what the registries announce as well,
 * which is of any subject, the node gives the seals of every log.
 */
function filterFor({ contract, evidence, sla, log }: Contracts): object {
  if (evidence === undefined && sla === undefined) {
    return { address: contract, topics: [SEALED_TOPIC, hex0x(log)] };
  }
  const address = [contract, evidence, sla].filter((each) => each !== undefined);
  const anchored = evidence === undefined ? [] : [ANCHORED_TOPIC];
  const changed = sla === undefined ? [] : SLA_TOPICS;
  return { address, topics: [[SEALED_TOPIC, ...anchored, ...changed]] };
}

/** What a log says; undefined where it is of another log of ours, or not of the contract that may say so. */
function eventIn(of: Contracts, found: RpcLog): ContractEvent | undefined {
  const [topic = "", next] = found.topics;
  const address = found.address.toLowerCase();
  if (address === of.contract && topic === SEALED_TOPIC && next === hex0x(of.log)) {
    return asSealedEvent(found);
  }
  if (address === of.evidence && topic === ANCHORED_TOPIC) return asEvidenceEvent(found);
  if (address === of.sla && SLA_TOPICS.includes(topic)) return asSlaEvent(found);
  return undefined;
}
