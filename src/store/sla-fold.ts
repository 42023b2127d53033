import type { ExpressionBuilder, Kysely, Selectable, Transaction } from "kysely";
import { sameBytes } from "../core/bytes.js";
import { decodeEntry } from "../core/record.js";
import { changed, nextLevelTime, recordedIntent } from "../core/sla.js";
import type { Cycle, SlaIntent } from "../core/sla.js";
import { slaEventsFrom } from "./sla-events.js";
import type { StoredSlaEvent } from "./sla-events.js";
import { text } from "./tables.js";
import type { SlaChangesTable, SlasTable, Tables } from "./tables.js";

/** How far a change has come: on its way to the chain, on it, or refused by it for good. */
export type SlaChangeState = "WAITING" | "DONE" | "FAILED";

/** A change that an event is the effect of, by its id, and the transaction that announced it. */
export interface SlaEffect {
  readonly change: number;
  readonly transactionHash: Uint8Array;
}

/** What a row of a deadline has in the columns that follow from what is noted of it. */
export type SlaColumns = Omit<Selectable<SlasTable>, "id" | "subject" | "ladder" | "state"> &
  Readonly<Record<"subject" | "ladder" | "state", string>>;

/** A change that the chain does not have, with the entry of its record. */
type UnsettledChange = Selectable<SlaChangesTable> & { readonly entry: Uint8Array };

/**
 * Makes a change's row fit the events: the first one that names its record, with its subject and kind, is its
 * effect. Returns that, if there is one. Requires the lock of the tail, and that the caller folds the deadline
 * anew.
 */
export async function followSlaChange(
  trx: Transaction<Tables>,
  recordId: Uint8Array,
): Promise<SlaEffect | undefined> {
  const change = await trx
    .selectFrom("sla_changes")
    .selectAll()
    .where("record_id", "=", recordId)
    .executeTakeFirst();
  if (change === undefined) return undefined;
  const effect = await trx
    .selectFrom("sla_events")
    .select(["id", "cycle", "transaction_hash"])
    .where("ref", "=", recordId)
    .where("subject_key", "=", change.subject_key)
    .where("kind", "=", text(change.kind))
    .orderBy("block_number")
    .orderBy("log_index")
    .limit(1)
    .executeTakeFirst();
  await giveRecord(trx, recordId, effect?.id ?? 0);
  const unsettled = text(change.reason) === "" ? "WAITING" : "FAILED";
  const state: SlaChangeState = effect === undefined ? unsettled : "DONE";
  const expected = state === "FAILED" && text(change.kind) === "SET" ? null : change.cycle;
  const cycle = effect === undefined ? expected : effect.cycle;
  await trx.updateTable("sla_changes").set({ state, cycle }).where("id", "=", change.id).execute();
  return effect && { change: Number(change.id), transactionHash: effect.transaction_hash };
}

/** Gives a record to the event with this id, and to no other. */
async function giveRecord(
  trx: Transaction<Tables>,
  recordId: Uint8Array,
  id: number,
): Promise<void> {
  await trx
    .updateTable("sla_events")
    .set({ record_id: null })
    .where("record_id", "=", recordId)
    .where("id", "!=", id)
    .execute();
  await trx.updateTable("sla_events").set({ record_id: recordId }).where("id", "=", id).execute();
}

/**
 * Makes the rows of a subject's deadlines, from a cycle on, and of those that are not on the chain, fit what is
 * noted of them. Without a cycle, of those alone. Requires the lock of the tail.
 */
export async function refold(
  trx: Transaction<Tables>,
  subjectKey: Uint8Array,
  fromCycle?: number,
): Promise<void> {
  const last = await lastCycle(trx, subjectKey);
  const from = Math.min(fromCycle ?? last + 1, last + 1);
  const { rows, unsettled, subject } = await wantedRows(trx, { subjectKey, from, last });
  for (const { id, cycle } of unsettled) {
    await trx.updateTable("sla_changes").set({ cycle }).where("id", "=", id).execute();
  }
  await replaceRows(trx, { subjectKey, from }, rows);
  await trx
    .updateTable("slas") // the first change of a subject says what the earlier deadlines are of, too
    .set({ subject })
    .where("subject_key", "=", subjectKey)
    .where("subject", "!=", subject)
    .execute();
}

