import { ZERO32 } from "./bytes.js";
import type { TrailLeaf } from "./trail.js";
import { trailLeaf } from "./trail.js";

/** A record that is about to get its leaf. */
export interface Unplaced {
  readonly seq: number;
  /** The record's id, which is its entry's hash. */
  readonly id: Uint8Array;
  /** Position in the log of the record before it in its trail. */
  readonly previousSeq: number | undefined;
}

/**
 * The leaves of consecutive records. `earlier` has the leaves, by position in the log, of the records
 * before the first that these follow. Requires all of those to be there.
 */
export function placeRecords(
  records: readonly Unplaced[],
  earlier: ReadonlyMap<number, TrailLeaf>,
): TrailLeaf[] {
  const first = records[0]?.seq ?? 0;
  const leaves: TrailLeaf[] = [];
  for (const { id, previousSeq } of records) {
    leaves.push(nextLeaf(id, before(previousSeq)));
  }
  return leaves;

  function before(seq: number | undefined): TrailLeaf | undefined {
    if (seq === undefined) return undefined;
    const previous = seq >= first ? leaves[seq - first] : earlier.get(seq);
    if (previous === undefined) throw new Error(`the leaf of record ${seq} is missing`);
    return previous;
  }
}

/** The leaf of a record after another of its trail, or of the first. */
export function nextLeaf(id: Uint8Array, previous: TrailLeaf | undefined): TrailLeaf {
  const index = previous === undefined ? 0 : previous.index + 1;
  return { index, leaf: trailLeaf(id, index, previous?.leaf ?? ZERO32) };
}
