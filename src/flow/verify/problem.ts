import { create } from "@bufbuild/protobuf";
import { LogProblemSchema } from "../../../gen/ts/anchord/v1/problem_pb.js";
import type { LogProblem } from "../../../gen/ts/anchord/v1/problem_pb.js";
import { hex } from "../../core/bytes.js";
import type { RecordRow } from "../../store/records.js";

/** Something in the database that does not hold. */
export interface Problem {
  /** Number of the batch; 0 where it belongs to none. */
  readonly batch: number;
  readonly seq: number | undefined;
  readonly recordId: string;
  /** The table and column that does not hold. */
  readonly column: string;
  readonly message: string;
}

/** Columns of a record that are not what they must be. */
export function differences(
  row: RecordRow,
  batch: number,
  pairs: readonly (readonly [column: string, actual: unknown, wanted: unknown])[],
): Problem[] {
  return pairs
    .filter(([, actual, wanted]) => actual !== wanted)
    .map(([column, actual, wanted]) =>
      recordProblem(row, batch, column, `is ${show(actual)}, must be ${show(wanted)}`),
    );
}

/** Positions of a range that have no record. */
export function missing(
  rows: readonly RecordRow[],
  from: number,
  to: number,
  batch: number,
): Problem[] {
  const present = new Set(rows.map(({ seq }) => seq));
  const problems: Problem[] = [];
  for (let seq = from; seq < to; seq++) {
    if (present.has(seq)) continue;
    const message = `the record at position ${seq} is missing`;
    problems.push({ batch, seq, recordId: "", column: "records.seq", message });
  }
  return problems;
}

/** A value that differs from what the chain says, or calls for. */
export function compare(
  batch: number,
  column: string,
  actual: Comparable,
  expected: Comparable,
): Problem[] {
  const [a, b] = [textOf(actual), textOf(expected)];
  return a === b ? [] : [differs(batch, column, a, b)];
}

type Comparable = Uint8Array | bigint | string;

function textOf(value: Comparable): string {
  return value instanceof Uint8Array ? hex(value) : String(value);
}

function differs(batch: number, column: string, actual: string, expected: string): Problem {
  return problem(batch, column, `is ${actual}, must be ${expected}`);
}

/** A problem that is no single record's. */
export function problem(batch: number, column: string, message: string): Problem {
  return { batch, seq: undefined, recordId: "", column, message };
}

/** A problem of one record. */
export function recordProblem(
  row: RecordRow,
  batch: number,
  column: string,
  message: string,
): Problem {
  return { batch, seq: row.seq, recordId: hex(row.id), column, message };
}

/** A value for people. */
export function show(value: unknown): string {
  return value === undefined ? "missing" : JSON.stringify(value);
}

/** A problem as callers and subscribers are told of it. */
export function problemMessage({ batch, seq, recordId, column, message }: Problem): LogProblem {
  return create(LogProblemSchema, {
    batchNumber: BigInt(batch),
    ...(seq === undefined ? {} : { sequence: BigInt(seq) }),
    recordId,
    column,
    message,
  });
}