/** What is called for by what is noted of a subject. */
interface WantedRows {
  readonly rows: SlaColumns[];
  /** The changes that the chain does not have, in log order. */
  readonly unsettled: UnsettledChange[];
  /** Empty where only the key is known. */
  readonly subject: string;
}

/**
 * The rows that are called for by what is noted of a subject's deadlines, from a cycle on, and of those that are
 * not on the chain. `last` is the last cycle that it has.
 */
export async function wantedRows(
  db: Kysely<Tables>,
  of: { readonly subjectKey: Uint8Array; readonly from: number; readonly last: number },
): Promise<WantedRows> {
  const { subjectKey, from, last } = of;
  const subject = await subjectOf(db, subjectKey);
  const cycles = foldEvents(await slaEventsFrom(db, subjectKey, from));
  const unsettled = numbered(await unsettledChanges(db, subjectKey), last);
  const rows = [...cycles.map(rowOfCycle), ...unsettled.flatMap(rowOfChange)];
  return { rows: rows.map((row) => ({ ...row, subject })), unsettled, subject };
}

/** The changes of a subject that the chain does not have, in log order. */
async function unsettledChanges(
  db: Kysely<Tables>,
  subjectKey: Uint8Array,
): Promise<UnsettledChange[]> {
  return db
    .selectFrom("sla_changes as c")
    .innerJoin("records as r", "r.id", "c.record_id")
    .selectAll("c")
    .select("r.entry")
    .where("subject_key", "=", subjectKey)
    .where("state", "in", ["WAITING", "FAILED"])
    .orderBy("r.seq")
    .execute();
}

/**
 * Changes with the cycles that they are expected to belong to, behind the last one on chain: each deadline that
 * waits to be set begins the next. One that has failed keeps what was expected then.
 */
function numbered(changes: readonly UnsettledChange[], last: number): UnsettledChange[] {
  let number = last;
  return changes.map((change) => {
    if (text(change.state) === "FAILED") return change;
    if (text(change.kind) === "SET") number += 1;
    return { ...change, cycle: number === 0 ? null : number };
  });
}

/** A deadline as its events have it. */
interface FoldedCycle {
  readonly cycle: Cycle;
  /** The event that set it. */
  readonly set: StoredSlaEvent;
  /** The latest event of it. */
  readonly last: StoredSlaEvent;
}

/** The deadlines that events tell of, given in chain order; not those whose setting is not among them. */
function foldEvents(events: readonly StoredSlaEvent[]): FoldedCycle[] {
  const cycles = new Map<number, FoldedCycle>();
  for (const event of events) {
    const { cycle: number, change, blockTime } = event;
    const before = cycles.get(number);
    if (before === undefined && change.kind !== "SET") continue;
    const cycle = changed(before?.cycle, number, change, blockTime);
    cycles.set(number, { cycle, set: before?.set ?? event, last: event });
  }
  return [...cycles.values()];
}

/** The row that a deadline calls for. */
function rowOfCycle({ cycle, set, last }: FoldedCycle): Omit<SlaColumns, "subject"> {
  return {
    subject_key: set.subjectKey,
    cycle: cycle.number,
    record_id: set.recordId ?? null,
    state: cycle.state,
    deadline: cycle.deadline,
    ladder: JSON.stringify(cycle.ladder),
    raised: cycle.raised,
    extensions: cycle.extensions,
    pause_time: cycle.pauseTime ?? null,
    meet_time: cycle.meetTime ?? null,
    next_time: nextLevelTime(cycle) ?? null,
    block_number: last.blockNumber,
  };
}

