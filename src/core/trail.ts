import { hash } from "node:crypto";

/** Where a record stands in its trail, and the leaf that says so. */
export interface TrailLeaf {
  /** Position in the trail, from 0. */
  readonly index: number;
  /** `leafHash(entry_hash ‖ index ‖ leaf before it)`. */
  readonly leaf: Uint8Array;
}

/** A leaf before it is hashed, from its prefix 0x00 on: written over and over, as there are millions. */
const contents = Buffer.alloc(1 + 32 + 8 + 32);

/**
 * The leaf of a record: SHA-256(0x00 ‖ entry hash ‖ index u64 ‖ leaf before it), the leaf hash of RFC
 * 9162. It commits to the entry, to its place, and to the whole trail before it. Requires two hashes of
 * 32 bytes, and 0 ≤ index < 2⁶⁴.
 */
export function trailLeaf(
  entryHash: Uint8Array,
  index: number | bigint,
  previousLeaf: Uint8Array,
): Buffer {
  contents.set(entryHash, 1);
  contents.writeBigUInt64BE(BigInt(index), 33);
  contents.set(previousLeaf, 41);
  return hash("sha256", contents, "buffer");
}
