import { randomBytes } from "node:crypto";
import type { Transaction } from "kysely";
import { placeRecords } from "../core/batch.js";
import type { Unplaced } from "../core/batch.js";
import { hex, sameBytes, sha256, ZERO32 } from "../core/bytes.js";
import { messageOf } from "../core/errors.js";
import { contentColumns, evidenceColumns } from "../core/evidence.js";
import { genesisHead, nextHead } from "../core/head.js";
import type { BatchSeal, LogId } from "../core/head.js";
import { merkleRoot } from "../core/merkle.js";
import { readManifest, readPiece } from "../core/publication.js";
import type { PieceSecrets } from "../core/publication.js";
import { columnsOf, decodeEntry } from "../core/record.js";
import type { EncodedRecord } from "../core/record.js";
import { recordedIntent, recordedRefusal } from "../core/sla.js";
import type { SealedEvent } from "../chain/port.js";
import { adoptRecords, clearRemains } from "../store/adopt.js";
import { insertBatch, lastBatch } from "../store/batches.js";
import type { StoredBatch } from "../store/batches.js";
import type { Database } from "../store/database.js";
import { adoptContent, adoptEvidence } from "../store/evidence.js";
import { renewEpoch } from "../store/feed.js";
import { insertPublication } from "../store/publications.js";
import { trailEnds } from "../store/records.js";
import { adoptSlaChange, adoptSlaRefusal } from "../store/sla-changes.js";
import type { Tables } from "../store/tables.js";
import { faultPoint } from "./faults.js";
import type { Archive } from "./publish.js";

/** A batch that the chain has cannot be brought back; the message says what is missing. */
export class NotAdoptable extends Error {
  override readonly name = "NotAdoptable";
}

/**
 * Brings a batch that was sealed but is not in the database back from its published content: after a
 * backup was restored, or when the database is rebuilt. What comes back is checked against the chain
 * before anything is written. Throws NotAdoptable.
 */
export async function adoptBatch(
  database: Database,
  archive: Archive,
  log: LogId,
  { seal, head }: SealedEvent,
): Promise<void> {
  const last = await lastBatch(database);
  const previousHead = last?.head ?? genesisHead(log);
  const firstSeq = last === undefined ? 0 : last.firstSeq + Number(last.seal.size);
  const isNext = (last?.seal.number ?? 0n) + 1n === seal.number;
  if (!isNext || !sameBytes(nextHead(previousHead, seal), head)) {
    const why = "does not follow on the last one in this database, which has another history";
    throw notAdoptable(seal, why);
  }
  const { keyId, createTime, records } = await readPublished(archive, log, seal);
  const placed = placeRecords(await linked(database, firstSeq, records));
  const root = merkleRoot(placed.map(({ leaf }) => leaf));
  if (BigInt(records.length) !== seal.size || !sameBytes(root, seal.root)) {
    throw notAdoptable(seal, "was published with other records than those that were sealed");
  }
  const batch: StoredBatch = { seal, previousHead, head, firstSeq, createTime, anchor: undefined };
  const leaves = placed.map(({ index, leaf }, i) => ({
    seq: firstSeq + i,
    trailIndex: index,
    leaf,
  }));
  await faultPoint("adopt.before-commit");
  await database.transact(async (trx) => {
    await clearRemains(trx, Number(seal.number), firstSeq);
    await adoptRecords(trx, firstSeq, records);
    for (const [i, record] of records.entries()) {
      await adoptEvidenceOf(trx, record, firstSeq + i);
      await adoptSlaOf(trx, record);
    }
    await insertBatch(trx, batch, leaves);
    await insertPublication(trx, Number(seal.number), keyId, Date.now());
    await renewEpoch(trx, hex(randomBytes(8)));
  });
  await faultPoint("adopt.after-commit");
}

