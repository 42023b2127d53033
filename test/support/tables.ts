import { join } from "node:path";
import { CompiledQuery } from "kysely";
import { createConnection } from "mysql2/promise";
import { openDatabase } from "../../src/store/database.js";
import type { Tables } from "../../src/store/tables.js";
import { sharedMysql } from "./mysql.js";

/** A row in a form that both databases share: bytes are hex, text is text, numbers are numbers. */
export type Row = Readonly<Record<string, string | number | null>>;

/** Every row of every table. */
export type Dump = Readonly<Record<keyof Tables, readonly Row[]>>;

/** Runs a statement; names of columns that need quotes stand in double ones. */
export type Sql = (statement: string, values?: readonly unknown[]) => Promise<Row[]>;

/** Every table, with what its rows are ordered by. */
const ORDER = {
  tail: "id",
  records: "seq",
  seal_request: "id",
  requests: "caller, request_id",
  leaves: "seq",
  batches: "number",
  operations: "id",
  blocks: "number",
  identity: "id",
  chain_position: "id",
  leases: "name",
  feed: "id",
  events: "number",
  subscriptions: "name",
  publications: "batch_number",
  audit: "id",
  evidence: "id",
  strange_anchors: "subject_key, digest",
  sla_events: "block_number, log_index",
  sla_changes: "id",
  slas: "id",
  escalations: "number",
  sla_policy: "id",
} as const satisfies Record<keyof Tables, string>;

/** The columns that hold text; MySQL gives their bytes. */
const TEXT_COLUMNS: ReadonlySet<string> = new Set([
  "subject",
  "type",
  "actor",
  "caller",
  "request_id",
  "chain_id",
  "state",
  "reason",
  "kind",
  "detail",
  "epoch",
  "name",
  "holder",
  "problem",
  "content",
  "cid",
  "ladder",
]);

/** Lends the database that a daemon's settings lead to. Requires that its schema was made. */
export async function withDatabase<T>(
  settings: Readonly<Record<string, string>>,
  work: (sql: Sql) => Promise<T>,
): Promise<T> {
  const { DATABASE_URL: mysqlUrl, DATA_DIR: folder = "" } = settings;
  const database = openDatabase(
    mysqlUrl === undefined ? { sqlitePath: join(folder, "anchord.db") } : { mysqlUrl },
  );
  const quoted = (statement: string) =>
    database.flavour === "mysql" ? statement.replaceAll('"', "`") : statement;
  try {
    return await work(async (statement, values = []) => {
      const query = CompiledQuery.raw(quoted(statement), [...values]);
      const { rows } = await database.schema.executeQuery(query);
      return (rows as Record<string, unknown>[]).map(comparable);
    });
  } finally {
    await database.close();
  }
}

/** Every row of the database that a daemon's settings lead to. */
export function dumpTables(settings: Readonly<Record<string, string>>): Promise<Dump> {
  return withDatabase(settings, async (sql) => {
    const dump: Partial<Record<keyof Tables, readonly Row[]>> = {};
    for (const table of Object.keys(ORDER) as (keyof Tables)[]) {
      dump[table] = await sql(`select * from ${table} order by ${ORDER[table]}`);
    }
    return dump as Dump;
  });
}

/** Rows without some of their columns. */
export function without(rows: readonly Row[], ...columns: readonly string[]): Row[] {
  return rows.map((row) =>
    Object.fromEntries(Object.entries(row).filter(([column]) => !columns.includes(column))),
  );
}

/** Copies a MySQL database to a new one, and returns its address. */
export async function copyMysql(url: string): Promise<string> {
  const copy = await (await sharedMysql())?.createDatabase();
  if (copy === undefined) throw new Error("there is no MySQL server");
  const connection = await createConnection({ uri: copy });
  const source = new URL(url).pathname.slice(1);
  try {
    const [tables] = await connection.query(`show tables from ${source}`);
    for (const row of tables as Record<string, string>[]) {
      const [name = ""] = Object.values(row);
      await connection.query(`create table \`${name}\` like ${source}.\`${name}\``);
      await connection.query(`insert into \`${name}\` select * from ${source}.\`${name}\``);
    }
  } finally {
    await connection.end();
  }
  return copy;
}

function comparable(row: Readonly<Record<string, unknown>>): Row {
  return Object.fromEntries(
    Object.entries(row).map(([column, value]) => {
      if (value === null) return [column, null];
      if (value instanceof Uint8Array) {
        return [column, Buffer.from(value).toString(TEXT_COLUMNS.has(column) ? "utf8" : "hex")];
      }
      return [column, TEXT_COLUMNS.has(column) ? String(value) : Number(value)];
    }),
  );
}
