import type { Kysely, Transaction } from "kysely";
import type { Entry } from "../../gen/ts/anchord/v1/receipt_pb.js";
import { sameBytes } from "../core/bytes.js";
import { decodeEntry } from "../core/record.js";
import type { EncodedRecord } from "../core/record.js";
import { recordedIntent, recordedRefusal } from "../core/sla.js";
import type { Cycle, RecordedIntent, RecordedRefusal, SlaIntent } from "../core/sla.js";
import { appendUnits, knownRequests, lockTail } from "./append.js";
import type { Database } from "./database.js";
import { readEntry } from "./entry.js";
import { followSlaChange, lastCycleOf, refold } from "./sla-fold.js";
import type { SlaChangeState } from "./sla-fold.js";
import { text } from "./tables.js";
import type { Tables } from "./tables.js";

/** A change of a deadline that somebody asked for. */
export interface StoredSlaChange {
  /** Number of its operation; not dense, and not the order of the log where a batch was adopted. */
  readonly id: number;
  /** The record that tells of it: its reference on chain. */
  readonly recordId: Uint8Array;
  readonly subjectKey: Uint8Array;
  /** The record's entry: who asked for it, when and why. */
  readonly entry: Entry;
  readonly intent: SlaIntent;
  /** The record that called for it by a policy; undefined where a caller did. */
  readonly cause: Uint8Array | undefined;
  readonly state: SlaChangeState;
  /** Why the chain refused it; empty where it did not. */
  readonly reason: string;
  /** Which of the subject's deadlines it changes; expected, unless it is DONE; undefined where none is known. */
  readonly cycle: number | undefined;
}

/** What an earlier call has made of a request: the same change, or something else. */
export type EarlierSlaChange =
  | { readonly type: "known"; readonly recordId: Uint8Array }
  | { readonly type: "reused"; readonly requestId: string; readonly takenBy: Uint8Array };

/** How a subject's last deadline stands on chain, and what waits to change it, in log order. */
export interface SubjectSla {
  /** Undefined where the chain has none. */
  readonly cycle: Cycle | undefined;
  readonly waiting: readonly StoredSlaChange[];
}

/** What an earlier call has made of a record's request; undefined where there was none. */
export async function earlierSlaChange(
  db: Kysely<Tables>,
  record: EncodedRecord,
): Promise<EarlierSlaChange | undefined> {
  const { request } = record;
  const [earlier] = (await knownRequests(db, [record])).values();
  if (earlier === undefined || request === undefined) return undefined;
  if (sameBytes(earlier.hash, request.hash)) return { type: "known", recordId: earlier.id };
  return { type: "reused", requestId: request.id, takenBy: earlier.id };
}

/** How a subject's deadline stands; within a transaction, as it is there. */
export async function subjectSla(db: Kysely<Tables>, subjectKey: Uint8Array): Promise<SubjectSla> {
  const waiting = await slaChanges(db)
    .where("subject_key", "=", subjectKey)
    .where("state", "=", "WAITING" satisfies SlaChangeState)
    .orderBy("seq")
    .execute();
  return { cycle: await lastCycleOf(db, subjectKey), waiting: waiting.map(slaChange) };
}

/**
 * Appends the record of a change, which then waits for the chain. Requires the lock of the tail, and that
 * its request was not seen before.
 */
export async function appendSlaChange(
  trx: Transaction<Tables>,
  record: EncodedRecord,
): Promise<void> {
  const told = recordedIntent(decodeEntry(record.entry));
  if (told === undefined) throw new Error("the record tells of no change of a deadline");
  await appendUnits(trx, [{ records: [record] }]);
  await insertChange(trx, record.id, told);
  await refold(trx, told.subjectKey);
}

/**
 * Stores a change whose record was adopted. Whether the chain has it is said by what was followed, or will be.
 * Requires the lock of the tail.
 */
export async function adoptSlaChange(
  trx: Transaction<Tables>,
  recordId: Uint8Array,
  told: RecordedIntent,
): Promise<void> {
  const known = await slaChangeByRecord(trx, recordId);
  if (known === undefined) await insertChange(trx, recordId, told);
  const effect = await followSlaChange(trx, recordId);
  const cycle = effect && (await slaChangeByRecord(trx, recordId))?.cycle;
  await refold(trx, told.subjectKey, cycle);
}

