import { treeLevels, inclusionPath } from "../core/merkle.js";
import { ZERO32 } from "../core/bytes.js";
import type { LogId } from "../core/head.js";
import { batchOfSeq, leavesOfRange } from "../store/batches.js";
import type { StoredBatch, StoredLeaf } from "../store/batches.js";
import type { Database } from "../store/database.js";
import { previousLeaf } from "../store/records.js";
import type { StoredRecord } from "../store/append.js";

/** Everything that a receipt says besides the entry. */
export interface Proof {
  readonly log: LogId;
  readonly trailIndex: number;
  readonly previousLeaf: Uint8Array;
  readonly leafIndex: number;
  readonly path: readonly Uint8Array[];
  readonly batch: StoredBatch;
}

/** Trees that are kept: the receipts of one batch are often asked for together. */
const KEPT_TREES = 8;

type Levels = readonly (readonly Uint8Array[])[];

/** Makes the proofs of records that are on the chain. */
export class ProofMaker {
  readonly #trees = new Map<string, { readonly leaves: readonly StoredLeaf[]; readonly levels: Levels }>();

  constructor(private readonly database: Database) {}

  /** The proof of a record; undefined while its batch is not on the chain. */
  async prove(log: LogId, record: StoredRecord, subject: string): Promise<Proof | undefined> {
    const batch = await batchOfSeq(this.database, record.seq);
    if (batch?.anchor === undefined) return undefined;
    const { leaves, levels } = await this.#tree(batch);
    const leafIndex = record.seq - batch.firstSeq;
    const trailIndex = leaves[leafIndex]?.trailIndex ?? 0;
    const previous = await previousLeaf(this.database, subject, record.seq);
    return {
      log,
      trailIndex,
      previousLeaf: previous ?? ZERO32,
      leafIndex,
      path: inclusionPath(levels, leafIndex),
      batch,
    };
  }

  async #tree(batch: StoredBatch) {
    const key = Buffer.from(batch.head).toString("base64");
    const kept = this.#trees.get(key);
    if (kept !== undefined) return kept;
    const toSeq = batch.firstSeq + Number(batch.seal.size);
    const leaves = await leavesOfRange(this.database, batch.firstSeq, toSeq);
    const tree = { leaves, levels: treeLevels(leaves.map(({ leaf }) => leaf)) };
    this.#trees.set(key, tree);
    if (this.#trees.size > KEPT_TREES) this.#trees.delete(this.#trees.keys().next().value as string);
    return tree;
  }
}
