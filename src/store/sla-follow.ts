import type { Selectable, Transaction } from "kysely";
import { hex, ZERO32 } from "../core/bytes.js";
import { insertRows } from "./insert.js";
import { detailOf, slaEvents } from "./sla-events.js";
import type { SlaNote, StoredSlaEvent } from "./sla-events.js";
import { followSlaChange, refold } from "./sla-fold.js";
import type { SlaEffect } from "./sla-fold.js";
import type { SlaEventsTable, Tables } from "./tables.js";

const COLUMNS = [
  "subject_key",
  "cycle",
  "kind",
  "detail",
  "ref",
  "account",
  "transaction_hash",
  "log_index",
  "block_number",
  "block_hash",
  "block_time",
] as const;

/**
 * Notes events of the chain, in place of any that were noted there. Returns which of them are the
 * effects of changes. Requires the lock of the tail.
 */
export async function noteSlaEvents(
  trx: Transaction<Tables>,
  events: readonly SlaNote[],
): Promise<SlaEffect[]> {
  const touched: Touched[] = [...events];
  for (const event of events) touched.push(...(await takeOut(trx, event)));
  const values = events.flatMap((event) => [
    event.subjectKey,
    event.cycle,
    event.change.kind,
    detailOf(event.change),
    event.ref,
    event.account,
    event.transactionHash,
    event.logIndex,
    event.blockNumber,
    event.blockHash,
    event.blockTime,
  ]);
  await insertRows(trx, "sla_events", COLUMNS, values);
  const effects = await followAll(trx, touched);
  await refoldAll(trx, touched);
  return effects;
}

/**
 * Takes back what the chain had announced above a block: changes that had an effect there wait again.
 * Requires the lock of the tail.
 */
export async function retractSlaAbove(
  trx: Transaction<Tables>,
  blockNumber: number,
): Promise<void> {
  const gone = await slaEvents(trx).where("block_number", ">", blockNumber).execute();
  await trx.deleteFrom("sla_events").where("block_number", ">", blockNumber).execute();
  await trx
    .updateTable("escalations")
    .set({ block_number: null })
    .where("block_number", ">", blockNumber)
    .execute();
  const touched = gone.map(touchedBy);
  await followAll(trx, touched);
  await refoldAll(trx, touched);
}

/** Says which record tells of an event that had none. Requires the lock of the tail. */
export async function recordSlaEvent(
  trx: Transaction<Tables>,
  event: StoredSlaEvent,
  recordId: Uint8Array,
): Promise<void> {
  await trx
    .updateTable("sla_events")
    .set({ record_id: recordId })
    .where("block_number", "=", event.blockNumber)
    .where("log_index", "=", event.logIndex)
    .where("record_id", "is", null)
    .execute();
  if (event.change.kind === "SET") await refold(trx, event.subjectKey, event.cycle);
}

/** What an event is about. */
type Touched = Pick<SlaNote, "subjectKey" | "cycle" | "ref">;

function touchedBy(row: Selectable<SlaEventsTable>): Touched {
  return { subjectKey: row.subject_key, cycle: Number(row.cycle), ref: row.ref };
}

/** Deletes what is noted at a place. Returns what that was about. */
async function takeOut(
  trx: Transaction<Tables>,
  { blockNumber, logIndex }: SlaNote,
): Promise<Touched[]> {
  const rows = await slaEvents(trx)
    .where("block_number", "=", blockNumber)
    .where("log_index", "=", logIndex)
    .execute();
  for (const { id } of rows) await trx.deleteFrom("sla_events").where("id", "=", id).execute();
  return rows.map(touchedBy);
}

/** Makes the changes fit whose records these events name. */
async function followAll(
  trx: Transaction<Tables>,
  events: readonly Touched[],
): Promise<SlaEffect[]> {
  const refs = new Map(events.map(({ ref }) => [hex(ref), ref]));
  refs.delete(hex(ZERO32));
  const effects: SlaEffect[] = [];
  for (const ref of refs.values()) {
    const effect = await followSlaChange(trx, ref);
    if (effect !== undefined) effects.push(effect);
  }
  return effects;
}

/** Folds the deadlines of events anew, each subject once, from the first of its cycles on. */
async function refoldAll(trx: Transaction<Tables>, events: readonly Touched[]): Promise<void> {
  const first = new Map<string, Touched>();
  for (const event of events) {
    const key = hex(event.subjectKey);
    const earlier = first.get(key);
    if (earlier === undefined || event.cycle < earlier.cycle) first.set(key, event);
  }
  for (const { subjectKey, cycle } of first.values()) await refold(trx, subjectKey, cycle);
}
