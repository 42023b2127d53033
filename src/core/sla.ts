import type { Entry } from "../../gen/ts/anchord/v1/receipt_pb.js";
import { sha256, unhex } from "./bytes.js";
import { CHAIN_CALLER, subjectKey } from "./evidence.js";

/** Most levels of a ladder: the contract's bound. */
export const MOST_LEVELS = 8;

/** The last moment that a deadline may be set to, in seconds since 1970: the contract's bound. */
export const LATEST_DEADLINE = 2 ** 40 - 1;

/** Whether the clock of a deadline runs, stands still, or has stopped for good. */
export type CycleState = "OPEN" | "PAUSED" | "MET";

/** One deadline of a subject, as SLARegistry keeps it. Times are in seconds since 1970. */
export interface Cycle {
  /** Which of the subject's deadlines, from 1. */
  readonly number: number;
  readonly state: CycleState;
  /** From when on it is broken. While it is paused, as it stood then. */
  readonly deadline: number;
  /** Seconds from the deadline to each level, ascending. */
  readonly ladder: readonly number[];
  /** The highest level that was raised; 0 where none was. */
  readonly raised: number;
  readonly extensions: number;
  /** Since when its clock stands still; undefined while it does not. */
  readonly pauseTime: number | undefined;
  /** When it was met; undefined until then. */
  readonly meetTime: number | undefined;
}

/** What SLARegistry announces of a deadline. */
export type SlaChange =
  | { readonly kind: "SET"; readonly deadline: number; readonly ladder: readonly number[] }
  | { readonly kind: "EXTENDED"; readonly deadline: number; readonly reasonHash: Uint8Array }
  | { readonly kind: "PAUSED" }
  | { readonly kind: "RESUMED"; readonly deadline: number }
  | { readonly kind: "MET"; readonly deadline: number }
  | { readonly kind: "LEVEL_RAISED"; readonly level: number; readonly dueTime: number };

/** A change that somebody wants. The contract decides. */
export type SlaIntent =
  | { readonly kind: "SET"; readonly deadline: number; readonly ladder: readonly number[] }
  | { readonly kind: "EXTENDED"; readonly deadline: number; readonly reason: string }
  | { readonly kind: "PAUSED" }
  | { readonly kind: "RESUMED" }
  | { readonly kind: "MET" };

/** How a deadline ended, or stands once it has passed. */
export type SlaVerdict = "MET_IN_TIME" | "MET_LATE" | "BREACHED";

/** What the chain has of a reason. */
export function reasonHash(reason: string): Uint8Array {
  return sha256(Buffer.from(reason, "utf8"));
}

/** A deadline after a change that the contract has announced in a block of this time. */
export function changed(
  before: Cycle | undefined,
  number: number,
  change: SlaChange,
  time: number,
): Cycle {
  if (change.kind === "SET") {
    const { deadline, ladder } = change;
    const clock = { pauseTime: undefined, meetTime: undefined };
    return { number, state: "OPEN", deadline, ladder, raised: 0, extensions: 0, ...clock };
  }
  if (before === undefined) throw new Error(`deadline ${number} was changed before it was set`);
  switch (change.kind) {
    case "EXTENDED":
      return { ...before, deadline: change.deadline, extensions: before.extensions + 1 };
    case "PAUSED":
      return { ...before, state: "PAUSED", pauseTime: time };
    case "RESUMED":
      return { ...before, state: "OPEN", deadline: change.deadline, pauseTime: undefined };
    case "MET": {
      const { deadline } = change;
      return { ...before, state: "MET", deadline, pauseTime: undefined, meetTime: time };
    }
    case "LEVEL_RAISED":
      return { ...before, raised: change.level };
  }
}

/** What the contract would announce, did it take an intent at this time. */
export function announced(before: Cycle | undefined, intent: SlaIntent, now: number): SlaChange {
  const shifted = (before?.deadline ?? 0) + (now - (before?.pauseTime ?? now));
  switch (intent.kind) {
    case "SET":
      return intent;
    case "EXTENDED":
      return { kind: "EXTENDED", deadline: intent.deadline, reasonHash: reasonHash(intent.reason) };
    case "PAUSED":
      return { kind: "PAUSED" };
    case "RESUMED":
    case "MET":
      return { kind: intent.kind, deadline: shifted };
  }
}

/**
 * The name of the contract's error, did it get an intent at this time; undefined where it would take it. The
 * checks are in the contract's order, so that both name the same one of several.
 */
export function refusalOf(
  cycle: Cycle | undefined,
  intent: SlaIntent,
  now: number,
): string | undefined {
  if (intent.kind === "SET") return refusalToSet(cycle, intent, now);
  if (cycle === undefined) return "UnknownDeadline";
  if (cycle.state === "MET") return intent.kind === "MET" ? "AlreadyMet" : "NotOpen";
  if (intent.kind === "MET") return undefined;
  if (intent.kind === "RESUMED") return cycle.state === "PAUSED" ? undefined : "NotPaused";
  if (cycle.state === "PAUSED") return "AlreadyPaused";
  if (now >= cycle.deadline) return "AlreadyBreached";
  if (intent.kind === "PAUSED") return undefined;
  if (intent.deadline <= cycle.deadline) return "NotLater";
  return intent.deadline > LATEST_DEADLINE ? "DeadlineTooFar" : undefined;
}

