import { parentPort, workerData } from "node:worker_threads";
import Database from "libsql";

/** What the driver asks of the worker. */
export interface SqliteRequest {
  readonly id: number;
  readonly sql: string;
  readonly parameters: readonly unknown[];
}

/** What the worker answers: rows and changes, or the error. */
export type SqliteReply =
  | { readonly id: number; readonly rows: Record<string, unknown>[]; readonly changes: number; readonly lastId: number }
  | { readonly id: number; readonly error: { readonly message: string; readonly code: string } };

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
db.exec("PRAGMA journal_mode = WAL");
db.exec("PRAGMA synchronous = FULL");
db.exec("PRAGMA cache_size = -32768");
if (readonly) db.exec("PRAGMA query_only = ON");

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

function run({ id, sql, parameters }: SqliteRequest): SqliteReply {
  const statement = prepared(sql);
  if (statement.reader) {
    const rows = statement.all(...parameters) as Record<string, unknown>[];
    return { id, rows: rows.map(withBytes), changes: 0, lastId: 0 };
  }
  const { changes, lastInsertRowid } = statement.run(...parameters);
  return { id, rows: [], changes, lastId: Number(lastInsertRowid) };
}

/** libsql gives a blob as an ArrayBuffer or a Buffer; callers get a Uint8Array. */
function withBytes(row: Record<string, unknown>): Record<string, unknown> {
  for (const key of Object.keys(row)) {
    if (row[key] instanceof ArrayBuffer) row[key] = new Uint8Array(row[key]);
  }
  return row;
}

port.on("message", (request: SqliteRequest) => {
  try {
    port.postMessage(run(request));
  } catch (error) {
    const { message, code } = error as Error & { code?: string };
    port.postMessage({ id: request.id, error: { message, code: code ?? "" } } satisfies SqliteReply);
  }
});
