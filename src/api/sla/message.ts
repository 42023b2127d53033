import type { MessageInitShape } from "@bufbuild/protobuf";
import { SLAChangeKind, SLAState } from "../../../gen/ts/anchord/v1/sla_pb.js";
import type { SLAChangeSchema, SLASchema } from "../../../gen/ts/anchord/v1/sla_pb.js";
import { timeOfSeconds } from "../../core/calendar.js";
import { hex, hex0x } from "../../core/bytes.js";
import { bodyOf } from "../../core/record.js";
import type { SlaRoom } from "../../flow/sla.js";
import { isSlaBreached, slaHistory } from "../../store/sla.js";
import type { StoredSla } from "../../store/sla.js";
import type { StoredSlaChange } from "../../store/sla-changes.js";
import type { StoredSlaEvent } from "../../store/sla-events.js";
import { durationOf } from "../convert.js";
import { lastFinal, stateIn } from "../finality.js";

/** A deadline as callers see it. */
export type SlaMessage = MessageInitShape<typeof SLASchema>;

type ChangeMessage = MessageInitShape<typeof SLAChangeSchema>;

/** A change that was asked for, or seen on chain, or both. */
interface Step {
  readonly asked: StoredSlaChange | undefined;
  readonly seen: StoredSlaEvent | undefined;
}

/** Deadlines as callers see them, without their changes. */
export async function slaMessages(
  { log: { database }, now }: SlaRoom,
  slas: readonly StoredSla[],
): Promise<SlaMessage[]> {
  const finalNumber = await lastFinal(database);
  return slas.map((sla) => slaMessage(sla, finalNumber, now()));
}

/** A deadline as callers see it, with its changes. */
export async function slaWithChanges(room: SlaRoom, sla: StoredSla): Promise<SlaMessage> {
  const { database } = room.log;
  const finalNumber = await lastFinal(database);
  const { changes, events } = await database.read((db) => slaHistory(db, sla));
  const [first] = changes;
  const details = first?.intent.kind === "SET" ? detailsOf(first) : undefined;
  return {
    ...slaMessage(sla, finalNumber, room.now()),
    changes: stepsOf(changes, events).map((step) => changeMessage(step, finalNumber)),
    ...(details === undefined ? {} : { details }),
  };
}

function slaMessage(sla: StoredSla, finalNumber: number, now: number) {
  const { recordId, subjectKey, subject, cycle, state, deadline, ladder, raised } = sla;
  const { extensions, pauseTime, meetTime, nextTime, blockNumber } = sla;
  const hasEnded = state === "MET" || state === "FAILED";
  return {
    id: recordId === undefined ? "" : hex(recordId),
    subject: subject === "" ? hex(subjectKey) : subject,
    subjectKey: hex(subjectKey),
    cycle,
    state: SLAState[`SLA_STATE_${state}`],
    deadline: timeOfSeconds(deadline),
    ladder: ladder.map(durationOf),
    level: raised,
    breached: isSlaBreached(sla, now),
    nextLevelTime: timeOfSeconds(nextTime),
    timeRemaining: hasEnded ? undefined : durationOf(deadline - (pauseTime ?? now)),
    extensions,
    pauseTime: timeOfSeconds(pauseTime),
    meetTime: timeOfSeconds(meetTime),
    anchorState: stateIn(blockNumber, finalNumber),
  };
}

/**
 * What was asked for and what was seen, oldest first. What the chain has stands in its order; before it, what
 * was asked for earlier and the chain has not.
 */
function stepsOf(changes: readonly StoredSlaChange[], events: readonly StoredSlaEvent[]): Step[] {
  const asked = new Map(changes.map((change) => [hex(change.recordId), change]));
  const steps = events.map((seen): Step => {
    const id = seen.recordId && hex(seen.recordId);
    const change = id === undefined ? undefined : asked.get(id);
    if (id !== undefined) asked.delete(id);
    return { asked: change, seen };
  });
  const unseen = [...asked.values()];
  const before = (id: number) => {
    const count = unseen.findIndex((change) => change.id > id);
    return unseen.splice(0, count < 0 ? unseen.length : count);
  };
  const ordered = steps.flatMap((step) => [
    ...(step.asked === undefined ? [] : before(step.asked.id)).map(unseenStep),
    step,
  ]);
  return [...ordered, ...unseen.map(unseenStep)];
}

function unseenStep(asked: StoredSlaChange): Step {
  return { asked, seen: undefined };
}

function changeMessage({ asked, seen }: Step, finalNumber: number): ChangeMessage {
  const did = seen?.change ?? asked?.intent;
  if (did === undefined) throw new Error("a change was neither asked for nor seen");
  const recordId = asked?.recordId ?? seen?.recordId;
  return {
    kind: SLAChangeKind[`SLA_CHANGE_KIND_${did.kind}`],
    recordId: recordId === undefined ? "" : hex(recordId),
    state: stateIn(seen?.blockNumber, finalNumber),
    deadline: "deadline" in did ? timeOfSeconds(did.deadline) : undefined,
    ...(did.kind === "LEVEL_RAISED"
      ? { level: did.level, dueTime: timeOfSeconds(did.dueTime) }
      : undefined),
    ...(asked === undefined ? strangeParts(seen) : askedParts(asked)),
    ...(seen && placeOf(seen)),
  };
}

/** What only those know who were asked for a change. */
function askedParts({ entry: { actor, body }, cause, reason: failure }: StoredSlaChange) {
  return {
    actor,
    cause: cause === undefined ? "" : hex(cause),
    reason: body.value !== undefined && "reason" in body.value ? body.value.reason : "",
    failure,
  };
}

/** The same of a change that was not asked for here, as far as the chain tells. */
function strangeParts(seen: StoredSlaEvent | undefined) {
  if (seen === undefined) return {};
  const { account, change } = seen;
  const reason = change.kind === "EXTENDED" ? `sha256:${hex(change.reasonHash)}` : "";
  return { actor: hex0x(account), reason };
}

function placeOf({ blockTime, blockNumber, transactionHash }: StoredSlaEvent) {
  return {
    blockTime: timeOfSeconds(blockTime),
    blockNumber: BigInt(blockNumber),
    transactionHash: hex0x(transactionHash),
  };
}

function detailsOf({ entry }: StoredSlaChange) {
  const body = bodyOf(entry);
  return body.case === "deadlineSet" ? body.value.details : undefined;
}
