import { u64 } from "./bytes.js";
import { leafHash } from "./merkle.js";

/** Where a record stands in its trail, and the leaf that says so. */
export interface TrailLeaf {
  /** Position in the trail, from 0. */
  readonly index: number;
  /** `leafHash(entry_hash ‖ index ‖ leaf before it)`. */
  readonly leaf: Uint8Array;
}

/** The leaf of a record: it commits to the entry, to its place, and to the whole trail before it. */
export function trailLeaf(
  entryHash: Uint8Array,
  index: number | bigint,
  previousLeaf: Uint8Array,
): Buffer {
  return leafHash(entryHash, u64(index), previousLeaf);
}
