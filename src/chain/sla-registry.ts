import { slaRegistryAbi } from "../../gen/contracts/sla-registry.js";
import { hex0x, unhex, ZERO32 } from "../core/bytes.js";
import { reasonHash } from "../core/sla.js";
import type { Cycle, CycleState, SlaChange, SlaIntent } from "../core/sla.js";
import { contractOf } from "./contracts.js";
import type { Decoded } from "./contracts.js";
import type { Call, Chain, SlaEvent } from "./port.js";
import { asUnavailable } from "./rpc.js";
import type { Rpc, RpcLog } from "./rpc.js";
import { viewsOf } from "./views.js";

/** SLARegistry's ABI. */
export const SLA_REGISTRY = contractOf(slaRegistryAbi);

const IDENTITY = { name: "SLARegistry", version: 1n };

/** What each of the events of a deadline tells. */
const CHANGES = {
  DeadlineSet: ({ deadline, offsets }) => ({
    kind: "SET",
    deadline: Number(deadline),
    ladder: (offsets as readonly unknown[]).map(Number),
  }),
  DeadlineExtended: ({ deadline, reason }) => ({
    kind: "EXTENDED",
    deadline: Number(deadline),
    reasonHash: unhex(reason as string),
  }),
  DeadlinePaused: () => ({ kind: "PAUSED" }),
  DeadlineResumed: ({ deadline }) => ({ kind: "RESUMED", deadline: Number(deadline) }),
  DeadlineMet: ({ deadline }) => ({ kind: "MET", deadline: Number(deadline) }),
  LevelRaised: ({ level, due }) => ({
    kind: "LEVEL_RAISED",
    level: Number(level),
    dueTime: Number(due),
  }),
} as const satisfies Readonly<Record<string, (event: Decoded) => SlaChange>>;

type EventName = keyof typeof CHANGES;

const EVENT_OF = new Map(
  (Object.keys(CHANGES) as EventName[]).map((name) => [SLA_REGISTRY.topic(name), name]),
);

/** The topics of the events of a deadline. */
export const SLA_TOPICS: readonly string[] = [...EVENT_OF.keys()];

/**
 * Gas limit of a change of a deadline: half as much again as the 95,000 that the dearest was measured to
 * need, which sets a deadline with eight levels after another was met.
 */
export const SLA_GAS = 145_000;

/**
 * Gas limit of a call that escalates, of each subject in it, and of each level that it can raise: half
 * as much again as the 22,300, 9,300 and 2,860 that were measured.
 */
export const ESCALATION_GAS = { call: 33_500, each: 14_000, level: 4_300 } as const;

/** What SLARegistry answers. */
type SlaRegistryCalls = Pick<
  Chain,
  "isSlaRegistry" | "mayManage" | "slaCycle" | "slaDue" | "slaEvents" | "slaCall" | "escalateCall"
>;

/** What SLARegistry answers, at the node behind an RPC. */
export function slaRegistryCalls(rpc: Rpc): SlaRegistryCalls {
  const views = viewsOf(rpc, SLA_REGISTRY, IDENTITY);
  return {
    isSlaRegistry: (contract) => views.isThere(contract),
    mayManage: (contract, account) => views.grants(contract, "MANAGER_ROLE", account),
    slaCycle: async (contract, subjectKey, cycle) => {
      const id = hex0x(subjectKey);
      const answer = await (cycle === undefined
        ? views.find(contract, "deadlineOf", "UnknownDeadline", id)
        : views.find(contract, "cycleOf", "UnknownCycle", id, cycle));
      return answer && asCycle(answer["cycle"] as Decoded);
    },
    slaDue: async (contract, subjectKeys) => {
      const { due } = await views.ask(contract, "dueOf", subjectKeys.map(hex0x));
      return (due as readonly string[]).map(unhex);
    },
    slaEvents: async (contract, transactionHash) => {
      const logs = await logsOf(rpc, transactionHash);
      return logs
        .filter(({ address }) => address.toLowerCase() === contract)
        .filter(({ topics }) => SLA_TOPICS.includes(topics[0] ?? ""))
        .map(asSlaEvent);
    },
    slaCall: (contract, subjectKey, intent, ref) => {
      const data = changeData(hex0x(subjectKey), intent, hex0x(ref));
      return { to: contract, data, gas: SLA_GAS };
    },
    escalateCall,
  };
}

async function logsOf(rpc: Rpc, transactionHash: string): Promise<readonly RpcLog[]> {
  try {
    const method = "eth_getTransactionReceipt";
    const receipt = await rpc<{ readonly logs: readonly RpcLog[] } | null>(method, transactionHash);
    return receipt?.logs ?? [];
  } catch (error) {
    throw asUnavailable(error);
  }
}

function asCycle(answer: Decoded): Cycle {
  const [pauseTime, meetTime] = [Number(answer["pauseTime"]), Number(answer["meetTime"])];
  return {
    number: Number(answer["number"]),
    state: stateOf(pauseTime, meetTime),
    deadline: Number(answer["deadline"]),
    ladder: (answer["offsets"] as readonly unknown[]).map(Number),
    raised: Number(answer["raised"]),
    extensions: Number(answer["extensions"]),
    pauseTime: pauseTime === 0 ? undefined : pauseTime,
    meetTime: meetTime === 0 ? undefined : meetTime,
  };
}

function stateOf(pauseTime: number, meetTime: number): CycleState {
  if (meetTime !== 0) return "MET";
  return pauseTime === 0 ? "OPEN" : "PAUSED";
}

function changeData(id: string, intent: SlaIntent, ref: string): string {
  const { encode } = SLA_REGISTRY;
  switch (intent.kind) {
    case "SET":
      return encode("setSLADeadline", [id, intent.deadline, intent.ladder, ref]);
    case "EXTENDED":
      return encode("extend", [id, intent.deadline, hex0x(reasonHash(intent.reason)), ref]);
    case "PAUSED":
      return encode("pause", [id, ref]);
    case "RESUMED":
      return encode("resume", [id, ref]);
    case "MET":
      return encode("meet", [id, ref]);
  }
}

function escalateCall(contract: string, subjectKeys: readonly Uint8Array[], levels: number): Call {
  const data = SLA_REGISTRY.encode("batchCheckAndEscalate", [subjectKeys.map(hex0x)]);
  const { call, each, level } = ESCALATION_GAS;
  return { to: contract, data, gas: call + subjectKeys.length * each + levels * level };
}

/** The change of a deadline in a log of SLARegistry. Requires one of its topics. */
export function asSlaEvent(log: RpcLog): SlaEvent {
  const name = EVENT_OF.get(log.topics[0] ?? "") as EventName;
  const event = SLA_REGISTRY.decodeEvent(name, log.data, log.topics);
  const ref = event["ref"] as string | undefined; // escalating has none: anyone may do it
  return {
    type: "sla",
    subjectKey: unhex(event["id"] as string),
    cycle: Number(event["cycle"]),
    change: CHANGES[name](event),
    ref: ref === undefined ? ZERO32 : unhex(ref),
    account: (event["by"] as string).toLowerCase(),
    transactionHash: log.transactionHash,
    blockNumber: Number(log.blockNumber),
    blockHash: log.blockHash,
    logIndex: Number(log.logIndex),
  };
}
