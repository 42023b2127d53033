import type { Entry } from "../../gen/ts/anchord/v1/receipt_pb.js";
import { messageOf } from "./errors.js";
import { durationSeconds } from "./iso-duration.js";
import { typeOf } from "./record.js";
import type { Body } from "./record.js";

/** What a record of a type does to the deadline of its subject. */
export interface SlaPolicy {
  /** The record type. */
  readonly type: string;
  /** The event type of a complaint; undefined for any, and for records of other types. */
  readonly eventType: string | undefined;
  /** Seconds from when it happened to the deadline that it starts; undefined where it meets one. */
  readonly startSeconds: number | undefined;
}

/** What stands for no policies at all. */
const NONE = "none";

const CONDITION = /^([a-z][a-z0-9._-]{0,63})(?::([A-Z][A-Z0-9_]{0,63}))?$/;

/** Types of the records that policies themselves bring about. */
const OWN_TYPE = /^(deadline_|level_raised$)/;

/**
 * Reads policies: "none", or, separated by commas, each a record type, for a complaint perhaps ':' and its
 * event type, then '=' and what it does: the ISO 8601 duration to the deadline that it starts, or "meet".
 * Throws an Error that says what is wrong.
 */
export function parsePolicies(text: string): SlaPolicy[] {
  if (text.trim() === NONE) return [];
  const items = text.split(",").flatMap((item) => item.trim() || []);
  if (items.length === 0) throw new Error(`has no policy: "${NONE}" stands for none`);
  const policies: SlaPolicy[] = [];
  for (const item of items) {
    const policy = policyOf(item);
    if (policies.some((earlier) => covers(earlier, policy))) {
      throw new Error(`"${item}" never counts: one before it is for the same records`);
    }
    policies.push(policy);
  }
  return policies;
}

/** The first policy that is for a record; undefined where none is. */
export function policyFor(policies: readonly SlaPolicy[], { body }: Entry): SlaPolicy | undefined {
  const type = typeOf(body as Body);
  const eventType = body.case === "complaint" ? body.value.eventType : undefined;
  return policies.find((policy) => covers(policy, { type, eventType }));
}

/** Whether a policy is for every record that a condition is for. */
function covers(
  { type, eventType }: SlaPolicy,
  of: Pick<SlaPolicy, "type" | "eventType">,
): boolean {
  return type === of.type && (eventType === undefined || eventType === of.eventType);
}

function policyOf(item: string): SlaPolicy {
  const at = item.indexOf("=");
  const [, type, eventType] = CONDITION.exec(item.slice(0, Math.max(0, at)).trim()) ?? [];
  if (type === undefined) {
    throw new Error(`"${item}" is no policy, such as complaint:ASSIGNED=PT48H`);
  }
  if (OWN_TYPE.test(type)) throw new Error(`"${item}" would answer what policies do`);
  if (eventType !== undefined && type !== "complaint") {
    throw new Error(`"${item}" has an event type: only complaints have those`);
  }
  return { type, eventType, startSeconds: startOf(item, item.slice(at + 1).trim()) };
}

function startOf(item: string, effect: string): number | undefined {
  if (effect === "meet") return undefined;
  try {
    const seconds = durationSeconds(effect);
    if (seconds > 0) return seconds;
  } catch (error) {
    throw new Error(`"${item}": ${messageOf(error)}; or "meet"`, { cause: error });
  }
  throw new Error(`"${item}" starts a deadline that has passed`);
}
