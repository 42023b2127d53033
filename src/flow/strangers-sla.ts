import { create } from "@bufbuild/protobuf";
import type { Transaction } from "kysely";
import {
  DeadlineExtendedSchema,
  DeadlineMetSchema,
  DeadlinePausedSchema,
  DeadlineResumedSchema,
  DeadlineSetSchema,
  LevelRaisedSchema,
} from "../../gen/ts/anchord/v1/record_pb.js";
import { hex } from "../core/bytes.js";
import type { Body } from "../core/record.js";
import { appendUnits, lockTail } from "../store/append.js";
import type { Database } from "../store/database.js";
import { slaChangeByRecord } from "../store/sla-changes.js";
import { slaEventAt, slaEventsOf, strangeSlaEvents } from "../store/sla-events.js";
import type { SlaNote, StoredSlaEvent } from "../store/sla-events.js";
import { recordSlaEvent } from "../store/sla-follow.js";
import type { Tables } from "../store/tables.js";
import { chainRecord } from "./chain-record.js";

/** Events that are recorded in one go. */
const MOST_EVENTS = 200;

/**
 * Records changes of deadlines in blocks up to a number that no record tells of: those that somebody made without
 * this service, and every level that was raised. One that was recorded before, and came back with its batch, is
 * found again. Returns how many records there are more.
 */
export async function recordStrangeSlas(
  database: Database,
  chainId: bigint,
  finalNumber: number,
): Promise<number> {
  const found = await strangeSlaEvents(database, finalNumber, MOST_EVENTS);
  if (found.length === 0) return 0;
  return database.transact(async (trx) => {
    await lockTail(trx, 0);
    const strangers: StoredSlaEvent[] = [];
    for (const place of found) {
      const event = await slaEventAt(trx, place);
      if (event !== undefined && event.recordId === undefined) strangers.push(event);
    }
    const records = [];
    for (const event of strangers) {
      records.push(chainRecord({ ...event, chainId }, await subjectOf(trx, event), bodyOf(event)));
    }
    const results = await appendUnits(
      trx,
      records.map((record) => ({ records: [record] })),
    );
    let more = 0;
    for (const [i, result] of results.entries()) {
      const [event, record] = [strangers[i], records[i]];
      if (event === undefined || record === undefined) continue;
      if (result === "skipped" || "reused" in result)
        throw new Error(`${record.request?.id} is taken`);
      const replayed = result.appended[0]?.replayed;
      await recordSlaEvent(trx, event, replayed?.id ?? record.id);
      if (replayed === undefined) more += 1;
    }
    return more;
  });
}

/**
 * Whose trail tells of an event: that of the record which set the deadline, for a level; else the bare key. Which
 * that is follows from the log, so that every database says the same.
 */
async function subjectOf(trx: Transaction<Tables>, event: SlaNote): Promise<string> {
  const bare = hex(event.subjectKey);
  if (event.change.kind !== "LEVEL_RAISED") return bare;
  const [set] = await slaEventsOf(trx, event);
  if (set?.recordId === undefined) return bare;
  return (await slaChangeByRecord(trx, set.recordId))?.entry.subject ?? bare;
}

function bodyOf({ change, cycle, blockTime }: SlaNote): Body {
  switch (change.kind) {
    case "SET": {
      const ladder = change.ladder.map((seconds) => ({ seconds: BigInt(seconds), nanos: 0 }));
      const value = create(DeadlineSetSchema, { deadline: timeOf(change.deadline), ladder });
      return { case: "deadlineSet", value };
    }
    case "EXTENDED": {
      const { deadline, reasonHash } = change;
      const reason = `sha256:${hex(reasonHash)}`;
      const value = create(DeadlineExtendedSchema, { deadline: timeOf(deadline), reason });
      return { case: "deadlineExtended", value };
    }
    case "PAUSED":
      return { case: "deadlinePaused", value: create(DeadlinePausedSchema) };
    case "RESUMED":
      return { case: "deadlineResumed", value: create(DeadlineResumedSchema) };
    case "MET":
      return { case: "deadlineMet", value: create(DeadlineMetSchema) };
    case "LEVEL_RAISED": {
      const { level, dueTime } = change;
      const times = { dueTime: timeOf(dueTime), raiseTime: timeOf(blockTime) };
      return { case: "levelRaised", value: create(LevelRaisedSchema, { cycle, level, ...times }) };
    }
  }
}

function timeOf(seconds: number) {
  return { seconds: BigInt(seconds), nanos: 0 };
}
