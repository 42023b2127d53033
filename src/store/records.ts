import type { ExpressionBuilder, Kysely, Transaction } from "kysely";
import { AnchordError } from "../core/errors.js";
import type { Unplaced } from "../core/batch.js";
import { hex, sameBytes } from "../core/bytes.js";
import type { EncodedRecord } from "../core/record.js";
import { insertRows } from "./database.js";
import type { Database } from "./database.js";
import { text } from "./tables.js";
import type { Tables } from "./tables.js";

/** A record as it is stored: its place in the log and its entry. */
export interface StoredRecord {
  /** Position in the log, from 0. */
  readonly seq: number;
  readonly id: Uint8Array;
  readonly entry: Uint8Array;
}

/** A stored record with its place in its trail, once it is in a batch. */
export interface PlacedRecord extends StoredRecord {
  readonly trailIndex: number | undefined;
  readonly leaf: Uint8Array | undefined;
}

/** The record that a draft has become; `replayed` if an earlier call had made it. */
export interface Appended extends StoredRecord {
  readonly replayed: boolean;
}

/** Records that enter the log together or not at all. */
export interface Unit {
  readonly records: readonly EncodedRecord[];
  /** The stream that the unit came on: once a unit of it has failed, none behind it is recorded. */
  readonly line?: { broken: boolean } | undefined;
}

/** What became of one unit of records: all are in the log, or none is. */
export type UnitResult = readonly Appended[] | AnchordError;

/** Which records; what is undefined does not restrict. Sequences are half-open ranges. */
export interface RecordQuery {
  readonly subject?: string | undefined;
  readonly type?: string | undefined;
  readonly actor?: string | undefined;
  /** Microseconds since 1970. */
  readonly startTime?: number | undefined;
  readonly endTime?: number | undefined;
  readonly fromSeq?: number | undefined;
  readonly toSeq?: number | undefined;
}

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
  const fresh: EncodedRecord[] = [];
  const results = units.map(({ records, line }): UnitResult => {
    if (line?.broken === true) return lineBroken();
    const placed = placeUnit(records, known, first + fresh.length);
    if (placed instanceof AnchordError) {
      if (line !== undefined) line.broken = true;
      return placed;
    }
    fresh.push(...records.filter((_, i) => placed[i]?.replayed === false));
    return placed;
  });
  await writeFresh(trx, fresh, first);
  if (fresh.length < all.length) await setTail(trx, first + fresh.length);
  return results;
}

function lineBroken(): AnchordError {
  return new AnchordError("INTERNAL", "not recorded: a message before it on the stream failed");
}

/** Takes the lock that orders all writers, and room for so many records. Returns the first position. */
async function lockTail(trx: Transaction<Tables>, count: number): Promise<number> {
  await trx
    .updateTable("tail")
    .set((eb) => ({ length: eb("length", "+", count) }))
    .where("id", "=", 1)
    .execute();
  const { length } = await trx.selectFrom("tail").select("length").executeTakeFirstOrThrow();
  return Number(length) - count;
}

async function setTail(trx: Transaction<Tables>, length: number): Promise<void> {
  await trx.updateTable("tail").set({ length }).where("id", "=", 1).execute();
}

/** A request id that is taken, and by which record. */
interface KnownRequest extends StoredRecord {
  readonly hash: Uint8Array;
}

/** The requests among these that are in the database already, by key. */
async function knownRequests(
  trx: Transaction<Tables>,
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
      const rows = await trx
        .selectFrom("requests")
        .innerJoin("records", "records.seq", "requests.seq")
        .select(["request_id", "hash", "records.seq", "id", "entry"])
        .where("caller", "=", caller)
        .where("request_id", "in", ids.slice(at, at + 1000))
        .execute();
      for (const row of rows) known.set(requestKey(caller, text(row.request_id)), row);
    }
  }
  return known;
}

function requestKey(caller: string, id: string): string {
  return `${caller}\n${id}`;
}

