import { parentPort, workerData } from "node:worker_threads";
import {
  Kysely,
  SqliteAdapter,
  SqliteDriver,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from "kysely";
import Database from "libsql";
import { appendUnits } from "./append.js";
import type { UnitResult } from "./append.js";
import { unpackUnits } from "./sqlite-parcel.js";
import type { Parcel } from "./sqlite-parcel.js";
import type { Tables } from "./tables.js";

/** What is asked of the worker: one statement, or a whole append, which saves many round trips. */
export type SqliteRequest = { readonly id: number } & (
  { readonly sql: string; readonly parameters: readonly unknown[] } | { readonly parcel: Parcel }
);

/** A statement's outcome. */
export interface SqliteResult {
  readonly rows: Record<string, unknown>[];
  readonly changes: number;
  readonly lastId: number;
}

/** What the worker answers. */
export type SqliteReply = { readonly id: number } & (
  | { readonly result: SqliteResult | UnitResult[] }
  | { readonly error: { readonly message: string; readonly code: string } }
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

const statements = new Map<string, Database.Statement>();

/** Prepares a statement once; the oldest of many are dropped. */
function prepared(sql: string): Database.Statement {
  const known = statements.get(sql);
  if (known !== undefined) return known;
  const statement = db.prepare(sql);
  statements.set(sql, statement);
  if (statements.size > MAX_STATEMENTS) {
    statements.delete(statements.keys().next().value as string);
  }
  return statement;
}

function run(sql: string, parameters: readonly unknown[]): SqliteResult {
  // SQLite has rolled back by itself where the disk was full; that must not hide behind another error.
  if (sql.toUpperCase() === "ROLLBACK" && !db.inTransaction)
    return { rows: [], changes: 0, lastId: 0 };
  const statement = prepared(sql);
  // As one array: libsql takes a blob that comes alone for named parameters, and aborts the process.
  if (statement.reader) {
    const rows = statement.all(parameters) as Record<string, unknown>[];
    return { rows: rows.map(withBytes), changes: 0, lastId: 0 };
  }
  const { changes, lastInsertRowid } = statement.run(parameters);
  return { rows: [], changes, lastId: Number(lastInsertRowid) };
}

/** libsql gives a blob as an ArrayBuffer; callers get a Uint8Array. */
function withBytes(row: Record<string, unknown>): Record<string, unknown> {
  for (const key of Object.keys(row)) {
    if (row[key] instanceof ArrayBuffer) row[key] = new Uint8Array(row[key]);
  }
  return row;
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
            const statement = prepared(sql);
            return {
              reader: statement.reader,
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

port.on("message", (request: SqliteRequest) => {
  answer(request).then(
    (result) => port.postMessage({ id: request.id, result } satisfies SqliteReply),
    (error: Error & { code?: string }) => {
      const { message, code = "" } = error;
      port.postMessage({ id: request.id, error: { message, code } } satisfies SqliteReply);
    },
  );
});
