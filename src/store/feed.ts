import { sql } from "kysely";
import type { Kysely, SelectQueryBuilder, Transaction } from "kysely";
import { hex } from "../core/bytes.js";
import type { StoredAnchor } from "./batches.js";
import type { Database } from "./database.js";
import { insertRows } from "./insert.js";
import { text } from "./tables.js";
import type { Tables } from "./tables.js";

/** How sure it is that a block stays: the numbers of Finality in event.proto; 0 belongs to no block. */
export const Level = { None: 0, Provisional: 1, Confirmed: 2, Final: 3 } as const;
/** One of the levels. */
export type Level = (typeof Level)[keyof typeof Level];

/** What happened to a batch on the chain: it came to stand at a level, or it left. */
export interface BatchHappening {
  readonly kind: "SEALED" | "RETRACTED";
  readonly level: Exclude<Level, typeof Level.None>;
  readonly batchNumber: number;
  readonly anchor: StoredAnchor;
}

/** What happened to no block. */
export interface OtherHappening {
  readonly kind: "OPERATION_FAILED" | "INTEGRITY_BROKEN";
  /** The batch that it is about; 0 for none. */
  readonly batchNumber: number;
  /** JSON that the kind calls for. */
  readonly detail: string;
}

/** Something that subscribers are told. A batch stands for all of its records. */
export type Happening = BatchHappening | OtherHappening;

/** A row of the feed. */
export type FeedRow = Happening & {
  readonly number: number;
  /** How often the batch had left this very block before. */
  readonly occurrence: number;
  /** Up to this block, everything was told before this row. */
  readonly finalNumber: number;
  /** Milliseconds since 1970. */
  readonly createTime: number;
};

/** What is in the feed. */
export interface FeedBounds {
  /** Marks this database's numbering: 16 hex digits. */
  readonly epoch: string;
  /** Number of the oldest row that is kept. */
  readonly first: number;
  /** Number that the next row gets. */
  readonly next: number;
}

const COLUMNS = [
  "number",
  "kind",
  "finality",
  "batch_number",
  "block_number",
  "block_hash",
  "block_time",
  "transaction_hash",
  "gas_used",
  "occurrence",
  "final_number",
  "late",
  "detail",
  "create_time",
] as const;

/**
 * Appends to the feed. `finalNumber` is the block up to which everything was told before these; each
 * row that makes a batch final raises it to the block before that batch's.
 */
export async function appendFeed(
  trx: Transaction<Tables>,
  happenings: readonly Happening[],
  finalNumber: number,
): Promise<void> {
  if (happenings.length === 0) return;
  const first = await lockFeed(trx, happenings.length);
  const retractions = await retractionsOf(trx, happenings);
  const now = Date.now();
  let told = finalNumber;
  const values: unknown[] = [];
  for (const [i, happening] of happenings.entries()) {
    const { kind, batchNumber } = happening;
    if ("detail" in happening) {
      const { detail } = happening;
      const nowhere = [null, null, null, null, null];
      values.push(first + i, kind, Level.None, batchNumber, ...nowhere, 0, told, 0, detail, now);
      continue;
    }
    const { level, anchor } = happening;
    const { blockNumber, blockHash, blockTime, transactionHash, gasUsed } = anchor;
    const place = [blockNumber, blockHash, blockTime, transactionHash, gasUsed];
    const key = placeKey(batchNumber, blockHash);
    const occurrence = retractions.get(key) ?? 0;
    if (kind === "RETRACTED") retractions.set(key, occurrence + 1);
    const late = blockNumber <= told ? 1 : 0;
    if (level === Level.Final) told = Math.max(told, blockNumber - 1);
    values.push(first + i, kind, level, batchNumber, ...place, occurrence, told, late, "", now);
  }
  await insertRows(trx, "events", COLUMNS, values);
}

/** Takes the lock that orders all writers of the feed, and room for so many rows. */
async function lockFeed(trx: Transaction<Tables>, count: number): Promise<number> {
  await trx
    .updateTable("feed")
    .set((eb) => ({ next_number: eb("next_number", "+", count) }))
    .where("id", "=", 1)
    .execute();
  const row = await trx.selectFrom("feed").select("next_number").executeTakeFirstOrThrow();
  return Number(row.next_number) - count;
}

/** How often each of the batches has left a block, by batch and block. */
async function retractionsOf(
  trx: Transaction<Tables>,
  happenings: readonly Happening[],
): Promise<Map<string, number>> {
  const numbers = [...new Set(happenings.map(({ batchNumber }) => batchNumber))];
  const found = new Map<string, number>();
  for (let at = 0; at < numbers.length; at += 500) {
    const rows = await trx
      .selectFrom("events")
      .select(["batch_number", "block_hash"])
      .where("batch_number", "in", numbers.slice(at, at + 500))
      .where("kind", "=", "RETRACTED")
      .execute();
    for (const { batch_number, block_hash } of rows) {
      if (block_hash === null) continue;
      const key = placeKey(Number(batch_number), block_hash);
      found.set(key, (found.get(key) ?? 0) + 1);
    }
  }
  return found;
}

