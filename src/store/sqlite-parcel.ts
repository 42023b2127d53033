import type { EncodedRecord } from "../core/record.js";
import type { Unit } from "./append.js";

/**
 * Units on their way to the worker: the bytes of all records in one buffer, the rest in flat rows. To
 * clone thousands of small buffers takes several times as long, on both sides.
 */
export interface Parcel {
  readonly lines: readonly (number | undefined)[];
  /** How many records each unit has. */
  readonly counts: readonly number[];
  readonly rows: readonly ParcelRow[];
  /** Id and entry of each record, one after the other. */
  readonly bytes: Uint8Array;
}

type ParcelRow = readonly [
  entryLength: number,
  caller: string,
  requestId: string | undefined,
  requestHash: Uint8Array | undefined,
  subject: string,
  type: string,
  actor: string,
  occurTime: number,
];

const ID_LENGTH = 32;

/** Packs units. */
export function packUnits(units: readonly Unit[]): Parcel {
  const records = units.flatMap((unit) => unit.records);
  return {
    lines: units.map(({ line }) => line),
    counts: units.map((unit) => unit.records.length),
    rows: records.map(({ entry, caller, request, columns }) => [
      entry.length,
      caller,
      request?.id,
      request?.hash,
      columns.subject,
      columns.type,
      columns.actor,
      columns.occurTime,
    ]),
    bytes: Buffer.concat(records.flatMap(({ id, entry }) => [id, entry])),
  };
}

/** The units as they were; ids and entries are views of the parcel's bytes. */
export function unpackUnits({ lines, counts, rows, bytes }: Parcel): Unit[] {
  let at = 0;
  const take = (length: number) => bytes.subarray(at, (at += length));
  const records = rows.map(
    ([length, caller, requestId, requestHash, subject, type, actor, occurTime]): EncodedRecord => ({
      id: take(ID_LENGTH),
      entry: take(length),
      caller,
      request:
        requestId === undefined || requestHash === undefined
          ? undefined
          : { id: requestId, hash: requestHash },
      columns: { subject, type, actor, occurTime },
    }),
  );
  let from = 0;
  return counts.map((count, i) => ({
    records: records.slice(from, (from += count)),
    line: lines[i],
  }));
}
