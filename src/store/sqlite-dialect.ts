import { Worker } from "node:worker_threads";
import { CompiledQuery, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler } from "kysely";
import type { DatabaseConnection, Dialect, Driver, QueryResult } from "kysely";
import { AnchordError } from "../core/errors.js";
import type { Unit, UnitResult } from "./append.js";
import { packUnits } from "./sqlite-parcel.js";
import type {
  SqliteFailure,
  SqliteMessage,
  SqliteOptions,
  SqliteReply,
  SqliteResult,
} from "./sqlite-worker.js";

/** SQLite behind a worker thread, since its calls block. One connection, used by one at a time. */
export function sqliteDialect(options: SqliteOptions): {
  readonly dialect: Dialect;
  /** Appends to the log in the worker, in a transaction of its own. */
  append(units: readonly Unit[]): Promise<UnitResult[]>;
  /** Ends the worker, also where nothing was ever asked of it. */
  close(): Promise<void>;
} {
  const driver = new WorkerDriver(options);
  return {
    dialect: {
      createAdapter: () => new SqliteAdapter(),
      createDriver: () => driver,
      createIntrospector: (db) => new SqliteIntrospector(db),
      createQueryCompiler: () => new SqliteQueryCompiler(),
    },
    append: (units) => driver.append(units),
    close: () => driver.destroy(),
  };
}

/** An error of SQLite, with its code such as SQLITE_FULL. */
export class SqliteError extends Error {
  override readonly name = "SqliteError";

  constructor(
    message: string,
    readonly code: string,
  ) {
    super(message);
  }
}

class WorkerDriver implements Driver {
  readonly #connection: WorkerConnection;
  #last: Promise<void> = Promise.resolve();
  #release: () => void = () => undefined;

  constructor(options: SqliteOptions) {
    this.#connection = new WorkerConnection(options);
  }

  init(): Promise<void> {
    return Promise.resolve();
  }

  async append(units: readonly Unit[]): Promise<UnitResult[]> {
    const connection = await this.acquireConnection();
    try {
      return await connection.append(units);
    } finally {
      await this.releaseConnection();
    }
  }

  /** Waits for its turn: connections are handed out in the order in which they were asked for. */
  async acquireConnection(): Promise<WorkerConnection> {
    const turn = this.#last;
    let release: () => void = () => undefined;
    this.#last = new Promise((resolve) => (release = resolve));
    await turn;
    this.#release = release;
    return this.#connection;
  }

  releaseConnection(): Promise<void> {
    this.#release();
    return Promise.resolve();
  }

  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw("BEGIN IMMEDIATE"));
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw("COMMIT"));
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw("ROLLBACK"));
  }

  async destroy(): Promise<void> {
    await this.#connection.close();
  }
}

interface Waiting {
  resolve(result: never): void;
  reject(error: Error): void;
}

class WorkerConnection implements DatabaseConnection {
  readonly #worker: Worker;
  readonly #ended: Promise<unknown>;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 0;
  #failure: Error | undefined;

  constructor(options: SqliteOptions) {
    this.#worker = new Worker(new URL("./sqlite-worker.js", import.meta.url), {
      workerData: options,
      // Rows pass through and are gone: room for more of them would only be held, not used.
      resourceLimits: { maxYoungGenerationSizeMb: 8 },
    });
    this.#worker.on("message", (reply: SqliteReply) => this.#settle(reply));
    this.#worker.on("error", (error) => this.#fail(error));
    this.#ended = new Promise((resolve) => this.#worker.once("exit", resolve)).then(() =>
      this.#fail(new SqliteError("database is closed", "SQLITE_CLOSED")),
    );
  }

  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    const { rows, changes, lastId } = await this.#ask<SqliteResult>({ sql, parameters });
    return { rows: rows as R[], numAffectedRows: BigInt(changes), insertId: BigInt(lastId) };
  }

  append(units: readonly Unit[]): Promise<UnitResult[]> {
    return this.#ask<UnitResult[]>({ parcel: packUnits(units) });
  }

  // eslint-disable-next-line require-yield -- the interface asks for it; nothing here streams
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error("streaming is not supported: page by key");
  }

  /** Not by terminate(): libsql aborts the process where that comes while it works. */
  async close(): Promise<void> {
    this.#worker.postMessage("close" satisfies SqliteMessage);
    await this.#ended;
  }

  #ask<T>(request: object): Promise<T> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const id = this.#nextId++;
    this.#worker.postMessage({ id, ...request });
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  #settle(reply: SqliteReply): void {
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if ("error" in reply) waiting?.reject(failureOf(reply.error));
    else waiting?.resolve(reply.result as never);
  }

  #fail(error: Error): void {
    this.#failure = error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

function failureOf({ message, code, reason }: SqliteFailure): Error {
  return reason === undefined ? new SqliteError(message, code) : new AnchordError(reason, message);
}
