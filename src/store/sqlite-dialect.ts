import { Worker } from "node:worker_threads";
import { CompiledQuery, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler } from "kysely";
import type { DatabaseConnection, Dialect, Driver, QueryResult } from "kysely";
import type { SqliteOptions, SqliteReply, SqliteRequest } from "./sqlite-worker.js";

/** SQLite behind a worker thread, since its calls block. One connection, used by one at a time. */
export function sqliteDialect(options: SqliteOptions): Dialect {
  return {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => new WorkerDriver(options),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
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
  #connection: WorkerConnection | undefined;
  #last: Promise<void> = Promise.resolve();
  #release: () => void = () => undefined;

  constructor(private readonly options: SqliteOptions) {}

  init(): Promise<void> {
    this.#connection = new WorkerConnection(this.options);
    return Promise.resolve();
  }

  /** Waits for its turn: connections are handed out in the order in which they were asked for. */
  async acquireConnection(): Promise<DatabaseConnection> {
    const turn = this.#last;
    let release: () => void = () => undefined;
    this.#last = new Promise((resolve) => (release = resolve));
    await turn;
    this.#release = release;
    return this.#connection as WorkerConnection;
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
    await this.#connection?.close();
  }
}

interface Waiting {
  resolve(result: QueryResult<never>): void;
  reject(error: Error): void;
}

class WorkerConnection implements DatabaseConnection {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 0;
  #failure: Error | undefined;

  constructor(options: SqliteOptions) {
    this.#worker = new Worker(new URL("./sqlite-worker.js", import.meta.url), {
      workerData: options,
    });
    this.#worker.on("message", (reply: SqliteReply) => this.#settle(reply));
    this.#worker.on("error", (error) => this.#fail(error));
    this.#worker.on("exit", () => this.#fail(new SqliteError("database is closed", "SQLITE_CLOSED")));
  }

  executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const id = this.#nextId++;
    const request: SqliteRequest = { id, sql: query.sql, parameters: query.parameters };
    this.#worker.postMessage(request);
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  // eslint-disable-next-line require-yield -- the interface asks for it; nothing here streams
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error("streaming is not supported: page by key");
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #settle(reply: SqliteReply): void {
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if ("error" in reply) waiting?.reject(new SqliteError(reply.error.message, reply.error.code));
    else {
      waiting?.resolve({
        rows: reply.rows as never[],
        numAffectedRows: BigInt(reply.changes),
        insertId: BigInt(reply.lastId),
      });
    }
  }

  #fail(error: Error): void {
    this.#failure = error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
