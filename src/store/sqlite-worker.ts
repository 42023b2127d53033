import { parentPort, workerData } from "node:worker_threads";
import {
  Kysely,
  SqliteAdapter,
  SqliteDriver,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from "kysely";
import Database from "libsql";
import type { Reason } from "../core/errors.js";
import { appendUnits } from "./append.js";
import type { UnitResult } from "./append.js";
import { unpackUnits } from "./sqlite-parcel.js";
import type { Parcel } from "./sqlite-parcel.js";
import type { Tables } from "./tables.js";

/** What is asked of the worker: one statement, or a whole append, which saves many round trips. */
export type SqliteRequest = { readonly id: number } & (
  { readonly sql: string; readonly parameters: readonly unknown[] } | { readonly parcel: Parcel }
);

/** What is said to the worker: a request, or that it shall end when it has answered those before. */
export type SqliteMessage = SqliteRequest | "close";

/** A statement's outcome. */
export interface SqliteResult {
  readonly rows: Record<string, unknown>[];
  readonly changes: number;
  readonly lastId: number;
}

/** What a request failed with. */
export interface SqliteFailure {
  readonly message: string;
  /** Of SQLite; empty where it is not SQLite's. */
  readonly code: string;
  /** Of an AnchordError. */
  readonly reason: Reason | undefined;
}

/** What the worker answers. */
export type SqliteReply = { readonly id: number } & (
  { readonly result: SqliteResult | UnitResult[] } | { readonly error: SqliteFailure }
);

/** How a worker opens its database. */
export interface SqliteOptions {
  readonly path: string;
  readonly readonly: boolean;
}

const MAX_STATEMENTS = 256;

const port = parentPort as NonNullable<typeof parentPort>;
const { path, readonly } = workerData as SqliteOptions;

const db = new Database(path);
db.exec("PRAGMA busy_timeout = 10000");
useWal();
db.exec("PRAGMA synchronous = FULL");
db.exec(`PRAGMA cache_size = ${readonly ? -8192 : -32768}`);
if (readonly) db.exec("PRAGMA query_only = ON");

/** Another that opens the database at the same moment is in the way, and this one SQLite does not wait for. */
function useWal(): void {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (let attempt = 1; ; attempt++) {
    try {
      db.exec("PRAGMA journal_mode = WAL");
      return;
    } catch (error) {
      if ((error as { code?: string }).code !== "SQLITE_BUSY" || attempt === 1_000) throw error;
      Atomics.wait(pause, 0, 0, 10);
    }
  }
}

/** A statement that was prepared, and which of the columns that it reads are text. */
interface Prepared {
  readonly statement: Database.Statement;
  readonly texts: ReadonlySet<string>;
}

const statements = new Map<string, Prepared>();

/** Prepares a statement once; the oldest of many are dropped. */
function prepared(sql: string): Prepared {
  const known = statements.get(sql);
  if (known !== undefined) return known;
  const made = IS_QUERY.test(sql)
    ? preparedQuery(sql)
    : { statement: db.prepare(sql), texts: new Set<string>() };
  statements.set(sql, made);
  if (statements.size > MAX_STATEMENTS) {
    statements.delete(statements.keys().next().value as string);
  }
  return made;
}

const IS_QUERY = /^(select|with)\b/i;

/** What a column is read as, by its declared type; one of another type as it is. */
const READ_AS: Readonly<Record<string, string>> = {
  BLOB: "blob",
  TEXT: "blob",
  "VARCHAR(255)": "blob", // as Kysely's migrator has its text
  INTEGER: "integer",
  BIGINT: "integer",
};

/**
 * SQLite keeps any value in any column, and libsql aborts the process where it reads a text that is not UTF-8.
 * An edit by hand may leave one anywhere, so every column is read as what it was declared to be, text as the
 * bytes that it has, and an expression, such as max(), as a number.
 */
function preparedQuery(sql: string): Prepared {
  // Only what runs learns that another connection has changed the schema; what is prepared does not.
  db.exec("select 1 from sqlite_master");
  const columns = db
    .prepare(sql)
    .columns()
    .map(({ name, table, type }) => ({
      name,
      type: type?.toUpperCase() ?? "",
      as: table === null ? "numeric" : READ_AS[type?.toUpperCase() ?? ""],
    }));
  const names = new Set(columns.map(({ name }) => name));
  if (names.size < columns.length) throw new Error(`two columns have one name: ${sql}`);
  const read = columns.map(({ name, as }) =>
    as === undefined ? `"${name}"` : `cast("${name}" as ${as}) as "${name}"`,
  );
  const texts = columns.filter(({ type, as }) => as === "blob" && type !== "BLOB");
  return {
    statement: db.prepare(`select ${read.join(", ")} from (${sql})`),
    texts: new Set(texts.map(({ name }) => name)),
  };
}

function run(sql: string, parameters: readonly unknown[]): SqliteResult {
  // SQLite has rolled back by itself where the disk was full; that must not hide behind another error.
  if (sql.toUpperCase() === "ROLLBACK" && !db.inTransaction)
    return { rows: [], changes: 0, lastId: 0 };
  const { statement, texts } = prepared(sql);
  // As one array: libsql takes a blob that comes alone for named parameters, and aborts the process.
  if (statement.reader) {
    const rows = statement.all(parameters) as Record<string, unknown>[];
    for (const row of rows) decode(row, texts);
    return { rows, changes: 0, lastId: 0 };
  }
  const { changes, lastInsertRowid } = statement.run(parameters);
  return { rows: [], changes, lastId: Number(lastInsertRowid) };
}

/** libsql gives a blob as an ArrayBuffer; callers get a string or a Uint8Array. */
function decode(row: Record<string, unknown>, texts: ReadonlySet<string>): void {
  for (const key of Object.keys(row)) {
    const value = row[key];
    if (!(value instanceof ArrayBuffer)) continue;
    row[key] = texts.has(key) ? Buffer.from(value).toString("utf8") : new Uint8Array(value);
  }
}

/** The same connection for code that runs here. */
const local = new Kysely<Tables>({
  dialect: {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () =>
      new SqliteDriver({
        database: {
          close: () => undefined,
          prepare: (sql) => {
            return {
              reader: prepared(sql).statement.reader,
              all: (parameters) => run(sql, parameters).rows,
              run: (parameters) => {
                const { changes, lastId } = run(sql, parameters);
                return { changes, lastInsertRowid: lastId };
              },
              iterate: () => {
                throw new Error("streaming is not supported: page by key");
              },
            };
          },
        },
      }),
    createIntrospector: (kysely) => new SqliteIntrospector(kysely),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  },
});

async function answer(request: SqliteRequest): Promise<SqliteResult | UnitResult[]> {
  if ("sql" in request) return run(request.sql, request.parameters);
  const units = unpackUnits(request.parcel);
  return local.transaction().execute((trx) => appendUnits(trx, units));
}

port.on("message", (message: SqliteMessage) => {
  if (message === "close") return port.close();
  const { id } = message;
  answer(message).then(
    (result) => port.postMessage({ id, result } satisfies SqliteReply),
    ({ message, code = "", reason }: Error & { code?: string; reason?: Reason }) =>
      port.postMessage({ id, error: { message, code, reason } } satisfies SqliteReply),
  );
});
