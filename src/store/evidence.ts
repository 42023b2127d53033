import type { Kysely, Transaction } from "kysely";
import { sameBytes } from "../core/bytes.js";
import { CHAIN_CALLER } from "../core/evidence.js";
import type { ContentState, EvidenceColumns } from "../core/evidence.js";
import { decodeEntry } from "../core/record.js";
import type { EncodedRecord } from "../core/record.js";
import { appendUnits, knownRequests, lockTail } from "./append.js";
import type { StoredAnchor } from "./batches.js";
import type { Database } from "./database.js";
import { readEntry } from "./entry.js";
import { text } from "./tables.js";
import type { EvidenceTable, StrangeAnchorsTable, Tables } from "./tables.js";

/** Where evidence stands on the chain, and by whom. Its gas is that of its operation. */
export interface StoredEvidenceAnchor extends Omit<StoredAnchor, "gasUsed"> {
  /** Account that anchored it: 20 bytes. */
  readonly submitter: Uint8Array;
}

/** What evidence is known by on chain. */
export interface EvidenceKey {
  readonly subjectKey: Uint8Array;
  readonly digest: Uint8Array;
}

/** Evidence as it is stored. */
export interface StoredEvidence extends EvidenceKey {
  /** Its place in the order of acceptance; not dense. */
  readonly id: number;
  readonly recordId: Uint8Array;
  /** Empty where none is known. */
  readonly cid: string;
  readonly size: number | undefined;
  readonly content: ContentState;
  /** When the file was last fetched and hashed, in milliseconds since 1970; 0 before it ever was. */
  readonly checkTime: number;
  /** The group that one transaction anchors; undefined before there is one. */
  readonly group: number | undefined;
  readonly anchor: StoredEvidenceAnchor | undefined;
}

/** An anchor that the database has no record of. */
export interface StrangeAnchor extends EvidenceKey {
  /** The CID that it names: bytes, of whatever form. */
  readonly cid: Uint8Array;
  /** Position of its event in its block. */
  readonly logIndex: number;
  readonly anchor: StoredEvidenceAnchor;
}

/** Which evidence; what is undefined does not restrict. */
export interface EvidenceQuery {
  /** One of these. Requires at least one. */
  readonly subjectKeys?: readonly Uint8Array[] | undefined;
  readonly digest?: Uint8Array | undefined;
  readonly content?: ContentState | undefined;
}

/** What became of evidence: in the log, there already, or refused for a request id. */
export type EvidenceResult =
  | { readonly type: "appended" }
  | { readonly type: "known"; readonly evidence: StoredEvidence }
  | { readonly type: "reused"; readonly requestId: string; readonly takenBy: Uint8Array };

/**
 * Appends the record of evidence, unless there is evidence of its key, or its request was seen before. What
 * was known only as an anchor of a stranger gets the record of whoever hands it in.
 */
export async function appendEvidence(
  trx: Transaction<Tables>,
  record: EncodedRecord,
  columns: EvidenceColumns,
): Promise<EvidenceResult> {
  await lockTail(trx, 0);
  const earlier = await earlierEvidence(trx, record, columns);
  if (earlier?.type === "reused") return earlier;
  const known = earlier?.evidence;
  const isStrange = known !== undefined && (await isStrangers(trx, known.recordId));
  if (known !== undefined && (!isStrange || record.caller === CHAIN_CALLER)) {
    return { type: "known", evidence: known };
  }
  await appendUnits(trx, [{ records: [record] }]);
  if (known === undefined) await insertEvidence(trx, record.id, columns);
  else await takeOver(trx, known, record.id, columns);
  return { type: "appended" };
}

/** What there is of evidence already, by its request or by its key; undefined where there is nothing. */
export async function earlierEvidence(
  db: Kysely<Tables>,
  record: EncodedRecord,
  columns: EvidenceColumns,
): Promise<Exclude<EvidenceResult, { type: "appended" }> | undefined> {
  const { request } = record;
  const [earlier] = (await knownRequests(db, [record])).values();
  const byKey = await evidenceByKey(db, columns);
  if (earlier === undefined || request === undefined) {
    return byKey && { type: "known", evidence: byKey };
  }
  const evidence = (await evidenceByRecord(db, earlier.id)) ?? byKey;
  if (evidence !== undefined && sameBytes(earlier.hash, request.hash)) {
    return { type: "known", evidence };
  }
  return { type: "reused", requestId: request.id, takenBy: earlier.id };
}

/** Whether the record of evidence is that of an anchor on chain, and nobody handed it in here. */
async function isStrangers(trx: Transaction<Tables>, recordId: Uint8Array): Promise<boolean> {
  const row = await trx
    .selectFrom("records")
    .select(["id", "entry"])
    .where("id", "=", recordId)
    .executeTakeFirst();
  return row !== undefined && readEntry(row, decodeEntry).caller === CHAIN_CALLER;
}

