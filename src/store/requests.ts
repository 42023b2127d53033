import type { Kysely } from "kysely";
import type { Database } from "./database.js";
import { text } from "./tables.js";
import type { Tables } from "./tables.js";

/** An idempotency key with the record that it belongs to. */
export interface RequestRow {
  readonly caller: string;
  readonly id: string;
  readonly hash: Uint8Array;
  readonly seq: number;
}

/** The rows of one caller's request ids, those there are. */
export async function requestsOfCaller(
  database: Database,
  caller: string,
  ids: readonly string[],
): Promise<RequestRow[]> {
  const rows = await database.read((db) =>
    requests(db).where("caller", "=", caller).where("request_id", "in", ids).execute(),
  );
  return rows.map(request);
}

/** The rows that point to these positions. No index helps: only for what should not be. */
export async function requestsOfSeqs(
  database: Database,
  seqs: readonly number[],
): Promise<RequestRow[]> {
  const rows = await database.read((db) => requests(db).where("seq", "in", seqs).execute());
  return rows.map(request);
}

/** How many rows point to positions below an end of the log. */
export async function countRequests(database: Database, length: number): Promise<number> {
  const { count } = await database.read((db) =>
    db
      .selectFrom("requests")
      .select((eb) => eb.fn.countAll<number>().as("count"))
      .where("seq", "<", length)
      .executeTakeFirstOrThrow(),
  );
  return Number(count);
}

/** Some of the rows that point behind the end of the log. */
export async function requestsBehindEnd(database: Database, limit: number): Promise<RequestRow[]> {
  const rows = await database.read((db) =>
    requests(db)
      .where("seq", ">=", (eb) => eb.selectFrom("tail").select("length"))
      .limit(limit)
      .execute(),
  );
  return rows.map(request);
}

function requests(db: Kysely<Tables>) {
  return db.selectFrom("requests").selectAll();
}

type Row = Awaited<ReturnType<ReturnType<typeof requests>["execute"]>>[number];

function request({ caller, request_id, hash, seq }: Row): RequestRow {
  return { caller: text(caller), id: text(request_id), hash, seq: Number(seq) };
}
