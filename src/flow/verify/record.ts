import { nextLeaf } from "../../core/batch.js";
import { hex, sameBytes, sha256, ZERO32 } from "../../core/bytes.js";
import { messageOf } from "../../core/errors.js";
import { columnsOf, decodeEntry } from "../../core/record.js";
import { trailLeaf } from "../../core/trail.js";
import type { TrailLeaf } from "../../core/trail.js";
import type { Entry } from "../../../gen/ts/anchord/v1/receipt_pb.js";
import type { RecordRow } from "../../store/records.js";
import { differences, recordProblem } from "./problem.js";
import type { Problem } from "./problem.js";

/** The record before another in its trail, and its leaf as it is stored. */
export interface Before {
  readonly seq: number | undefined;
  readonly leaf: TrailLeaf | undefined;
}

/** The leaves of a batch as its entries alone call for, from the leaves of the batches before. */
export class DerivedLeaves {
  readonly leaves: Uint8Array[] = [];
  readonly #ends = new Map<string, TrailLeaf>();

  add(row: RecordRow, before: Before | undefined, firstSeq: number): void {
    const entry = readEntry(row);
    const subject = typeof entry === "string" ? row.subject : entry.subject;
    const isOutside = before?.seq !== undefined && before.seq < firstSeq;
    const previous = this.#ends.get(subject) ?? (isOutside ? before.leaf : undefined);
    const next = nextLeaf(sha256(row.entry), previous);
    this.#ends.set(subject, next);
    this.leaves.push(next.leaf);
  }
}

/** A record's entry, or why it cannot be read. */
export function readEntry({ entry }: Pick<RecordRow, "entry">): Entry | string {
  try {
    return decodeEntry(entry);
  } catch (error) {
    return `cannot be read: ${messageOf(error)}`;
  }
}

/** Whether a sealed record's leaf follows from its entry and the record before it in its trail. */
export function leafProblems(
  row: RecordRow,
  batch: number,
  previous: TrailLeaf | undefined,
): Problem[] {
  const report = (column: string, message: string) => [recordProblem(row, batch, column, message)];
  if (row.leaf === undefined) return report("leaves.seq", "the record's leaf is missing");
  const entryHash = sha256(row.entry);
  const { index, leaf } = nextLeaf(entryHash, previous);
  if (sameBytes(leaf, row.leaf)) {
    return index === row.trailIndex
      ? []
      : report("leaves.trail_index", `is ${row.trailIndex}, must be ${index}`);
  }
  // The leaf fits the id, so it is the entry that was changed.
  if (sameBytes(trailLeaf(row.id, index, previous?.leaf ?? ZERO32), row.leaf)) {
    return report("records.entry", `hashes to ${hex(entryHash)}, sealed was ${hex(row.id)}`);
  }
  const entry = readEntry(row);
  if (typeof entry !== "string" && entry.subject !== row.subject) return []; // looked for in the wrong trail
  return report(
    "leaves.leaf",
    "does not follow from the entry and the record before it in its trail",
  );
}

/** Columns of the record's own row that do not follow from its entry. */
export function rowProblems(row: RecordRow, entry: Entry, batch: number): Problem[] {
  const expected = columnsOf(entry);
  return differences(row, batch, [
    ["records.id", hex(row.id), hex(sha256(row.entry))],
    ["records.subject", row.subject, expected.subject],
    ["records.type", row.type, expected.type],
    ["records.actor", row.actor, expected.actor],
    ["records.occur_time", row.occurTime, expected.occurTime],
  ]);
}
