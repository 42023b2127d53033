import { auditLogAbi } from "../../gen/contracts/audit-log.js";
import { hex0x, sameBytes, unhex, ZERO32 } from "../core/bytes.js";
import { AnchordError } from "../core/errors.js";
import type { BatchSeal, DifficultyChange, LogId } from "../core/head.js";
import type { ChainBatch, ChainTransaction } from "../core/receipt.js";
import { announced, contractOf } from "./contracts.js";
import type { Call, Chain, SealedEvent } from "./port.js";
import { quantity, RpcFault } from "./rpc.js";
import type { Rpc, RpcLog } from "./rpc.js";
import { unlessOther, viewsOf } from "./views.js";

/** AuditLog's ABI. */
export const AUDIT_LOG = contractOf(auditLogAbi);

/** The topic of a seal's event; the next one is the log. */
export const SEALED_TOPIC = AUDIT_LOG.topic("BatchSealed");

const DIFFICULTY_TOPIC = AUDIT_LOG.topic("DifficultyChanged");

const IDENTITY = { name: "AuditLog", version: 1n };

/** Gas limit of a seal: about half as much again as the most that one was measured to need. */
export const SEAL_GAS = 200_000;

/** What AuditLog answers. */
type AuditLogCalls = Pick<
  Chain,
  | "isAuditLog"
  | "maySeal"
  | "minimumDifficulty"
  | "difficultyChanges"
  | "lastSealed"
  | "batch"
  | "sealCall"
>;

/** What AuditLog answers, at the node behind an RPC. */
export function auditLogCalls(rpc: Rpc): AuditLogCalls {
  const views = viewsOf(rpc, AUDIT_LOG, IDENTITY);
  return {
    isAuditLog: (contract) => views.isThere(contract),
    maySeal: (contract, account) => views.grants(contract, "SEALER_ROLE", account),
    minimumDifficulty: async (contract) => {
      const found = await unlessOther(views.ask(contract, "minimumDifficulty"));
      if (found !== undefined) return Number(found[0]);
      throw unknownWork(`${contract} does not say how much work it asks of heads`);
    },
    difficultyChanges: (contract, fromBlock) => difficultyChanges(rpc, contract, fromBlock),
    lastSealed: async ({ contract, log }) => {
      const { number, head } = await views.ask(contract, "headOf", hex0x(log));
      return { number: BigInt(number as string), head: unhex(head as string) };
    },
    batch: async ({ contract, log }, number) => {
      const found = await unlessOther(views.ask(contract, "batchOf", hex0x(log), number));
      if (found === undefined) return undefined;
      const root = unhex(found["root"] as string);
      const head = unhex(found["head"] as string);
      const size = BigInt(found["size"] as string);
      const time = BigInt(found["time"] as string);
      const absent =
        [root, head].every((digest) => sameBytes(digest, ZERO32)) && size + time === 0n;
      return absent ? undefined : ({ root, head, size, time } satisfies ChainBatch);
    },
    sealCall,
  };
}

async function difficultyChanges(
  rpc: Rpc,
  address: string,
  fromBlock: number,
): Promise<DifficultyChange[]> {
  const range = { fromBlock: quantity(fromBlock), toBlock: "latest" };
  try {
    const logs = await rpc<RpcLog[]>("eth_getLogs", {
      ...{ address, topics: [DIFFICULTY_TOPIC] },
      ...range,
    });
    return logs.map(({ data, topics, blockNumber }) => {
      const { previous } = AUDIT_LOG.decodeEvent("DifficultyChanged", data, topics);
      return { blockNumber: Number(blockNumber), previous: Number(previous) };
    });
  } catch (error) {
    if (!(error instanceof RpcFault)) throw error;
    const why = `the node does not search its logs from block ${fromBlock} on (${error.message})`;
    throw unknownWork(`${why}, and only they say how much work was asked of heads then`, error);
  }
}

function unknownWork(why: string, cause?: unknown): AnchordError {
  return new AnchordError("CHAIN_UNAVAILABLE", `${why}: ask another node`, { cause });
}

function sealCall(id: LogId, previousHead: Uint8Array, seal: BatchSeal): Call {
  const data = AUDIT_LOG.encode("sealBatch", [
    hex0x(id.log),
    {
      number: seal.number,
      size: seal.size,
      nonce: seal.nonce,
      previousHead: hex0x(previousHead),
      root: hex0x(seal.root),
      manifestDigest: hex0x(seal.manifestDigest),
      trailsRoot: hex0x(seal.trailsRoot),
    },
  ]);
  return { to: id.contract, data, gas: SEAL_GAS };
}

/** The batches that a transaction's logs announce, of any AuditLog. */
export function sealedIn(logs: readonly RpcLog[]): ChainTransaction["sealed"] {
  return announced(logs, SEALED_TOPIC).map(({ contract, indexed: [log, number] }) => {
    return { contract, log: unhex(log), number: BigInt(number) };
  });
}

/** The seal in a log of AuditLog. */
export function asSealedEvent(log: RpcLog): SealedEvent {
  const event = AUDIT_LOG.decodeEvent("BatchSealed", log.data, log.topics);
  return {
    type: "sealed",
    seal: {
      number: BigInt(event["number"] as string),
      root: unhex(event["root"] as string),
      size: BigInt(event["size"] as string),
      manifestDigest: unhex(event["manifestDigest"] as string),
      trailsRoot: unhex(event["trailsRoot"] as string),
      nonce: BigInt(event["nonce"] as string),
    },
    head: unhex(event["head"] as string),
    transactionHash: log.transactionHash,
    blockNumber: Number(log.blockNumber),
    blockHash: log.blockHash,
  };
}
