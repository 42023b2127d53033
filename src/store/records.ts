import { sql } from "kysely";
import type { ExpressionBuilder, Kysely, Selectable } from "kysely";
import type { Unplaced } from "../core/batch.js";
import { hex } from "../core/bytes.js";
import type { TrailLeaf } from "../core/trail.js";
import type { StoredRecord } from "./append.js";
import type { Database } from "./database.js";
import { text } from "./tables.js";
import type { RecordsTable, Tables } from "./tables.js";

/** A stored record with its place in its trail, once it is in a batch. */
export interface PlacedRecord extends StoredRecord {
  readonly trailIndex: number | undefined;
  readonly leaf: Uint8Array | undefined;
}

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

/** The entries of records, by their ids in hex. */
export async function entriesById(
  database: Database,
  ids: readonly Uint8Array[],
): Promise<Map<string, Uint8Array>> {
  if (ids.length === 0) return new Map();
  const rows = await database.read((db) =>
    db.selectFrom("records").select(["id", "entry"]).where("id", "in", ids).execute(),
  );
  return new Map(rows.map(({ id, entry }) => [hex(id), entry]));
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

/** Records from a position on, in log order, each with the one before it in its trail. */
export async function linkedRecords(
  database: Database,
  fromSeq: number,
  limit: number,
): Promise<Unplaced[]> {
  const rows = await database.read((db) =>
    db
      .with("page", (cte) =>
        cte
          .selectFrom("records")
          .select(["seq", "id", "subject"])
          .where("seq", ">=", fromSeq)
          .orderBy("seq")
          .limit(limit),
      )
      // Only a subject's first record of the page is looked up: to look up each one takes time in the
      // square of a trail's length where the database finds no more than the subject by its index.
      .with("linked", (cte) =>
        cte.selectFrom("page").select((eb) => [
          "seq",
          "id",
          "subject",
          eb.fn
            .agg<number | null>("lag", ["seq"])
            .over((over) => over.partitionBy("subject").orderBy("seq"))
            .as("inside"),
        ]),
      )
      .with("placed", (cte) =>
        cte
          .selectFrom("linked")
          .select((eb) => [
            "seq",
            "id",
            eb.fn
              .coalesce(
                "inside",
                eb
                  .selectFrom("records as q")
                  .select("q.seq")
                  .whereRef("q.subject", "=", "linked.subject")
                  .where("q.seq", "<", fromSeq)
                  .orderBy("q.seq", "desc")
                  .limit(1),
              )
              .as("previous"),
          ]),
      )
      .selectFrom("placed")
      .leftJoin("leaves", "leaves.seq", "placed.previous")
      .select(["placed.seq", "id", "previous", "trail_index", "leaf"])
      .orderBy("placed.seq")
      .execute(),
  );
  return rows.map(({ seq, id, previous, trail_index, leaf }) => ({
    seq: Number(seq),
    id,
    previousSeq: previous === null ? undefined : Number(previous),
    previous: leaf === null ? undefined : { index: Number(trail_index), leaf },
  }));
}

/** The last leaf of each subject's trail below a position, with the record's place in the log. */
export async function trailEnds(
  database: Database,
  subjects: readonly string[],
  belowSeq: number,
): Promise<Map<string, { readonly seq: number; readonly previous: TrailLeaf }>> {
  const ends = new Map<string, { readonly seq: number; readonly previous: TrailLeaf }>();
  for (let at = 0; at < subjects.length; at += 500) {
    const rows = await database.read((db) =>
      db
        .with("ends", (cte) =>
          cte
            .selectFrom("records")
            .select((eb) => ["subject", eb.fn.max("seq").as("seq")])
            .where("subject", "in", subjects.slice(at, at + 500))
            .where("seq", "<", belowSeq)
            .groupBy("subject"),
        )
        .selectFrom("ends")
        .innerJoin("leaves", "leaves.seq", "ends.seq")
        .select(["subject", "ends.seq", "trail_index", "leaf"])
        .execute(),
    );
    for (const { subject, seq, trail_index, leaf } of rows) {
      ends.set(text(subject), { seq: Number(seq), previous: { index: Number(trail_index), leaf } });
    }
  }
  return ends;
}

/** The entries of a range of positions, in log order. */
export async function entriesOf(
  database: Database,
  fromSeq: number,
  toSeq: number,
): Promise<Uint8Array[]> {
  const rows = await database.read((db) =>
    db
      .selectFrom("records")
      .select("entry")
      .where("seq", ">=", fromSeq)
      .where("seq", "<", toSeq)
      .orderBy("seq")
      .execute(),
  );
  return rows.map(({ entry }) => entry);
}

/** A record with every column of its row that derives from its entry, for comparison. */
export interface RecordRow extends PlacedRecord {
  readonly subject: string;
  readonly type: string;
  readonly actor: string;
  readonly occurTime: number;
}

/** Every stored column of the records of a range, in log order. */
export async function recordRows(
  database: Database,
  fromSeq: number,
  toSeq: number,
): Promise<RecordRow[]> {
  const rows = await database.read((db) =>
    placedRecords(db)
      .select(["subject", "type", "actor", "occur_time"])
      .where("records.seq", ">=", fromSeq)
      .where("records.seq", "<", toSeq)
      .orderBy("records.seq")
      .execute(),
  );
  return rows.map(recordRow);
}

/** The first records of a range, in log order: no more once their entries have so many bytes. */
export async function recordPage(
  database: Database,
  fromSeq: number,
  toSeq: number,
  mostBytes: number,
): Promise<RecordRow[]> {
  const rows = await database.read((db) =>
    db
      .with("sizes", (cte) =>
        cte
          .selectFrom("records")
          .select([
            "seq",
            sql<number>`sum(length(entry)) over (order by seq) - length(entry)`.as("before"),
          ])
          .where("seq", ">=", fromSeq)
          .where("seq", "<", toSeq),
      )
      .selectFrom("sizes")
      .innerJoin("records", "records.seq", "sizes.seq")
      .leftJoin("leaves", "leaves.seq", "records.seq")
      .select(["records.seq", "id", "entry", "trail_index", "leaf"])
      .select(["subject", "type", "actor", "occur_time"])
      .where("before", "<", mostBytes)
      .orderBy("records.seq")
      .execute(),
  );
  return rows.map(recordRow);
}

function recordRow(
  row: Parameters<typeof placed>[0] &
    Pick<Selectable<RecordsTable>, "subject" | "type" | "actor" | "occur_time">,
): RecordRow {
  return {
    ...placed(row),
    subject: text(row.subject),
    type: text(row.type),
    actor: text(row.actor),
    occurTime: Number(row.occur_time),
  };
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
export function matches({ subject, type, actor, startTime, endTime, fromSeq, toSeq }: RecordQuery) {
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