/** Gives a unit's records their places, and notes their requests for the units behind. */
function placeUnit(
  unit: readonly EncodedRecord[],
  known: Map<string, KnownRequest>,
  first: number,
): Appended[] | AnchordError {
  const noted: [string, KnownRequest][] = [];
  const mine = new Map<string, KnownRequest>();
  const placed: Appended[] = [];
  let seq = first;
  for (const [index, { id, entry, caller, request }] of unit.entries()) {
    if (request !== undefined) {
      const key = requestKey(caller, request.id);
      const earlier = known.get(key) ?? mine.get(key);
      if (earlier !== undefined) {
        if (!sameBytes(earlier.hash, request.hash)) return reused(request.id, earlier, index);
        placed.push({ seq: Number(earlier.seq), id: earlier.id, entry: earlier.entry, replayed: true });
        continue;
      }
      const entryOf = { seq, id, entry, hash: request.hash };
      mine.set(key, entryOf);
      noted.push([key, entryOf]);
    }
    placed.push({ seq, id, entry, replayed: false });
    seq += 1;
  }
  for (const [key, request] of noted) known.set(key, request);
  return placed;
}

function reused(requestId: string, { id }: KnownRequest, index: number): AnchordError {
  return new AnchordError(
    "REQUEST_ID_REUSED",
    `request_id "${requestId}" was used for another body: use a new one for a new event`,
    { metadata: { record_id: hex(id), event_index: String(index) } },
  );
}

async function writeFresh(
  trx: Transaction<Tables>,
  fresh: readonly EncodedRecord[],
  first: number,
): Promise<void> {
  const records: unknown[][] = [];
  const requests: unknown[][] = [];
  for (const [i, { id, entry, caller, request, columns }] of fresh.entries()) {
    const seq = first + i;
    const { subject, type, actor, occurTime } = columns;
    records.push([seq, id, entry, subject, type, actor, occurTime]);
    if (request !== undefined) requests.push([caller, request.id, request.hash, seq]);
  }
  await insertRows(trx, "records", RECORD_COLUMNS, records);
  await insertRows(trx, "requests", REQUEST_COLUMNS, requests);
}

/** The leaf of the record before a position in a subject's trail. */
export async function previousLeaf(
  database: Database,
  subject: string,
  seq: number,
): Promise<Uint8Array | undefined> {
  const row = await database.read((db) =>
    db
      .selectFrom("records")
      .innerJoin("leaves", "leaves.seq", "records.seq")
      .select("leaf")
      .where("subject", "=", subject)
      .where("records.seq", "<", seq)
      .orderBy("records.seq", "desc")
      .limit(1)
      .executeTakeFirst(),
  );
  return row?.leaf;
}

/** How many records the log has. */
export async function logLength(database: Database): Promise<number> {
  const { length } = await database.read((db) =>
    db.selectFrom("tail").select("length").executeTakeFirstOrThrow(),
  );
  return Number(length);
}

/** One record by its id. */
export async function findRecord(
  database: Database,
  id: Uint8Array,
): Promise<PlacedRecord | undefined> {
  const [row] = await database.read((db) => placedRecords(db).where("id", "=", id).execute());
  return row && placed(row);
}

/** Records in log order, or the reverse of it. */
export async function listRecords(
  database: Database,
  query: RecordQuery,
  options: { readonly newestFirst: boolean; readonly limit: number },
): Promise<PlacedRecord[]> {
  const rows = await database.read((db) =>
    placedRecords(db)
      .where(matches(query))
      .orderBy("records.seq", options.newestFirst ? "desc" : "asc")
      .limit(options.limit)
      .execute(),
  );
  return rows.map(placed);
}

/** How many records match. */
export async function countRecords(database: Database, query: RecordQuery): Promise<number> {
  const { count } = await database.read((db) =>
    db
      .selectFrom("records")
      .select((eb) => eb.fn.countAll<number>().as("count"))
      .where(matches(query))
      .executeTakeFirstOrThrow(),
  );
  return Number(count);
}

