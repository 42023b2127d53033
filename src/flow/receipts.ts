import { treeLevels, inclusionPath } from "../core/merkle.js";
import { ZERO32 } from "../core/bytes.js";
import type { LogId } from "../core/head.js";
import { SharedCache } from "../core/shared-cache.js";
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

interface Tree {
  readonly leaves: readonly StoredLeaf[];
  readonly levels: readonly (readonly Uint8Array[])[];
}

/** Makes the proofs of records that are on the chain. */
export class ProofMaker {
  /** All who wait for a batch ask at once. */
  readonly #trees = new SharedCache<Tree>(KEPT_TREES, () => 1);

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

  #tree(batch: StoredBatch): Promise<Tree> {
    const key = Buffer.from(batch.head).toString("base64");
    return this.#trees.get(key, () => this.#makeTree(batch));
  }

  async #makeTree({ firstSeq, seal }: StoredBatch): Promise<Tree> {
    const leaves = await leavesOfRange(this.database, firstSeq, firstSeq + Number(seal.size));
    return { leaves, levels: treeLevels(leaves.map(({ leaf }) => leaf)) };
  }
}
