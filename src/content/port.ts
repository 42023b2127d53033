import type { CID } from "multiformats/cid";

/** What a content store itself has of a block: its bytes, nothing, or other bytes. */
export type Condition = "intact" | "missing" | "altered";

/** The blocks of a staged file. */
export interface StagedBlocks {
  /** The CID of the file. */
  readonly root: CID;
  /** The folder with each block in a file named by its SHA-256. Whoever keeps them may move them away. */
  readonly folder: string;
  /** The blocks in depth-first order, each as often as the file has it. */
  walk(): AsyncIterable<{ readonly cid: CID; readonly bytes: Uint8Array }>;
}

/**
 * What we need of a content store. It keeps blocks, each addressed by its SHA-256: IPFS blocks, whose CIDs
 * are sha2-256, raw or dag-pb. What is secret is encrypted before it comes here, so an implementation MAY
 * hand blocks to anyone. It MUST NOT forget a block that it has taken, and MUST NOT give out bytes that do
 * not have the hash that was asked for, whatever a disk or a peer says. Calls may run side by side. All
 * but `addresses` and `stop` reject with CONTENT_UNAVAILABLE where the store is elsewhere and does not answer.
 */
export interface ContentStore {
  /**
   * Keeps a block. Resolves once it is durable; a block that is there already is left as it is, and one
   * that is there damaged is repaired. Rejects with STORAGE_FULL when the disk is full, else with an Error
   * that names the folder.
   */
  put(block: Uint8Array): Promise<void>;
  /**
   * Takes over the blocks of a staged file, like `put` for each of them. Safe to repeat, also when it was
   * cut short; the folder itself is left to the caller.
   */
  keep(blocks: StagedBlocks): Promise<void>;
  /**
   * The block with a SHA-256: what the store has, else from peers, and is then kept as well. One that is
   * damaged counts as missing, and is repaired when a peer has it. Undefined where nobody has it within a
   * bounded time; rejects with the signal's reason when that aborts, and with an Error that names the
   * folder when that cannot be read.
   */
  get(digest: Uint8Array, signal?: AbortSignal): Promise<Uint8Array | undefined>;
  /** What the store itself has of a block: it is read and hashed, and no peer is asked. */
  check(digest: Uint8Array): Promise<Condition>;
  /** The multiaddrs at which peers can fetch blocks, each with the peer id; none before it listens. */
  addresses(): string[];
  /** Hangs up on all peers and lets go of its ports. Fetches under way resolve to undefined. */
  stop(): Promise<void>;
}
