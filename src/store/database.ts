import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { Kysely, MysqlDialect, NoResultError, sql } from "kysely";
import type { Transaction } from "kysely";
import { createPool } from "mysql2";
import { AnchordError, databaseAltered, messageOf } from "../core/errors.js";
import { appendUnits } from "./append.js";
import type { Unit, UnitResult } from "./append.js";
import { sqliteDialect } from "./sqlite-dialect.js";
import type { Tables } from "./tables.js";

/** Which database, and what in SQL differs between the two. */
export type Flavour = "sqlite" | "mysql";

/** Runs queries; every failure of the database comes out as an AnchordError that callers may see. */
export interface Database {
  readonly flavour: Flavour;
  /** Reads, outside any transaction. */
  read<T>(query: (db: Kysely<Tables>) => Promise<T>): Promise<T>;
  /** Writes in one transaction. Deadlocks are retried, so `work` must be free to run again. */
  transact<T>(work: (trx: Transaction<Tables>) => Promise<T>): Promise<T>;
  /** Appends records to the log in one transaction: the hot path. */
  append(units: readonly Unit[]): Promise<UnitResult[]>;
  /** The connection that migrations use. */
  readonly schema: Kysely<Tables>;
  close(): Promise<void>;
}

const MAX_RETRIES = 30;
const RETRY_MS = 10;
const RETRYABLE = new Set([
  "ER_LOCK_DEADLOCK",
  "ER_LOCK_WAIT_TIMEOUT",
  "ER_CHECKREAD",
  "SQLITE_BUSY",
]);
const FULL = new Set([
  "SQLITE_FULL",
  "ER_DISK_FULL",
  "ER_RECORD_FILE_FULL",
  "ER_TEMP_FILE_WRITE_FAILURE",
]);
const DAMAGED = new Set(["SQLITE_CORRUPT", "SQLITE_NOTADB", "ER_DATA_OUT_OF_RANGE"]);

/** Opens an embedded SQLite file (created with its folder) or a MySQL-compatible server. */
export function openDatabase(target: { sqlitePath: string } | { mysqlUrl: string }): Database {
  return "sqlitePath" in target ? openSqlite(target.sqlitePath) : openMysql(target.mysqlUrl);
}

function openSqlite(path: string): Database {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const write = sqliteDialect({ path, readonly: false });
  const read = sqliteDialect({ path, readonly: true });
  const reader = new Kysely<Tables>({ dialect: read.dialect });
  const writer = new Kysely<Tables>({ dialect: write.dialect });
  return database("sqlite", writer, reader, {
    append: (units) => write.append(units),
    close: async () => {
      await Promise.all([write.close(), read.close()]);
    },
  });
}

function openMysql(url: string): Database {
  const pool = createPool({
    uri: url,
    timezone: "Z",
    charset: "utf8mb4",
    supportBigNumbers: true,
    connectionLimit: 10,
    connectTimeout: 5_000,
    enableKeepAlive: true,
  });
  const db = new Kysely<Tables>({ dialect: new MysqlDialect({ pool }) });
  return database("mysql", db, db, {
    append: (units) => db.transaction().execute((trx) => appendUnits(trx, units)),
    close: () => db.destroy(),
  });
}

function database(
  flavour: Flavour,
  writer: Kysely<Tables>,
  reader: Kysely<Tables>,
  { append, close }: Pick<Database, "append" | "close">,
): Database {
  return {
    flavour,
    schema: writer,
    read: (query) => guarded(() => query(reader)),
    transact: (work) => guarded(() => writer.transaction().execute(work)),
    append: (units) => guarded(() => append(units)),
    close,
  };
}

/** Whether a failure is the server's absence, which may pass. */
export function isUnavailable(error: unknown): boolean {
  return /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNRESET|EHOSTUNREACH|PROTOCOL_CONNECTION_LOST)$/.test(
    codeOf(error),
  );
}

async function guarded<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (error instanceof AnchordError) throw error;
      if (error instanceof NoResultError)
        throw databaseAltered("one that is always there is missing", error);
      if (!isDatabases(error)) throw error;
      if (!RETRYABLE.has(codeOf(error)) || attempt > MAX_RETRIES) throw asAnchordError(error);
      // Those that locked each other out must not meet again at once.
      const pauseMs = Math.random() * RETRY_MS * attempt;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
}

/** Whether an error is the driver's, not a fault of ours in what runs the queries. One that ends has no code. */
function isDatabases(error: unknown): boolean {
  const isFatal = (error as { fatal?: boolean } | undefined)?.fatal === true;
  return isFatal || codeOf(error) !== "" || /closed|destroyed/i.test(messageOf(error));
}

function asAnchordError(error: unknown): AnchordError {
  const code = codeOf(error);
  if (FULL.has(code)) {
    const message = "the disk under the database is full: free some space and try again";
    return new AnchordError("STORAGE_FULL", message, { cause: error });
  }
  if (DAMAGED.has(code) || messageOf(error) === "integer overflow") {
    return databaseAltered(messageOf(error), error);
  }
  if (code === "ER_DUP_ENTRY" || code.startsWith("SQLITE_CONSTRAINT")) {
    return new AnchordError("INTERNAL", `a row exists already: ${messageOf(error)}`, {
      cause: error,
    });
  }
  const message = `the database does not answer (${code || messageOf(error)}): try again`;
  return new AnchordError("DATABASE_UNAVAILABLE", message, { cause: error });
}

function codeOf(error: unknown): string {
  return (error as { code?: string } | undefined)?.code ?? "";
}

/** The database's clock, in milliseconds since 1970. */
export function nowMillis({ flavour }: Database) {
  return flavour === "mysql"
    ? sql<number>`cast(unix_timestamp(now(3)) * 1000 as signed)`
    : sql<number>`cast((julianday('now') - 2440587.5) * 86400000 as integer)`;
}
