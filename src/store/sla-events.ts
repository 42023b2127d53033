import type { Kysely, Selectable } from "kysely";
import { hex, unhex } from "../core/bytes.js";
import type { SlaChange } from "../core/sla.js";
import type { Database } from "./database.js";
import { text } from "./tables.js";
import type { SlaEventsTable, Tables } from "./tables.js";

/** What the chain has announced of a deadline, as it is noted. */
export interface SlaNote {
  readonly subjectKey: Uint8Array;
  /** Which of the subject's deadlines, from 1. */
  readonly cycle: number;
  readonly change: SlaChange;
  /** Id of the record that tells of it, as whoever did it said; 32 zero bytes for none. */
  readonly ref: Uint8Array;
  /** The account that did it: 20 bytes. */
  readonly account: Uint8Array;
  readonly transactionHash: Uint8Array;
  readonly blockNumber: number;
  readonly blockHash: Uint8Array;
  /** Seconds since 1970. */
  readonly blockTime: number;
  /** Position of the event in its block. */
  readonly logIndex: number;
}

/** A noted event, and the record that tells of it. */
export interface StoredSlaEvent extends SlaNote {
  /** Undefined until there is one. */
  readonly recordId: Uint8Array | undefined;
}

/** The event at a place of the chain; within a transaction, as it is there. */
export async function slaEventAt(
  db: Kysely<Tables>,
  { blockNumber, logIndex }: Pick<SlaNote, "blockNumber" | "logIndex">,
): Promise<StoredSlaEvent | undefined> {
  const row = await slaEvents(db)
    .where("block_number", "=", blockNumber)
    .where("log_index", "=", logIndex)
    .executeTakeFirst();
  return row && slaEvent(row);
}

/** The event that a record tells of; undefined while the chain has none. */
export async function slaEventByRecord(
  db: Kysely<Tables>,
  recordId: Uint8Array,
): Promise<StoredSlaEvent | undefined> {
  const row = await slaEvents(db).where("record_id", "=", recordId).executeTakeFirst();
  return row && slaEvent(row);
}

/** The events of a subject's deadlines, from a cycle on, in chain order. */
export async function slaEventsFrom(
  db: Kysely<Tables>,
  subjectKey: Uint8Array,
  fromCycle: number,
): Promise<StoredSlaEvent[]> {
  const rows = await slaEvents(db)
    .where("subject_key", "=", subjectKey)
    .where("cycle", ">=", fromCycle)
    .orderBy("block_number")
    .orderBy("log_index")
    .execute();
  return rows.flatMap((row) => slaEvent(row) ?? []);
}

/** The events of one deadline, in chain order. */
export async function slaEventsOf(
  db: Kysely<Tables>,
  { subjectKey, cycle }: Pick<SlaNote, "subjectKey" | "cycle">,
): Promise<StoredSlaEvent[]> {
  const rows = await slaEvents(db)
    .where("subject_key", "=", subjectKey)
    .where("cycle", "=", cycle)
    .orderBy("block_number")
    .orderBy("log_index")
    .execute();
  return rows.flatMap((row) => slaEvent(row) ?? []);
}

/** Events in blocks up to a number that there is no record of, in chain order. */
export async function strangeSlaEvents(
  database: Database,
  toBlock: number,
  limit: number,
): Promise<StoredSlaEvent[]> {
  const rows = await database.read((db) =>
    slaEvents(db)
      .where("record_id", "is", null)
      .where("block_number", "<=", toBlock)
      .orderBy("block_number")
      .orderBy("log_index")
      .limit(limit)
      .execute(),
  );
  return rows.flatMap((row) => slaEvent(row) ?? []);
}

/** A row of an event, read; undefined where it was changed so that it cannot be. */
export function slaEvent(row: Selectable<SlaEventsTable>): StoredSlaEvent | undefined {
  const change = changeOf(text(row.kind), text(row.detail));
  if (change === undefined) return undefined;
  return {
    subjectKey: row.subject_key,
    cycle: Number(row.cycle),
    change,
    ref: row.ref,
    account: row.account,
    transactionHash: row.transaction_hash,
    blockNumber: Number(row.block_number),
    blockHash: row.block_hash,
    blockTime: Number(row.block_time),
    logIndex: Number(row.log_index),
    recordId: row.record_id ?? undefined,
  };
}

/** What a change says besides its kind, as its row has it. */
export function detailOf(change: SlaChange): string {
  switch (change.kind) {
    case "SET":
      return JSON.stringify({ deadline: change.deadline, ladder: change.ladder });
    case "EXTENDED": {
      const { deadline, reasonHash } = change;
      return JSON.stringify({ deadline, reasonHash: hex(reasonHash) });
    }
    case "RESUMED":
    case "MET":
      return JSON.stringify({ deadline: change.deadline });
    case "LEVEL_RAISED":
      return JSON.stringify({ level: change.level, dueTime: change.dueTime });
    case "PAUSED":
      return "{}";
  }
}

function changeOf(kind: string, detail: string): SlaChange | undefined {
  try {
    const values = JSON.parse(detail) as Record<string, unknown>;
    const { reasonHash } = values;
    const bytes = typeof reasonHash === "string" ? { reasonHash: unhex(reasonHash) } : {};
    const change = { kind, ...values, ...bytes } as SlaChange;
    return detailOf(change) === detail ? change : undefined;
  } catch {
    return undefined; // VerifyLog names it
  }
}

/** Rows of events. */
export function slaEvents(db: Kysely<Tables>) {
  return db.selectFrom("sla_events").selectAll();
}