/** Another record stands for known evidence; where that stands on the chain stays. */
async function takeOver(
  trx: Transaction<Tables>,
  known: StoredEvidence,
  recordId: Uint8Array,
  columns: EvidenceColumns,
): Promise<void> {
  const { cid, size, content } = columns;
  const file = { cid, size: size ?? null, content, check_time: content === "NONE" ? null : 0 };
  await trx
    .updateTable("evidence")
    .set({ record_id: recordId, ...(known.content === "NONE" ? file : {}) })
    .where("id", "=", known.id)
    .execute();
}

/**
 * Stores evidence whose record has just been appended. What the chain was seen to have of it already is
 * taken over.
 */
async function insertEvidence(
  trx: Transaction<Tables>,
  recordId: Uint8Array,
  columns: EvidenceColumns,
): Promise<void> {
  const { subjectKey, digest, cid, size, content } = columns;
  const strange = await trx
    .selectFrom("strange_anchors")
    .select(["submitter", "transaction_hash", "block_number", "block_hash", "block_time"])
    .where("subject_key", "=", subjectKey)
    .where("digest", "=", digest)
    .executeTakeFirst();
  await trx
    .insertInto("evidence")
    .values({
      record_id: recordId,
      subject_key: subjectKey,
      digest,
      cid,
      size: size ?? null,
      content,
      check_time: content === "NONE" ? null : 0,
      group_number: null,
      ...(strange ?? NOWHERE),
    })
    .execute();
  await deleteStrange(trx, columns);
}

/**
 * Stores evidence whose record was adopted. Of several records of one key the first in the log counts, and a
 * stranger's only where there is no other: one that waits here for its batch steps back, and what is known
 * of its file and its anchor stays.
 */
export async function adoptEvidence(
  trx: Transaction<Tables>,
  { id, seq, caller }: { readonly id: Uint8Array; readonly seq: number; readonly caller: string },
  columns: EvidenceColumns,
): Promise<void> {
  const known = await evidenceByKey(trx, columns);
  if (known === undefined) return insertEvidence(trx, id, columns);
  const holder = await trx
    .selectFrom("records")
    .select("seq")
    .where("id", "=", known.recordId)
    .executeTakeFirst();
  const isOurs = caller !== CHAIN_CALLER;
  const isStrange = await isStrangers(trx, known.recordId);
  const isFirst = holder === undefined || Number(holder.seq) > seq;
  const counts = isOurs === isStrange ? isOurs : isFirst;
  if (counts) await takeOver(trx, known, id, columns);
}

/** Takes over what an adopted record says of a file. It is looked at again before others. */
export async function adoptContent(
  trx: Transaction<Tables>,
  recordId: Uint8Array,
  { cid, size, content }: Pick<EvidenceColumns, "cid" | "size" | "content">,
): Promise<void> {
  await trx
    .updateTable("evidence")
    .set({ cid, size: size ?? null, content, check_time: 0 })
    .where("record_id", "=", recordId)
    .execute();
}

/** The columns of evidence that is not on the chain. */
export const NOWHERE = {
  submitter: null,
  transaction_hash: null,
  block_number: null,
  block_hash: null,
  block_time: null,
} as const;

/** Evidence by its key; within a transaction, as it is there. */
export async function evidenceByKey(
  db: Kysely<Tables>,
  { subjectKey, digest }: EvidenceKey,
): Promise<StoredEvidence | undefined> {
  const row = await evidence(db)
    .where("subject_key", "=", subjectKey)
    .where("digest", "=", digest)
    .executeTakeFirst();
  return row && stored(row);
}

/** Evidence by the id of its record; within a transaction, as it is there. */
export async function evidenceByRecord(
  db: Kysely<Tables>,
  recordId: Uint8Array,
): Promise<StoredEvidence | undefined> {
  const row = await evidence(db).where("record_id", "=", recordId).executeTakeFirst();
  return row && stored(row);
}

/** Evidence in the order of acceptance or the reverse of it, behind a place in it. */
export async function listEvidence(
  database: Database,
  { subjectKeys, digest, content }: EvidenceQuery,
  options: {
    readonly newestFirst: boolean;
    readonly behind: number | undefined;
    readonly limit: number;
  },
): Promise<StoredEvidence[]> {
  const { newestFirst, behind, limit } = options;
  const rows = await database.read((db) =>
    evidence(db)
      .$if(subjectKeys !== undefined, (q) => q.where("subject_key", "in", subjectKeys ?? []))
      .$if(digest !== undefined, (q) => q.where("digest", "=", digest as Uint8Array))
      .$if(content !== undefined, (q) => q.where("content", "=", content as ContentState))
      .$if(behind !== undefined, (q) => q.where("id", newestFirst ? "<" : ">", behind as number))
      .orderBy("id", newestFirst ? "desc" : "asc")
      .limit(limit)
      .execute(),
  );
  return rows.map(stored);
}

