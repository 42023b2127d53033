import type { Kysely, Transaction } from "kysely";
import type { BatchSeal } from "../core/head.js";
import type { Database } from "./database.js";
import { insertRows } from "./insert.js";
import type { Tables } from "./tables.js";

/** Where a batch stands on the chain. */
export interface StoredAnchor {
  readonly transactionHash: Uint8Array;
  readonly blockNumber: number;
  readonly blockHash: Uint8Array;
  /** Seconds since 1970. */
  readonly blockTime: number;
  readonly gasUsed: number;
}

/** A batch as it is stored. */
export interface StoredBatch {
  readonly seal: BatchSeal;
  readonly previousHead: Uint8Array;
  readonly head: Uint8Array;
  /** Position in the log of its first record. */
  readonly firstSeq: number;
  /** When it was closed, in milliseconds since 1970. */
  readonly createTime: number;
  readonly anchor: StoredAnchor | undefined;
}

/** The leaf of a record that is in a batch. */
export interface StoredLeaf {
  readonly seq: number;
  readonly trailIndex: number;
  readonly leaf: Uint8Array;
}

const LEAF_COLUMNS = ["seq", "trail_index", "leaf"] as const;

/** Stores a new batch with its leaves. Its number and its records are fixed from here on. */
export async function insertBatch(
  trx: Transaction<Tables>,
  batch: StoredBatch,
  leaves: readonly StoredLeaf[],
): Promise<void> {
  const { seal, previousHead, head, firstSeq, createTime } = batch;
  await trx
    .insertInto("batches")
    .values({
      number: Number(seal.number),
      first_seq: firstSeq,
      size: Number(seal.size),
      previous_head: previousHead,
      root: seal.root,
      manifest_digest: seal.manifestDigest,
      trails_root: seal.trailsRoot,
      nonce: Number(seal.nonce),
      head,
      create_time: createTime,
      transaction_hash: null,
      block_number: null,
      block_hash: null,
      block_time: null,
      gas_used: null,
    })
    .execute();
  const values = leaves.flatMap(({ seq, trailIndex, leaf }) => [seq, trailIndex, leaf]);
  await insertRows(trx, "leaves", LEAF_COLUMNS, values);
}

/** The last batch, whether or not it is on the chain. */
export async function lastBatch(database: Database): Promise<StoredBatch | undefined> {
  const row = await database.read((db) =>
    batches(db).orderBy("number", "desc").limit(1).executeTakeFirst(),
  );
  return row && stored(row);
}

/** Selects the numbers of the batches that are not on the chain. */
export function unanchoredBatches(db: Kysely<Tables>) {
  return selection(db).select("number").where("block_number", "is", null);
}

/** The first batch that is not on the chain; batches reach it in order. */
export async function firstUnanchored(database: Database): Promise<StoredBatch | undefined> {
  const row = await database.read((db) =>
    batches(db).where("block_number", "is", null).orderBy("number").limit(1).executeTakeFirst(),
  );
  return row && stored(row);
}

/** One batch by its number. */
export async function findBatch(
  database: Database,
  number: number,
): Promise<StoredBatch | undefined> {
  const row = await database.read((db) =>
    batches(db).where("number", "=", number).executeTakeFirst(),
  );
  return row && stored(row);
}

/** One batch by its root; the first, should a root ever stand twice. */
export async function findBatchByRoot(
  database: Database,
  root: Uint8Array,
): Promise<StoredBatch | undefined> {
  const row = await database.read((db) =>
    batches(db).where("root", "=", root).orderBy("number").limit(1).executeTakeFirst(),
  );
  return row && stored(row);
}

/** One batch by the head after it: no two have the same. */
export async function findBatchByHead(
  database: Database,
  head: Uint8Array,
): Promise<StoredBatch | undefined> {
  const row = await database.read((db) => batches(db).where("head", "=", head).executeTakeFirst());
  return row && stored(row);
}

