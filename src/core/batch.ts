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
  /** The leaf of that record, where it has one already. */
  readonly previous: TrailLeaf | undefined;
}

/** The leaves of consecutive records. Requires the leaf of every record before the first of these. */
export function placeRecords(records: readonly Unplaced[]): TrailLeaf[] {
  const first = records[0]?.seq ?? 0;
  const leaves: TrailLeaf[] = [];
  for (const { id, previousSeq, previous } of records) {
    const before =
      previousSeq === undefined ? undefined : (previous ?? leaves[previousSeq - first]);
    if (previousSeq !== undefined && before === undefined) {
      throw new Error(`the leaf of record ${previousSeq} is missing from the database: restore it`);
    }
    leaves.push(nextLeaf(id, before));
  }
  return leaves;
}

/** The leaf of a record after another of its trail, or of the first. */
export function nextLeaf(id: Uint8Array, previous: TrailLeaf | undefined): TrailLeaf {
  const index = previous === undefined ? 0 : previous.index + 1;
  return { index, leaf: trailLeaf(id, index, previous?.leaf ?? ZERO32) };
}