function placeKey(batchNumber: number, blockHash: Uint8Array): string {
  return `${batchNumber} ${hex(blockHash)}`;
}

/** What is in the feed now. */
export async function feedBounds(database: Database): Promise<FeedBounds> {
  const row = await database.read((db) =>
    db.selectFrom("feed").selectAll().executeTakeFirstOrThrow(),
  );
  return {
    epoch: text(row.epoch),
    first: Number(row.first_number),
    next: Number(row.next_number),
  };
}

/** Rows from a number on, in order. */
export async function feedRows(
  database: Database,
  fromNumber: number,
  limit: number,
): Promise<FeedRow[]> {
  const rows = await database.read((db) =>
    events(db).where("number", ">=", fromNumber).orderBy("number").limit(limit).execute(),
  );
  return rows.map(feedRow);
}

/** Those of the levels at which the feed has not told that a batch is in a block, since it last left it. */
export async function untoldLevels<L extends Level>(
  db: Kysely<Tables>,
  batchNumber: number,
  blockHash: Uint8Array,
  levels: readonly L[],
): Promise<L[]> {
  const rows = await db
    .selectFrom("events")
    .select(["kind", "finality"])
    .where("batch_number", "=", batchNumber)
    .where("block_hash", "=", blockHash)
    .orderBy("number")
    .execute();
  const left = rows.findLastIndex(({ kind }) => text(kind) === "RETRACTED");
  const told = new Set(rows.slice(left + 1).map(({ finality }) => Number(finality)));
  return levels.filter((level) => !told.has(level));
}

/** The first row about a block above a number. */
export async function firstRowAbove(
  database: Database,
  blockNumber: number,
): Promise<number | undefined> {
  // By the index on blocks, of which few are above; the bare column would have all rows read in order.
  const first = sql<number | null>`min(number + 0)`;
  return lowest(database, (events) =>
    events.select(first.as("number")).where("block_number", ">", blockNumber),
  );
}

/** The first row about a block that was told of only after later blocks had been told of as final. */
export async function firstLateRow(database: Database): Promise<number | undefined> {
  return lowest(database, (events) =>
    events.select((eb) => eb.fn.min<number | null>("number").as("number")).where("late", "=", 1),
  );
}

async function lowest(
  database: Database,
  query: (
    events: SelectQueryBuilder<Tables, "events", object>,
  ) => SelectQueryBuilder<Tables, "events", { number: number | null }>,
): Promise<number | undefined> {
  const row = await database.read((db) => query(db.selectFrom("events")).executeTakeFirst());
  return row === undefined || row.number === null ? undefined : Number(row.number);
}

/** Forgets rows that are older than a time, oldest first, at most so many. Returns how many. */
export async function pruneFeed(
  trx: Transaction<Tables>,
  beforeTime: number,
  limit: number,
): Promise<number> {
  await lockFeed(trx, 0);
  const rows = await trx
    .selectFrom("events")
    .select(["number", "create_time"])
    .orderBy("number")
    .limit(limit)
    .execute();
  const kept = rows.findIndex(({ create_time }) => Number(create_time) >= beforeTime);
  const count = kept < 0 ? rows.length : kept;
  const last = rows[count - 1];
  if (last === undefined) return 0;
  await trx.deleteFrom("events").where("number", "<=", last.number).execute();
  await trx
    .updateTable("feed")
    .set({ first_number: Number(last.number) + 1 })
    .where("id", "=", 1)
    .execute();
  return count;
}

/** Gives the feed's numbering a new mark: what was told before may have been told otherwise. */
export async function renewEpoch(trx: Transaction<Tables>, epoch: string): Promise<void> {
  await trx.updateTable("feed").set({ epoch }).where("id", "=", 1).execute();
}

function events(db: Kysely<Tables>) {
  return db.selectFrom("events").selectAll();
}

type EventRow = NonNullable<Awaited<ReturnType<ReturnType<typeof events>["executeTakeFirst"]>>>;

function feedRow(row: EventRow): FeedRow {
  const common = {
    number: Number(row.number),
    batchNumber: Number(row.batch_number),
    occurrence: Number(row.occurrence),
    finalNumber: Number(row.final_number),
    createTime: Number(row.create_time),
  };
  const kind = text(row.kind) as Happening["kind"];
  if (kind === "OPERATION_FAILED" || kind === "INTEGRITY_BROKEN") {
    return { ...common, kind, detail: text(row.detail) };
  }
  return {
    ...common,
    kind,
    level: Number(row.finality) as BatchHappening["level"],
    anchor: {
      transactionHash: row.transaction_hash as Uint8Array,
      blockNumber: Number(row.block_number),
      blockHash: row.block_hash as Uint8Array,
      blockTime: Number(row.block_time),
      gasUsed: Number(row.gas_used),
    },
  };
}
