import { placeRecords } from "../core/batch.js";
import { ZERO32 } from "../core/bytes.js";
import { publicationOf } from "../core/publication.js";
import type { ContentKey, Publication } from "../core/publication.js";
import { genesisHead, nextHead } from "../core/head.js";
import type { BatchSeal, LogId } from "../core/head.js";
import { merkleRoot } from "../core/merkle.js";
import type { BatchHead, StoredBatch, StoredLeaf } from "../store/batches.js";
import type { Database } from "../store/database.js";
import { entriesOf, linkedRecords } from "../store/records.js";
import { searchNonce } from "./nonce.js";

/** A batch that is ready to be stored and sealed. */
export interface NewBatch {
  readonly batch: StoredBatch;
  readonly leaves: readonly StoredLeaf[];
  readonly publication: Publication;
}

/** Makes the next batch of what is pending; undefined where nothing is, or once the signal aborts. */
export async function nextBatch(
  database: Database,
  log: LogId,
  last: StoredBatch | undefined,
  options: {
    readonly maxRecords: number;
    readonly difficulty: number;
    /** The key that the batch is published with. */
    readonly key: ContentKey;
    readonly signal: AbortSignal;
  },
): Promise<NewBatch | undefined> {
  const firstSeq = last === undefined ? 0 : last.firstSeq + Number(last.seal.size);
  const pending = await linkedRecords(database, firstSeq, options.maxRecords);
  if (pending.length === 0) return undefined;
  const gap = pending.findIndex(({ seq }, i) => seq !== firstSeq + i);
  if (gap >= 0)
    throw new Error(`record ${firstSeq + gap} is missing from the database: restore it`);
  const placed = placeRecords(pending);
  const previousHead = last?.head ?? genesisHead(log);
  const root = merkleRoot(placed.map(({ leaf }) => leaf));
  const createTime = Date.now();
  const entries = await entriesOf(database, firstSeq, firstSeq + pending.length);
  const publication = publicationOf(entries, {
    key: options.key,
    genesisHead: genesisHead(log),
    root,
    createTime,
  });
  const unworked = {
    number: (last?.seal.number ?? 0n) + 1n,
    root,
    size: BigInt(placed.length),
    manifestDigest: publication.digest,
    trailsRoot: ZERO32,
    nonce: 0n,
  };
  const worked = await workedHead(previousHead, unworked, options.difficulty, options.signal);
  if (worked === undefined) return undefined;
  const { nonce, head } = worked;
  return {
    batch: {
      seal: { ...unworked, nonce },
      ...{ previousHead, head, firstSeq, createTime, anchor: undefined },
    },
    leaves: placed.map(({ index, leaf }, i) => ({ seq: firstSeq + i, trailIndex: index, leaf })),
    publication,
  };
}

/** A head with enough work for a batch that follows another head; undefined once the signal aborts. */
export async function workedHead(
  previousHead: Uint8Array,
  seal: BatchSeal,
  difficulty: number,
  signal: AbortSignal,
): Promise<BatchHead | undefined> {
  const nonce = await searchNonce(previousHead, seal, difficulty, signal);
  if (nonce === undefined) return undefined;
  return { previousHead, nonce, head: nextHead(previousHead, { ...seal, nonce }) };
}