/** The batch that a position in the log belongs to. */
export async function batchOfSeq(
  database: Database,
  seq: number,
): Promise<StoredBatch | undefined> {
  const row = await database.read((db) =>
    batches(db)
      .where("first_seq", "<=", seq)
      .orderBy("first_seq", "desc")
      .limit(1)
      .executeTakeFirst(),
  );
  return row && seq < Number(row.first_seq) + Number(row.size) ? stored(row) : undefined;
}

/** Which batches; what is undefined does not restrict. */
export interface BatchRange {
  /** The first number. */
  readonly from?: number | undefined;
  /** The number after the last. */
  readonly below?: number | undefined;
}

/** Batches in log order, or the reverse of it. */
export async function listBatches(
  database: Database,
  { from, below }: BatchRange,
  options: { readonly newestFirst: boolean; readonly limit: number },
): Promise<StoredBatch[]> {
  const rows = await database.read((db) =>
    batches(db)
      .where((eb) =>
        eb.and([
          ...(from === undefined ? [] : [eb("number", ">=", from)]),
          ...(below === undefined ? [] : [eb("number", "<", below)]),
        ]),
      )
      .orderBy("number", options.newestFirst ? "desc" : "asc")
      .limit(options.limit)
      .execute(),
  );
  return rows.map(stored);
}

/** The leaves of a range of positions, in log order. */
export async function leavesOfRange(
  database: Database,
  fromSeq: number,
  toSeq: number,
): Promise<StoredLeaf[]> {
  const rows = await database.read((db) =>
    db
      .selectFrom("leaves")
      .selectAll()
      .where("seq", ">=", fromSeq)
      .where("seq", "<", toSeq)
      .orderBy("seq")
      .execute(),
  );
  return rows.map(storedLeaf);
}

/** Notes where a batch stands on the chain. */
export async function anchorBatch(
  trx: Transaction<Tables>,
  number: number,
  anchor: StoredAnchor,
): Promise<void> {
  await trx
    .updateTable("batches")
    .set({
      transaction_hash: anchor.transactionHash,
      block_number: anchor.blockNumber,
      block_hash: anchor.blockHash,
      block_time: anchor.blockTime,
      gas_used: anchor.gasUsed,
    })
    .where("number", "=", number)
    .execute();
}

/** What a batch's head is made of besides what it seals. */
export type BatchHead = Pick<StoredBatch, "previousHead" | "head"> & Pick<BatchSeal, "nonce">;

/** Gives a batch another head. Returns false where it has none like that which was read, or is on the chain. */
export async function replaceHead(
  trx: Transaction<Tables>,
  { seal, head }: Pick<StoredBatch, "seal" | "head">,
  by: BatchHead,
): Promise<boolean> {
  const { numUpdatedRows } = await trx
    .updateTable("batches")
    .set({ previous_head: by.previousHead, nonce: Number(by.nonce), head: by.head })
    .where("number", "=", Number(seal.number))
    .where("head", "=", head)
    .where("block_number", "is", null)
    .executeTakeFirstOrThrow();
  return numUpdatedRows === 1n;
}

/** Takes batches above a block back to waiting: the chain no longer has them. */
export async function retractAbove(trx: Transaction<Tables>, blockNumber: number): Promise<void> {
  await trx
    .updateTable("batches")
    .set({
      transaction_hash: null,
      block_number: null,
      block_hash: null,
      block_time: null,
      gas_used: null,
    })
    .where("block_number", ">", blockNumber)
    .execute();
}

/** A batch in a block. */
export interface AnchoredBatch {
  readonly number: number;
  readonly anchor: StoredAnchor;
}

/** The batches in blocks above one number and up to another, in their order. */
export async function anchoredBatches(
  trx: Transaction<Tables>,
  aboveBlock: number,
  toBlock: number,
): Promise<AnchoredBatch[]> {
  if (toBlock <= aboveBlock) return [];
  const rows = await batches(trx)
    .where("block_number", ">", aboveBlock)
    .where("block_number", "<=", toBlock)
    .orderBy("number")
    .execute();
  return rows.map((row) => ({
    number: Number(row.number),
    anchor: anchorOf(row) as StoredAnchor,
  }));
}

