import type { Kysely, Selectable } from "kysely";
import { hex } from "../core/bytes.js";
import type { Database } from "./database.js";
import { detailOf, slaEvents } from "./sla-events.js";
import type { SlaNote } from "./sla-events.js";
import { isFoldedFrom, lastCycle, wantedRows } from "./sla-fold.js";
import type { SlaColumns } from "./sla-fold.js";
import { text } from "./tables.js";
import type { SlaEventsTable, SlasTable, Tables } from "./tables.js";

/** The columns of a row for comparison: bytes in hex. */
export type ComparableRow = Readonly<Record<string, string | number | null>>;

/** An event as its row has it, for comparison. */
export interface SlaEventRow {
  readonly columns: ComparableRow;
  /** In hex; undefined where no record tells of it. */
  readonly recordId: string | undefined;
}

/** A change as its row has it, for comparison: where the row was changed, nothing of it need fit. */
export interface SlaChangeRow {
  readonly recordId: Uint8Array;
  readonly subjectKey: Uint8Array;
  readonly kind: string;
  readonly state: string;
  readonly reason: string;
  readonly cycle: number | undefined;
}

/** Whether an event is noted as the chain has it, and the change and the deadline as it calls for. */
export async function isSlaNoted(db: Kysely<Tables>, note: SlaNote): Promise<boolean> {
  const { subjectKey, cycle, change, ref } = note;
  const stored = await slaEvents(db)
    .where("block_number", "=", note.blockNumber)
    .where("log_index", "=", note.logIndex)
    .executeTakeFirst();
  if (stored === undefined || !isSame(rowOfEvent(stored).columns, eventColumns(note))) return false;
  const own = await slaChangeRow(db, ref);
  const isEffect = own?.kind === change.kind && hex(own.subjectKey) === hex(subjectKey);
  if (isEffect && own.state !== "DONE") return false;
  const { wanted, actual } = await slaRowsOf(db, subjectKey, cycle);
  const isCycle = (row: ComparableRow) => row["cycle"] === cycle;
  const [row, other] = [wanted.find(isCycle), actual.find(isCycle)];
  return row === undefined || other === undefined ? row === other : isSame(row, other);
}

/** The rows of a subject's deadlines from a cycle on, as they are called for and as they are. */
export async function slaRowsOf(
  db: Kysely<Tables>,
  subjectKey: Uint8Array,
  from: number,
): Promise<{ readonly wanted: ComparableRow[]; readonly actual: ComparableRow[] }> {
  const last = await lastCycle(db, subjectKey);
  const { rows } = await wantedRows(db, { subjectKey, from, last });
  const actual = await db
    .selectFrom("slas")
    .selectAll()
    .where("subject_key", "=", subjectKey)
    .where(isFoldedFrom(from))
    .orderBy("id")
    .execute();
  return { wanted: rows.map(rowColumns), actual: actual.map(rowColumns) };
}

/** The cycle that a change which waits is expected to belong to; undefined where none is known. */
export async function expectedCycle(
  db: Kysely<Tables>,
  { subjectKey, recordId }: Pick<SlaChangeRow, "subjectKey" | "recordId">,
): Promise<number | undefined> {
  const last = await lastCycle(db, subjectKey);
  const { unsettled } = await wantedRows(db, { subjectKey, from: last + 1, last });
  const change = unsettled.find(({ record_id }) => hex(record_id) === hex(recordId));
  return change?.cycle == null ? undefined : Number(change.cycle);
}

/** A change by the id of its record, as its row has it. */
export async function slaChangeRow(
  db: Kysely<Tables>,
  recordId: Uint8Array,
): Promise<SlaChangeRow | undefined> {
  const row = await db
    .selectFrom("sla_changes")
    .selectAll()
    .where("record_id", "=", recordId)
    .executeTakeFirst();
  return (
    row && {
      recordId: row.record_id,
      subjectKey: row.subject_key,
      kind: text(row.kind),
      state: text(row.state),
      reason: text(row.reason),
      cycle: row.cycle === null ? undefined : Number(row.cycle),
    }
  );
}

/** The record ids of changes that belong to no record. */
export async function slaChangesWithoutRecord(
  database: Database,
  limit: number,
): Promise<Uint8Array[]> {
  const rows = await database.read((db) =>
    db
      .selectFrom("sla_changes as c")
      .leftJoin("records as r", "r.id", "c.record_id")
      .select("c.record_id")
      .where("r.seq", "is", null)
      .orderBy("c.id")
      .limit(limit)
      .execute(),
  );
  return rows.map(({ record_id }) => record_id);
}

/** Subjects of deadlines, in the order of their keys, behind one of these. */
export async function slaSubjects(
  database: Database,
  behind: Uint8Array | undefined,
  limit: number,
): Promise<Uint8Array[]> {
  const rows = await database.read((db) =>
    db
      .selectFrom((eb) =>
        eb
          .selectFrom("slas")
          .select("subject_key")
          .union(eb.selectFrom("sla_events").select("subject_key"))
          .as("keys"),
      )
      .select("subject_key")
      .$if(behind !== undefined, (q) => q.where("subject_key", ">", behind as Uint8Array))
      .orderBy("subject_key")
      .limit(limit)
      .execute(),
  );
  return rows.map(({ subject_key }) => subject_key);
}

/** What is noted of a subject, in chain order. */
export async function slaEventRows(
  db: Kysely<Tables>,
  subjectKey: Uint8Array,
): Promise<SlaEventRow[]> {
  const rows = await slaEvents(db)
    .where("subject_key", "=", subjectKey)
    .orderBy("block_number")
    .orderBy("log_index")
    .execute();
  return rows.map(rowOfEvent);
}

function rowOfEvent(row: Selectable<SlaEventsTable>): SlaEventRow {
  return {
    columns: {
      subject_key: hex(row.subject_key),
      cycle: Number(row.cycle),
      kind: text(row.kind),
      detail: text(row.detail),
      ref: hex(row.ref),
      account: hex(row.account),
      transaction_hash: hex(row.transaction_hash),
      log_index: Number(row.log_index),
      block_number: Number(row.block_number),
      block_hash: hex(row.block_hash),
      block_time: Number(row.block_time),
    },
    recordId: row.record_id === null ? undefined : hex(row.record_id),
  };
}

/** The columns of an event that follow from the chain. */
export function eventColumns(event: SlaNote): ComparableRow {
  return {
    subject_key: hex(event.subjectKey),
    cycle: event.cycle,
    kind: event.change.kind,
    detail: detailOf(event.change),
    ref: hex(event.ref),
    account: hex(event.account),
    transaction_hash: hex(event.transactionHash),
    log_index: event.logIndex,
    block_number: event.blockNumber,
    block_hash: hex(event.blockHash),
    block_time: event.blockTime,
  };
}

function rowColumns(row: SlaColumns | Selectable<SlasTable>): ComparableRow {
  const number = (value: number | null) => (value === null ? null : Number(value));
  return {
    subject_key: hex(row.subject_key),
    cycle: Number(row.cycle),
    subject: text(row.subject),
    record_id: row.record_id === null ? null : hex(row.record_id),
    state: text(row.state),
    deadline: Number(row.deadline),
    ladder: text(row.ladder),
    raised: Number(row.raised),
    extensions: Number(row.extensions),
    pause_time: number(row.pause_time),
    meet_time: number(row.meet_time),
    next_time: number(row.next_time),
    block_number: number(row.block_number),
  };
}

function isSame(a: ComparableRow, b: ComparableRow): boolean {
  return Object.keys(a).every((column) => a[column] === b[column]);
}