/** Ends a change of which an adopted record says that the chain refused it. Requires the lock of the tail. */
export async function adoptSlaRefusal(
  trx: Transaction<Tables>,
  { recordId, reason }: RecordedRefusal,
): Promise<void> {
  const change = await slaChangeByRecord(trx, recordId);
  if (change !== undefined) await refuse(trx, change, reason);
}

/**
 * Ends a change that the chain refuses, with the record "deadline_refused" that tells of it. Returns false, and
 * writes nothing, where the change does not wait any more.
 */
export async function refuseSlaChange(
  trx: Transaction<Tables>,
  { recordId }: StoredSlaChange,
  record: EncodedRecord,
): Promise<boolean> {
  const told = recordedRefusal(decodeEntry(record.entry));
  if (told === undefined) throw new Error("the record tells of no refusal");
  await lockTail(trx, 0);
  const change = await slaChangeByRecord(trx, recordId);
  if (change?.state !== "WAITING") return false;
  await appendUnits(trx, [{ records: [record] }]);
  await refuse(trx, change, told.reason);
  return true;
}

/** Changes that wait for the chain: of each subject the first in the log, in log order. */
export async function waitingSlaChanges(
  database: Database,
  limit: number,
): Promise<StoredSlaChange[]> {
  const rows = await database.read((db) =>
    slaChanges(db)
      .where("seq", "in", (eb) =>
        eb
          .selectFrom(
            eb
              .selectFrom("sla_changes as w")
              .innerJoin("records as o", "o.id", "w.record_id")
              .select(({ fn }) => fn.min("o.seq").as("first"))
              .where("w.state", "=", "WAITING" satisfies SlaChangeState)
              .groupBy("w.subject_key")
              .orderBy("first")
              .limit(limit)
              .as("firsts"),
          )
          .select("firsts.first"),
      )
      .orderBy("seq")
      .execute(),
  );
  return rows.map(slaChange);
}

/** The numbers of changes that wait for the chain. */
export function waitingSlaNumbers(db: Kysely<Tables>) {
  return db
    .selectFrom("sla_changes")
    .select((eb) => eb.ref("id").$castTo<number>().as("number"))
    .where("state", "=", "WAITING" satisfies SlaChangeState);
}

/** A change by the id of its record; within a transaction, as it is there. */
export async function slaChangeByRecord(
  db: Kysely<Tables>,
  recordId: Uint8Array,
): Promise<StoredSlaChange | undefined> {
  const row = await slaChanges(db).where("record_id", "=", recordId).executeTakeFirst();
  return row && slaChange(row);
}

/** Changes with the entries of their records. */
export function slaChanges(db: Kysely<Tables>) {
  return db
    .selectFrom("sla_changes as c")
    .innerJoin("records as r", "r.id", "c.record_id")
    .selectAll("c")
    .select(["r.seq", "r.entry"]);
}

type SlaChangeRow = NonNullable<
  Awaited<ReturnType<ReturnType<typeof slaChanges>["executeTakeFirst"]>>
>;

/** A row of a change, read. Throws DATABASE_ALTERED where its record tells of no change. */
export function slaChange(row: SlaChangeRow): StoredSlaChange {
  const { entry, told } = readEntry({ id: row.record_id, entry: row.entry }, (bytes) => {
    const entry = decodeEntry(bytes);
    const told = recordedIntent(entry);
    if (told === undefined) throw new Error("tells of no change of a deadline");
    return { entry, told };
  });
  return {
    id: Number(row.id),
    recordId: row.record_id,
    subjectKey: row.subject_key,
    entry,
    intent: told.intent,
    cause: told.cause,
    state: text(row.state) as SlaChangeState,
    reason: text(row.reason),
    cycle: row.cycle === null ? undefined : Number(row.cycle),
  };
}

async function insertChange(
  trx: Transaction<Tables>,
  recordId: Uint8Array,
  { subjectKey, intent }: RecordedIntent,
): Promise<void> {
  await trx
    .insertInto("sla_changes")
    .values({
      record_id: recordId,
      subject_key: subjectKey,
      kind: intent.kind,
      state: "WAITING" satisfies SlaChangeState,
      reason: "",
      cycle: null,
    })
    .execute();
}

/** Notes why the chain refused a change. One that it has all the same stays as it is. */
async function refuse(
  trx: Transaction<Tables>,
  { id, recordId, subjectKey }: StoredSlaChange,
  reason: string,
): Promise<void> {
  await trx
    .updateTable("sla_changes")
    .set({ reason: reason.slice(0, 1000) })
    .where("id", "=", id)
    .execute();
  await followSlaChange(trx, recordId);
  await refold(trx, subjectKey);
}