/** How far the log has come: each number is the position after the last record in that state. */
export interface Progress {
  /** Number of the last batch on the chain; 0 before there is one. */
  readonly lastBatch: number;
  /** In a batch. */
  readonly sealed: number;
  /** On the chain. */
  readonly anchored: number;
  /** On the chain for good. */
  readonly final: number;
}

/** Reads how far the log has come. Batches reach the chain in order, so one position says it all. */
export async function progress(database: Database): Promise<Progress> {
  return database.read(async (db) => {
    const all = db.selectFrom("batches");
    const last = await lastOf(all);
    const anchored = await lastOf(all.where("block_number", "is not", null));
    const position = await db
      .selectFrom("chain_position")
      .select("final_number")
      .executeTakeFirst();
    const limit = Number(position?.final_number ?? -1);
    const final = await lastOf(all.where("block_number", "<=", limit));
    return {
      lastBatch: anchored.number,
      sealed: last.end,
      anchored: anchored.end,
      final: final.end,
    };
  });
}

/** Number and end of the last batch of a selection; zeros where it is empty. */
async function lastOf(selected: ReturnType<typeof selection>) {
  const row = await selected
    .select(["number", "first_seq", "size"])
    .orderBy("number", "desc")
    .limit(1)
    .executeTakeFirst();
  if (row === undefined) return { number: 0, end: 0 };
  return { number: Number(row.number), end: Number(row.first_seq) + Number(row.size) };
}

/** Totals over the batches on the chain. */
export async function batchTotals(database: Database): Promise<{
  readonly count: number;
  readonly gasUsed: number;
  /** Seconds since 1970. */
  readonly firstTime: number | undefined;
  readonly lastTime: number | undefined;
}> {
  const row = await database.read((db) =>
    db
      .selectFrom("batches")
      .select((eb) => [
        eb.fn.countAll<number>().as("count"),
        eb.fn.sum<number | null>("gas_used").as("gas"),
        eb.fn.min<number | null>("block_time").as("first"),
        eb.fn.max<number | null>("block_time").as("last"),
      ])
      .where("block_number", "is not", null)
      .executeTakeFirstOrThrow(),
  );
  return {
    count: Number(row.count),
    gasUsed: Number(row.gas ?? 0),
    firstTime: row.first === null ? undefined : Number(row.first),
    lastTime: row.last === null ? undefined : Number(row.last),
  };
}

function selection(db: Kysely<Tables>) {
  return db.selectFrom("batches");
}

function batches(db: Kysely<Tables>) {
  return selection(db).selectAll();
}

type BatchRow = NonNullable<Awaited<ReturnType<ReturnType<typeof batches>["executeTakeFirst"]>>>;

function stored(row: BatchRow): StoredBatch {
  return {
    seal: {
      number: BigInt(row.number),
      root: row.root,
      size: BigInt(row.size),
      manifestDigest: row.manifest_digest,
      trailsRoot: row.trails_root,
      nonce: BigInt(row.nonce),
    },
    previousHead: row.previous_head,
    head: row.head,
    firstSeq: Number(row.first_seq),
    createTime: Number(row.create_time),
    anchor: anchorOf(row),
  };
}

function anchorOf(row: BatchRow): StoredAnchor | undefined {
  if (row.transaction_hash === null || row.block_hash === null) return undefined;
  return {
    transactionHash: row.transaction_hash,
    blockNumber: Number(row.block_number),
    blockHash: row.block_hash,
    blockTime: Number(row.block_time),
    gasUsed: Number(row.gas_used),
  };
}

function storedLeaf(row: { seq: number; trail_index: number; leaf: Uint8Array }): StoredLeaf {
  return { seq: Number(row.seq), trailIndex: Number(row.trail_index), leaf: row.leaf };
}
