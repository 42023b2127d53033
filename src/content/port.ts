/**
 * What we need of a content store. It keeps blocks, each addressed by its SHA-256: a raw IPFS block, whose
 * CID is version 1, raw, sha2-256. Blocks are encrypted before they come here, so an implementation MAY
 * hand them to anyone. It MUST NOT forget a block that it has taken, and MUST NOT give out bytes that do
 * not have the hash that was asked for, whatever a disk or a peer says. Calls may run side by side.
 */
export interface ContentStore {
  /**
   * Keeps a block. Resolves once it is durable on the local disk; a block that is there already is left
   * as it is, and one that is there damaged is repaired. Rejects with STORAGE_FULL when the disk is full,
   * else with an Error that names the folder.
   */
  put(block: Uint8Array): Promise<void>;
  /**
   * The block with a SHA-256: from the local disk, else from peers, and is then kept here as well. One
   * that is damaged on the local disk counts as missing, and is repaired when a peer has it. Undefined
   * where nobody has it within a bounded time; rejects with the signal's reason when that aborts, and
   * with an Error that names the folder when that cannot be read.
   */
  get(digest: Uint8Array, signal?: AbortSignal): Promise<Uint8Array | undefined>;
  /** Whether the local disk has the block, without reading it: a damaged one may count. */
  has(digest: Uint8Array): Promise<boolean>;
  /** The multiaddrs at which peers can fetch blocks, each with the peer id; none before it listens. */
  addresses(): string[];
  /** Hangs up on all peers and lets go of its ports. Fetches under way resolve to undefined. */
  stop(): Promise<void>;
}
