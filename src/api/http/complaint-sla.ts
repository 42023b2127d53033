import { isChainAway } from "../../core/errors.js";
import { subjectKey } from "../../core/evidence.js";
import { levelDue } from "../../core/sla.js";
import type { Cycle } from "../../core/sla.js";
import { slaOf } from "../../store/sla.js";
import type { StoredSla } from "../../store/sla.js";
import type { ComplaintParts } from "./complaint.js";
import { isoSeconds } from "../../core/calendar.js";

/** A deadline as the calls show it, by the clock of the chain. */
export interface SlaStatus {
  /** Seconds since 1970. */
  readonly deadline: number;
  /** The same in ISO 8601. */
  readonly deadline_datetime: string;
  /** Whether a level of it was raised on the chain. */
  readonly escalated: boolean;
  /** Negative after the deadline; null once it is met. It stands still while the deadline is paused. */
  readonly time_remaining_seconds: number | null;
  /** Whether a level is due that is not raised yet. */
  readonly should_escalate: boolean;
}

/** A deadline, and whether the contract says so; null where it could not be asked. */
export interface FoundSla {
  readonly status: SlaStatus;
  readonly verified: boolean | null;
}

/**
 * The complaint's last deadline as the contract has it; as it was asked for while the contract does not have
 * it, or cannot be asked. Undefined where there is none.
 */
export async function slaStatus(
  parts: ComplaintParts,
  subject: string,
): Promise<FoundSla | undefined> {
  const key = subjectKey(subject);
  const stored = await parts.log.database.read((db) => slaOf(db, { subjectKey: key }));
  const onChain = await cycleOnChain(parts, key);
  // The next one waits for the contract; what the database says of one that is there does not count.
  const isWaiting = stored?.state === "PENDING" && stored.cycle > (onChain?.number ?? 0);
  const sla = isWaiting || onChain == null ? stored && asCycle(stored) : onChain;
  if (sla === undefined) return undefined;
  const verified = onChain === null ? null : sla === onChain;
  return { status: shown(sla, parts.now()), verified };
}

/** Undefined where the contract has no deadline, null where it cannot be asked. */
async function cycleOnChain(
  { log }: ComplaintParts,
  key: Uint8Array,
): Promise<Cycle | undefined | null> {
  const { chain, identity } = log.connection() ?? {};
  if (chain === undefined || identity?.sla === undefined) return null;
  try {
    return await chain.slaCycle(identity.sla, key);
  } catch (error) {
    if (isChainAway(error)) return null;
    throw error;
  }
}

/** One that waits for the chain will be open there; one that the chain refused is none. */
function asCycle(stored: StoredSla): Cycle | undefined {
  const { state, cycle: number } = stored;
  if (state === "FAILED") return undefined;
  return { ...stored, number, state: state === "PENDING" ? "OPEN" : state };
}

function shown(sla: Cycle, now: number): SlaStatus {
  const { deadline, raised, state, pauseTime } = sla;
  return {
    deadline,
    deadline_datetime: isoSeconds(deadline),
    escalated: raised > 0,
    time_remaining_seconds: state === "MET" ? null : deadline - (pauseTime ?? now),
    should_escalate: levelDue(sla, now) > raised,
  };
}