/** The row of a deadline that a change is to set, or was; none of another change. */
function rowOfChange(change: UnsettledChange): Omit<SlaColumns, "subject">[] {
  const intent = intentIn(change.entry);
  if (intent?.kind !== "SET") return [];
  const isPending = text(change.state) === "WAITING";
  return [
    {
      subject_key: change.subject_key,
      cycle: isPending ? Number(change.cycle) : 0,
      record_id: change.record_id,
      state: isPending ? "PENDING" : "FAILED",
      deadline: intent.deadline,
      ladder: JSON.stringify(intent.ladder),
      raised: 0,
      extensions: 0,
      pause_time: null,
      meet_time: null,
      next_time: null,
      block_number: null,
    },
  ];
}

/** What an entry asks for; undefined also where it was changed so that it cannot be read. */
function intentIn(entry: Uint8Array): SlaIntent | undefined {
  try {
    return recordedIntent(decodeEntry(entry))?.intent;
  } catch {
    return undefined; // VerifyLog names it
  }
}

/** A subject's last deadline as the chain has it; undefined where it has none, or its setting is not known. */
export async function lastCycleOf(
  db: Kysely<Tables>,
  subjectKey: Uint8Array,
): Promise<Cycle | undefined> {
  const last = await lastCycle(db, subjectKey);
  return foldEvents(await slaEventsFrom(db, subjectKey, last)).at(-1)?.cycle;
}

/** The number of a subject's last deadline on chain; 0 where it has none. */
export async function lastCycle(db: Kysely<Tables>, subjectKey: Uint8Array): Promise<number> {
  const row = await db
    .selectFrom("sla_events")
    .select((eb) => eb.fn.max<number | null>("cycle").as("last"))
    .where("subject_key", "=", subjectKey)
    .executeTakeFirst();
  return Number(row?.last ?? 0);
}

/** What a subject is called in the log; empty where nobody has changed a deadline of it here. */
async function subjectOf(db: Kysely<Tables>, subjectKey: Uint8Array): Promise<string> {
  const row = await db
    .selectFrom("sla_changes as c")
    .innerJoin("records as r", "r.id", "c.record_id")
    .select("r.subject")
    .where("subject_key", "=", subjectKey)
    .limit(1)
    .executeTakeFirst();
  return row === undefined ? "" : text(row.subject);
}

/** Puts rows in place of those that there are. A deadline keeps its row, and so its place in the order. */
async function replaceRows(
  trx: Transaction<Tables>,
  { subjectKey, from }: { readonly subjectKey: Uint8Array; readonly from: number },
  rows: readonly SlaColumns[],
): Promise<void> {
  const before = await trx
    .selectFrom("slas")
    .select(["id", "cycle", "record_id"])
    .where("subject_key", "=", subjectKey)
    .where(isFoldedFrom(from))
    .execute();
  const left = new Set(before);
  for (const row of rows) {
    const own = [...left].find(({ record_id }) => sameRecord(record_id, row.record_id));
    const known = own ?? [...left].find((one) => !one.record_id && Number(one.cycle) === row.cycle);
    if (known === undefined) {
      await trx.insertInto("slas").values(row).execute();
      continue;
    }
    left.delete(known);
    await trx.updateTable("slas").set(row).where("id", "=", known.id).execute();
  }
  for (const { id } of left) await trx.deleteFrom("slas").where("id", "=", id).execute();
}

/** The rows that are folded from a cycle on: those of it and later ones, and those that are not on the chain. */
export function isFoldedFrom(cycle: number) {
  return (eb: ExpressionBuilder<Tables, "slas">) =>
    eb.or([eb("cycle", ">=", cycle), eb("cycle", "=", 0), eb("block_number", "is", null)]);
}

function sameRecord(a: Uint8Array | null, b: Uint8Array | null): boolean {
  return a !== null && b !== null && sameBytes(a, b);
}
