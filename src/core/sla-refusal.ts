import { isoSeconds } from "./calendar.js";
import { AnchordError } from "./errors.js";
import { MOST_LEVELS } from "./sla.js";
import type { Cycle } from "./sla.js";

/** What a refusal is about. */
export interface Refused {
  /** What the deadline is for. */
  readonly subject: string;
  /** The deadline as it stands; undefined where there is none. */
  readonly cycle: Cycle | undefined;
  /** The clock of the chain, in seconds since 1970. */
  readonly now: number;
}

/**
 * The error for a change that the contract does not take, by the error that it names, with or without its
 * arguments: SLA_NOT_FOUND where there is no deadline to change, else SLA_REFUSED.
 */
export function refusalError(refusal: string, about: Refused): AnchordError {
  const name = /^\w+/.exec(refusal)?.[0] ?? "";
  if (name === "UnknownDeadline") {
    const message = `no deadline was ever set for ${about.subject}: set one with SetDeadline`;
    return new AnchordError("SLA_NOT_FOUND", message);
  }
  const { cycle, now } = about;
  const stands = STANDS[name]?.({ deadline: cycle?.deadline ?? 0, ...cycle, now });
  const message = `the deadline for ${about.subject} ${stands ?? `is refused by the contract: ${refusal}`}`;
  return new AnchordError("SLA_REFUSED", message, { metadata: { refusal: name } });
}

type Standing = Partial<Cycle> & { readonly deadline: number; readonly now: number };

/** What stands, and what to do about it, by the contract's error. */
const STANDS: Readonly<Record<string, (at: Standing) => string>> = {
  AlreadyOpen: ({ deadline }) => `is open, until ${iso(deadline)}: meet it first, or extend it`,
  DeadlineInPast: ({ now }) =>
    `would have passed: it is ${iso(now)} by the clock of the chain; name a later one`,
  DeadlineTooFar: () => "is later than any may be: name an earlier one, in seconds",
  EmptyLadder: () => "needs a ladder: name 1 level or more",
  TooManyLevels: () => `has too many levels: name ${MOST_LEVELS} at the most`,
  LadderNotAscending: () => "has a level that is not after the one before it: let them ascend",
  NotOpen: ({ meetTime }) => `is not open, but was met at ${iso(meetTime)}: set the next one`,
  AlreadyMet: ({ meetTime }) => `was met before, at ${iso(meetTime)}: set the next one`,
  NotPaused: () => "is not paused: there is nothing to resume",
  AlreadyPaused: ({ pauseTime }) => `is paused, since ${iso(pauseTime)}: resume it first`,
  AlreadyBreached: ({ deadline }) =>
    `has passed, at ${iso(deadline)}, and a breach stays: meet it, if late`,
  NotLater: ({ deadline }) => `is ${iso(deadline)} already: name a later one`,
};

function iso(seconds: number | undefined): string {
  return seconds === undefined ? "a time unknown" : isoSeconds(seconds);
}