/** What a record says of evidence. */
async function adoptEvidenceOf(
  trx: Transaction<Tables>,
  { id, entry: bytes, columns }: EncodedRecord,
  seq: number,
): Promise<void> {
  if (!columns.type.startsWith("evidence_")) return; // most are none, and need not be decoded
  const entry = decodeEntry(bytes);
  const added = evidenceColumns(entry);
  if (added !== undefined) await adoptEvidence(trx, { id, seq, caller: entry.caller }, added);
  const checked = contentColumns(entry);
  if (checked !== undefined) await adoptContent(trx, checked.recordId, checked);
}

/** What a record says of a deadline. */
async function adoptSlaOf(
  trx: Transaction<Tables>,
  { id, entry: bytes, columns }: EncodedRecord,
): Promise<void> {
  if (!columns.type.startsWith("deadline_")) return; // most are none, and need not be decoded
  const entry = decodeEntry(bytes);
  const told = recordedIntent(entry);
  if (told !== undefined) await adoptSlaChange(trx, id, told);
  const refusal = recordedRefusal(entry);
  if (refusal !== undefined) await adoptSlaRefusal(trx, refusal);
}

function notAdoptable({ number }: BatchSeal, why: string): NotAdoptable {
  return new NotAdoptable(`batch ${number} is on chain, but not in this database, and ${why}`);
}

/** A batch as it was published. Its records are those that its digest vouches for, and no more. */
async function readPublished({ content, keys }: Archive, log: LogId, seal: BatchSeal) {
  if (sameBytes(seal.manifestDigest, ZERO32)) {
    throw notAdoptable(seal, "was sealed without publishing it: restore a database that has it");
  }
  const fetched = async (digest: Uint8Array) => {
    const block = await content.get(digest);
    if (block !== undefined) return block;
    throw notAdoptable(
      seal,
      `the content store has no block with SHA-256 ${hex(digest)} of it: copy the folder ipfs of the ` +
        "DATA_DIR that sealed it, or set IPFS_PEERS to a node that has it",
    );
  };
  const readable = <T>(read: () => T): T => {
    try {
      return read();
    } catch (error) {
      throw notAdoptable(seal, `what was published of it cannot be read: ${messageOf(error)}`);
    }
  };
  const block = await fetched(seal.manifestDigest);
  const manifest = readable(() => readManifest(block, seal.manifestDigest));
  const { keyId, createTime, pieces } = manifest;
  const key = keys.find(keyId);
  if (key === undefined) {
    throw notAdoptable(
      seal,
      `is encrypted with content key ${hex(keyId)}: set CONTENT_KEY to it, or put it into the folder ` +
        "keys of DATA_DIR",
    );
  }
  const secrets: PieceSecrets = { key, genesisHead: genesisHead(log), root: seal.root };
  const records: EncodedRecord[] = [];
  for (const [i, digest] of pieces.entries()) {
    const piece = await fetched(digest);
    records.push(...readable(() => readPiece(piece, digest, i, secrets).map(recordOf)));
  }
  return { keyId, createTime, records };
}

/** A record as it was first encoded, from its entry alone. */
function recordOf(bytes: Uint8Array): EncodedRecord {
  const entry = decodeEntry(bytes);
  const { caller, requestId, requestHash } = entry;
  return {
    id: sha256(bytes),
    entry: bytes,
    caller,
    request: requestId === "" ? undefined : { id: requestId, hash: requestHash },
    columns: columnsOf(entry),
  };
}

/** Each record with the one before it in its trail, in the batch or in the database. */
async function linked(
  database: Database,
  firstSeq: number,
  records: readonly EncodedRecord[],
): Promise<Unplaced[]> {
  const subjects = [...new Set(records.map(({ columns }) => columns.subject))];
  const before = await trailEnds(database, subjects, firstSeq);
  const inside = new Map<string, number>();
  return records.map(({ id, columns: { subject } }, i) => {
    const end = before.get(subject);
    const seq = firstSeq + i;
    const previousSeq = inside.get(subject) ?? end?.seq;
    const previous = inside.has(subject) ? undefined : end?.previous;
    inside.set(subject, seq);
    return { seq, id, previousSeq, previous };
  });
}