/** How many records each type has, the most frequent first. */
export async function countByType(
  database: Database,
): Promise<{ readonly type: string; readonly count: number }[]> {
  const rows = await database.read((db) =>
    db
      .selectFrom("records")
      .select((eb) => ["type", eb.fn.countAll<number>().as("count")])
      .groupBy("type")
      .orderBy("count", "desc")
      .orderBy("type")
      .execute(),
  );
  return rows.map(({ type, count }) => ({ type: text(type), count: Number(count) }));
}


/** The records of a range that is about to be sealed, in log order. */
export async function pendingRecords(
  database: Database,
  fromSeq: number,
  limit: number,
): Promise<Unplaced[]> {
  const rows = await database.read((db) =>
    db
      .selectFrom("records as r")
      .select((eb) => [
        "r.seq",
        "r.id",
        eb
          .selectFrom("records as q")
          .select("q.seq")
          .whereRef("q.subject", "=", "r.subject")
          .whereRef("q.seq", "<", "r.seq")
          .orderBy("q.seq", "desc")
          .limit(1)
          .as("previous"),
      ])
      .where("r.seq", ">=", fromSeq)
      .orderBy("r.seq")
      .limit(limit)
      .execute(),
  );
  return rows.map(({ seq, id, previous }) => ({
    seq: Number(seq),
    id,
    previousSeq: previous === null ? undefined : Number(previous),
  }));
}

/** A record with every column that derives from its entry, for comparison. */
export interface RecordRow extends PlacedRecord {
  readonly subject: string;
  readonly type: string;
  readonly actor: string;
  readonly occurTime: number;
  /** The idempotency row that points to it. */
  readonly request: { readonly caller: string; readonly id: string; readonly hash: Uint8Array } | undefined;
}

/** Every stored column of the records of a range, in log order. */
export async function recordRows(
  database: Database,
  fromSeq: number,
  toSeq: number,
): Promise<RecordRow[]> {
  const rows = await database.read((db) =>
    placedRecords(db)
      .leftJoin("requests", "requests.seq", "records.seq")
      .select(["subject", "type", "actor", "occur_time", "caller", "request_id", "requests.hash"])
      .where("records.seq", ">=", fromSeq)
      .where("records.seq", "<", toSeq)
      .orderBy("records.seq")
      .execute(),
  );
  return rows.map((row) => ({
    ...placed(row),
    subject: text(row.subject),
    type: text(row.type),
    actor: text(row.actor),
    occurTime: Number(row.occur_time),
    request:
      row.hash === null
        ? undefined
        : { caller: text(row.caller ?? ""), id: text(row.request_id ?? ""), hash: row.hash },
  }));
}

function placedRecords(db: Kysely<Tables>) {
  return db
    .selectFrom("records")
    .leftJoin("leaves", "leaves.seq", "records.seq")
    .select(["records.seq", "id", "entry", "trail_index", "leaf"]);
}

function placed(row: {
  seq: number;
  id: Uint8Array;
  entry: Uint8Array;
  trail_index: number | null;
  leaf: Uint8Array | null;
}): PlacedRecord {
  return {
    seq: Number(row.seq),
    id: row.id,
    entry: row.entry,
    trailIndex: row.trail_index === null ? undefined : Number(row.trail_index),
    leaf: row.leaf ?? undefined,
  };
}

/** The condition that a query stands for. */
function matches({ subject, type, actor, startTime, endTime, fromSeq, toSeq }: RecordQuery) {
  return (eb: ExpressionBuilder<Tables, "records">) =>
    eb.and([
      ...(subject === undefined ? [] : [eb("subject", "=", subject)]),
      ...(type === undefined ? [] : [eb("type", "=", type)]),
      ...(actor === undefined ? [] : [eb("actor", "=", actor)]),
      ...(startTime === undefined ? [] : [eb("occur_time", ">=", startTime)]),
      ...(endTime === undefined ? [] : [eb("occur_time", "<", endTime)]),
      ...(fromSeq === undefined ? [] : [eb("records.seq", ">=", fromSeq)]),
      ...(toSeq === undefined ? [] : [eb("records.seq", "<", toSeq)]),
    ]);
}
