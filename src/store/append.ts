import type { Kysely, Transaction } from "kysely";
import { sameBytes } from "../core/bytes.js";
import { databaseAltered } from "../core/errors.js";
import type { EncodedRecord } from "../core/record.js";
import { insertRows } from "./insert.js";
import { text } from "./tables.js";
import type { Tables } from "./tables.js";

/** A record as it is stored: its place in the log and its entry. */
export interface StoredRecord {
  /** Position in the log, from 0. */
  readonly seq: number;
  readonly id: Uint8Array;
  readonly entry: Uint8Array;
}

/** Records that enter the log together or not at all. */
export interface Unit {
  readonly records: readonly EncodedRecord[];
  /** The stream that the unit came on: once a unit of it has failed, none behind it is recorded. */
  readonly line?: number | undefined;
}

/** The record that a draft has become. */
export interface Appended {
  readonly seq: number;
  /** The record that an earlier call had made of the same request; a new one is as it was handed in. */
  readonly replayed: { readonly id: Uint8Array; readonly entry: Uint8Array } | undefined;
}

/** A request id of the unit that an earlier record has with another body. */
export interface Reused {
  /** Position of the record in its unit. */
  readonly index: number;
  readonly requestId: string;
  /** The record that has the request id. */
  readonly takenBy: Uint8Array;
}

/** What became of a unit: in the log, refused for a request id, or skipped behind a failed one. */
export type UnitResult =
  { readonly appended: readonly Appended[] } | { readonly reused: Reused } | "skipped";

const RECORD_COLUMNS = ["seq", "id", "entry", "subject", "type", "actor", "occur_time"] as const;
const REQUEST_COLUMNS = ["caller", "request_id", "hash", "seq"] as const;

/**
 * Appends units of records at the end of the log. A record whose request was seen before is not
 * written again; a unit that reuses a request id for another body fails alone and whole.
 */
export async function appendUnits(
  trx: Transaction<Tables>,
  units: readonly Unit[],
): Promise<UnitResult[]> {
  const all = units.flatMap(({ records }) => records);
  const first = await lockTail(trx, all.length);
  const known = await knownRequests(trx, all);
  const broken = new Set<number>();
  const fresh: EncodedRecord[] = [];
  const results = units.map(({ records, line }): UnitResult => {
    if (line !== undefined && broken.has(line)) return "skipped";
    const result = placeUnit(records, known, first + fresh.length);
    if ("reused" in result) {
      if (line !== undefined) broken.add(line);
      return result;
    }
    fresh.push(...records.filter((_, i) => result.appended[i]?.replayed === undefined));
    return result;
  });
  await writeFresh(trx, fresh, first);
  if (fresh.length < all.length) await setTail(trx, first + fresh.length);
  return results;
}

/**
 * Takes the lock that orders all writers, and room for so many records. Returns the first position. Throws
 * DATABASE_ALTERED where there is nothing to lock, or no room.
 */
export async function lockTail(trx: Transaction<Tables>, count: number): Promise<number> {
  await trx
    .updateTable("tail")
    .set((eb) => ({ length: eb("length", "+", count) }))
    .where("id", "=", 1)
    .execute();
  const row = await trx
    .selectFrom("tail")
    .select((eb) => [
      "length",
      eb
        .selectFrom("records")
        .select((records) => records.fn.max<number | null>("seq").as("seq"))
        .as("last"),
    ])
    .where("id", "=", 1)
    .executeTakeFirst();
  if (row === undefined) throw databaseAltered("the row of `tail` with the id 1 is missing");
  const first = Number(row.length) - count;
  if (count > 0 && !(Number.isSafeInteger(first + count) && first > Number(row.last ?? -1))) {
    throw databaseAltered(`tail.length is ${first}, not one more than the last record's seq`);
  }
  return first;
}

/** Says how many records there are. Requires the lock. */
export async function setTail(trx: Transaction<Tables>, length: number): Promise<void> {
  await trx.updateTable("tail").set({ length }).where("id", "=", 1).execute();
}

/** A request id that is taken, and by which record. */
interface KnownRequest extends StoredRecord {
  readonly hash: Uint8Array;
}

/** The requests among these that are in the database already, by key. */
export async function knownRequests(
  db: Kysely<Tables>,
  records: readonly EncodedRecord[],
): Promise<Map<string, KnownRequest>> {
  const byCaller = new Map<string, string[]>();
  for (const { caller, request } of records) {
    if (request === undefined) continue;
    const ids = byCaller.get(caller);
    if (ids === undefined) byCaller.set(caller, [request.id]);
    else ids.push(request.id);
  }
  const known = new Map<string, KnownRequest>();
  for (const [caller, ids] of byCaller) {
    for (let at = 0; at < ids.length; at += 1000) {
      const rows = await db
        .selectFrom("requests")
        .leftJoin("records", "records.seq", "requests.seq")
        .select(["request_id", "hash", "requests.seq", "id", "entry"])
        .where("caller", "=", caller)
        .where("request_id", "in", ids.slice(at, at + 1000))
        .execute();
      for (const { request_id, hash, seq, id, entry } of rows) {
        if (id === null || entry === null)
          throw databaseAltered(`request_id "${text(request_id)}" is of record ${seq}: missing`);
        known.set(requestKey(caller, text(request_id)), { hash, id, entry, seq: Number(seq) });
      }
    }
  }
  return known;
}

/** What a request id is known by. */
export function requestKey(caller: string, id: string): string {
  return `${caller}\n${id}`;
}

/** Gives a unit's records their places, and notes its requests for the units behind. */
function placeUnit(
  unit: readonly EncodedRecord[],
  known: Map<string, KnownRequest>,
  first: number,
): { readonly appended: Appended[] } | { readonly reused: Reused } {
  const mine = new Map<string, KnownRequest>();
  const appended: Appended[] = [];
  let seq = first;
  for (const [index, { id, entry, caller, request }] of unit.entries()) {
    const key = request && requestKey(caller, request.id);
    const earlier = key === undefined ? undefined : (known.get(key) ?? mine.get(key));
    if (earlier === undefined) {
      if (key !== undefined && request) mine.set(key, { seq, id, entry, hash: request.hash });
      appended.push({ seq, replayed: undefined });
      seq += 1;
    } else if (request && sameBytes(earlier.hash, request.hash)) {
      const { seq: place, id: theirId, entry: theirs } = earlier;
      appended.push({ seq: place, replayed: { id: theirId, entry: theirs } });
    } else {
      return { reused: { index, requestId: request?.id ?? "", takenBy: earlier.id } };
    }
  }
  for (const [key, request] of mine) known.set(key, request);
  return { appended };
}

/** Writes records and their request ids from a position on. Requires the lock. */
export async function writeFresh(
  trx: Transaction<Tables>,
  fresh: readonly EncodedRecord[],
  first: number,
): Promise<void> {
  const records: unknown[] = [];
  const requests: unknown[] = [];
  for (const [i, { id, entry, caller, request, columns }] of fresh.entries()) {
    const seq = first + i;
    const { subject, type, actor, occurTime } = columns;
    records.push(seq, id, entry, subject, type, actor, occurTime);
    if (request !== undefined) requests.push(caller, request.id, request.hash, seq);
  }
  await insertRows(trx, "records", RECORD_COLUMNS, records);
  await insertRows(trx, "requests", REQUEST_COLUMNS, requests);
}
