import { hash } from "node:crypto";
import { sha256 } from "./bytes.js";

/** The Merkle tree of RFC 9162, section 2.1, with SHA-256. All hashes are 32 bytes. */

const LEAF_PREFIX = Uint8Array.of(0x00);

/** The hash of a leaf with these contents. */
export function leafHash(...contents: readonly Uint8Array[]): Buffer {
  return sha256(LEAF_PREFIX, ...contents);
}

/** An inner node before it is hashed: written over and over, since trees hash millions of them. */
const node = Buffer.alloc(65, 0x01);

/** The hash of an inner node. Requires two hashes of 32 bytes. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  node.set(left, 1);
  node.set(right, 33);
  return hash("sha256", node, "buffer");
}

/** The levels of the tree from the leaves up; the last has the root alone. Requires a leaf. */
export function treeLevels(leaves: readonly Uint8Array[]): readonly (readonly Uint8Array[])[] {
  const levels = [leaves];
  for (let level = leaves; level.length > 1; levels.push(level)) level = parents(level);
  return levels;
}

/** Hashes pairs; a last one without a partner moves up as it is, which gives RFC 9162's shape. */
function parents(level: readonly Uint8Array[]): Uint8Array[] {
  const above: Uint8Array[] = [];
  for (let i = 0; i + 1 < level.length; i += 2) {
    above.push(nodeHash(level[i] as Uint8Array, level[i + 1] as Uint8Array));
  }
  if (level.length % 2 === 1) above.push(level[level.length - 1] as Uint8Array);
  return above;
}

/** The root over the leaf hashes. Requires at least one. */
export function merkleRoot(leaves: readonly Uint8Array[]): Uint8Array {
  return treeLevels(leaves).at(-1)?.[0] as Uint8Array;
}

/** The sibling hashes from a leaf up to the root. Requires 0 ≤ index < number of leaves. */
export function inclusionPath(
  levels: readonly (readonly Uint8Array[])[],
  index: number,
): Uint8Array[] {
  return levels.slice(0, -1).flatMap((level, height) => {
    const sibling = level[(index >> height) ^ 1];
    return sibling === undefined ? [] : [sibling];
  });
}

/**
 * The root that a leaf and its path lead to (RFC 9162, section 2.1.3.2), or undefined where the path
 * has not the length that the position asks for. Requires 0 ≤ index < size.
 */
export function rootFromPath(
  leaf: Uint8Array,
  index: bigint,
  size: bigint,
  path: readonly Uint8Array[],
): Uint8Array | undefined {
  let position = index;
  let last = size - 1n;
  let hashed = leaf;
  for (const sibling of path) {
    if (last === 0n) return undefined;
    if (position % 2n === 1n || position === last) {
      hashed = nodeHash(sibling, hashed);
      while (position % 2n === 0n && position !== 0n) {
        position /= 2n;
        last /= 2n;
      }
    } else {
      hashed = nodeHash(hashed, sibling);
    }
    position /= 2n;
    last /= 2n;
  }
  return last === 0n ? hashed : undefined;
}