function refusalToSet(
  cycle: Cycle | undefined,
  { deadline, ladder }: Extract<SlaIntent, { kind: "SET" }>,
  now: number,
): string | undefined {
  if (deadline <= now) return "DeadlineInPast";
  if (deadline > LATEST_DEADLINE) return "DeadlineTooFar";
  if (ladder.length === 0) return "EmptyLadder";
  if (ladder.length > MOST_LEVELS) return "TooManyLevels";
  const ascends = ladder.every((offset, i) => i === 0 || offset > (ladder[i - 1] as number));
  if (!ascends) return "LadderNotAscending";
  return cycle === undefined || cycle.state === "MET" ? undefined : "AlreadyOpen";
}

/** A deadline after changes that wait, did the contract take them now: those that it would refuse do nothing. */
export function projected(
  cycle: Cycle | undefined,
  intents: readonly SlaIntent[],
  now: number,
): Cycle | undefined {
  return intents.reduce((before, intent) => {
    if (refusalOf(before, intent, now) !== undefined) return before;
    const opened = (before?.number ?? 0) + 1;
    const number = intent.kind === "SET" ? opened : (before?.number ?? opened);
    return changed(before, number, announced(before, intent, now), now);
  }, cycle);
}

/** When the next level of a deadline is due; undefined where its clock does not run, or none is left. */
export function nextLevelTime({ state, deadline, ladder, raised }: Cycle): number | undefined {
  const offset = ladder[raised];
  return state === "OPEN" && offset !== undefined ? deadline + offset : undefined;
}

/** The level that a deadline should have at this time: what is raised, where nothing is due. */
export function levelDue({ state, deadline, ladder, raised }: Cycle, now: number): number {
  if (state !== "OPEN") return raised;
  return Math.max(raised, ladder.filter((offset) => now >= deadline + offset).length);
}

/** Whether the deadline has passed before it was met. */
export function isBreached(
  { deadline, pauseTime, meetTime }: Pick<Cycle, "deadline" | "pauseTime" | "meetTime">,
  now: number,
): boolean {
  return (meetTime ?? pauseTime ?? now) >= deadline;
}

/** How a deadline ended, or stands at this time; undefined where it has neither been met nor passed. */
export function verdictOf(cycle: Cycle, now: number): SlaVerdict | undefined {
  const breached = isBreached(cycle, now);
  if (cycle.state === "MET") return breached ? "MET_LATE" : "MET_IN_TIME";
  return breached ? "BREACHED" : undefined;
}

/** What the log says of a change of a deadline. */
export interface RecordedIntent {
  readonly subjectKey: Uint8Array;
  readonly intent: SlaIntent;
  /** Id of the record that called for it by a policy; undefined where a caller did. */
  readonly cause: Uint8Array | undefined;
}

/** The change that an entry asks for; undefined where it asks for none, or tells of what the chain did. */
export function recordedIntent({ body, subject, caller }: Entry): RecordedIntent | undefined {
  if (caller === CHAIN_CALLER) return undefined;
  const key = { subjectKey: subjectKey(subject) };
  switch (body.case) {
    case "deadlineSet": {
      const { deadline, ladder, cause } = body.value;
      const offsets = ladder.map(({ seconds }) => Number(seconds));
      const intent = { kind: "SET", deadline: Number(deadline?.seconds), ladder: offsets } as const;
      return { ...key, intent, cause: idOf(cause) };
    }
    case "deadlineExtended": {
      const { deadline, reason } = body.value;
      const intent = { kind: "EXTENDED", deadline: Number(deadline?.seconds), reason } as const;
      return { ...key, intent, cause: undefined };
    }
    case "deadlinePaused":
      return { ...key, intent: { kind: "PAUSED" }, cause: undefined };
    case "deadlineResumed":
      return { ...key, intent: { kind: "RESUMED" }, cause: undefined };
    case "deadlineMet":
      return { ...key, intent: { kind: "MET" }, cause: idOf(body.value.cause) };
    default:
      return undefined;
  }
}

/** What the log says of a change that the chain refused. */
export interface RecordedRefusal {
  /** The record of the change. */
  readonly recordId: Uint8Array;
  /** Why, as the contract names it; never empty. */
  readonly reason: string;
}

/** The refusal that an entry tells of; undefined where it tells of none. */
export function recordedRefusal({ body }: Entry): RecordedRefusal | undefined {
  if (body.case !== "deadlineRefused") return undefined;
  const { recordId, reason } = body.value;
  return { recordId: unhex(recordId), reason: reason === "" ? "refused" : reason };
}

function idOf(hex: string): Uint8Array | undefined {
  return hex === "" ? undefined : unhex(hex);
}