/** Notes what has become of a file. Returns false where somebody else has changed that meanwhile. */
export async function setContent(
  trx: Transaction<Tables>,
  { id, content }: StoredEvidence,
  to: ContentState,
  checkTime: number,
): Promise<boolean> {
  const { numUpdatedRows } = await trx
    .updateTable("evidence")
    .set({ content: to, check_time: checkTime })
    .where("id", "=", id)
    .where("content", "=", content)
    .executeTakeFirstOrThrow();
  return numUpdatedRows > 0n;
}

/** A file has come for evidence of which there was only the hash. */
export async function expectContent(
  trx: Transaction<Tables>,
  { id }: StoredEvidence,
  { cid, size }: Pick<EvidenceColumns, "cid" | "size">,
): Promise<void> {
  await trx
    .updateTable("evidence")
    .set({ cid, size: size ?? null, content: "PENDING" satisfies ContentState, check_time: 0 })
    .where("id", "=", id)
    .where("content", "=", "NONE" satisfies ContentState)
    .execute();
}

/** The file that was looked at longest ago; those never looked at come first. */
export async function nextToCheck(database: Database): Promise<StoredEvidence | undefined> {
  const row = await database.read((db) =>
    evidence(db)
      .where("check_time", "is not", null)
      .orderBy("check_time")
      .orderBy("id")
      .limit(1)
      .executeTakeFirst(),
  );
  return row && stored(row);
}

/** How much evidence there is. */
export interface EvidenceTotals {
  /** How many files are in each state. */
  readonly content: Readonly<Record<ContentState, number>>;
  /** How many wait for their anchor. */
  readonly unanchored: number;
  /** When the file that was looked at longest ago was, in milliseconds since 1970; undefined where none was. */
  readonly oldestCheck: number | undefined;
}

/** Counts evidence, from indexes alone. */
export async function evidenceTotals(database: Database): Promise<EvidenceTotals> {
  return database.read(async (db) => {
    const rows = await db
      .selectFrom("evidence")
      .select((eb) => ["content", eb.fn.countAll<number>().as("count")])
      .groupBy("content")
      .execute();
    const content = { NONE: 0, PENDING: 0, INTACT: 0, MISSING: 0, ALTERED: 0 };
    for (const row of rows) content[text(row.content) as ContentState] = Number(row.count);
    const oldest = await db
      .selectFrom("evidence")
      .select((eb) => eb.fn.min<number | null>("check_time").as("time"))
      .where("check_time", ">", 0)
      .executeTakeFirst();
    const waiting = await db
      .selectFrom("evidence")
      .select((eb) => eb.fn.countAll<number>().as("count"))
      .where("block_number", "is", null)
      .executeTakeFirstOrThrow();
    return {
      content,
      unanchored: Number(waiting.count),
      oldestCheck: oldest?.time == null ? undefined : Number(oldest.time),
    };
  });
}

/** Forgets that an anchor has no record. */
export async function deleteStrange(
  trx: Transaction<Tables>,
  { subjectKey, digest }: EvidenceKey,
): Promise<void> {
  await trx
    .deleteFrom("strange_anchors")
    .where("subject_key", "=", subjectKey)
    .where("digest", "=", digest)
    .execute();
}

/** Rows of evidence. */
export function evidence(db: Kysely<Tables>) {
  return db.selectFrom("evidence").selectAll();
}

type EvidenceRow = NonNullable<
  Awaited<ReturnType<ReturnType<typeof evidence>["executeTakeFirst"]>>
>;

/** A row of evidence, read. */
export function stored(row: EvidenceRow): StoredEvidence {
  return {
    id: Number(row.id),
    recordId: row.record_id,
    subjectKey: row.subject_key,
    digest: row.digest,
    cid: text(row.cid),
    size: row.size === null ? undefined : Number(row.size),
    content: text(row.content) as ContentState,
    checkTime: Number(row.check_time ?? 0),
    group: row.group_number === null ? undefined : Number(row.group_number),
    anchor: anchorOf(row),
  };
}

/** Where a row stands on the chain; undefined where it does not. */
export function anchorOf(
  row: Pick<
    EvidenceTable | StrangeAnchorsTable,
    "submitter" | "transaction_hash" | "block_number" | "block_hash" | "block_time"
  >,
): StoredEvidenceAnchor | undefined {
  const { submitter, transaction_hash, block_hash } = row;
  if (submitter === null || transaction_hash === null || block_hash === null) return undefined;
  return {
    submitter,
    transactionHash: transaction_hash,
    blockNumber: Number(row.block_number),
    blockHash: block_hash,
    blockTime: Number(row.block_time),
  };
}
