import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { create, fromJsonString } from "@bufbuild/protobuf";
import { expect } from "chai";
import { CompiledQuery } from "kysely";
import { RecordEventsRequestSchema } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { EventKind } from "../../gen/ts/anchord/v1/event_pb.js";
import type { Event } from "../../gen/ts/anchord/v1/event_pb.js";
import type { SubscribeEventsResponse } from "../../gen/ts/anchord/v1/event_service_pb.js";
import { LogProblemSchema } from "../../gen/ts/anchord/v1/problem_pb.js";
import type { LogProblem } from "../../gen/ts/anchord/v1/problem_pb.js";
import { hex0x } from "../../src/core/bytes.js";
import { storedAudit } from "../../src/store/audit.js";
import { lastBatch } from "../../src/store/batches.js";
import { openDatabase } from "../../src/store/database.js";
import type { Database } from "../../src/store/database.js";
import { feedRows } from "../../src/store/feed.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { databasesOfRun } from "../support/databases.js";
import { startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { startGanache } from "../support/ganache.js";
import { problemsOf, sealed } from "../support/log-checks.js";
import { seedOfRun } from "../support/random.js";
import { startRelay } from "../support/relay.js";
import { until } from "../support/until.js";

/** What GET /health says of the audit. */
interface Integrity {
  readonly healthy: boolean;
  readonly error?: string;
  readonly batchesChecked: number;
  readonly batchesTotal: number;
  readonly passStartTime?: string;
  readonly lastPassTime?: string;
}

/** A change behind the service's back, and what must be said of it. */
interface Change {
  readonly what: string;
  readonly table: string;
  readonly key: string;
  /** The row: its position in the log, or its number. */
  readonly row: number;
  /** SQL of the change; the row is put back as it was. */
  readonly sql: string;
  /** The columns that may be named. */
  readonly named: readonly string[];
}

const BATCHES = 6;
const BATCH_SIZE = 3;
const BUSY_BATCHES = 30;

/** What a pass may take on a machine that has much else to do. */
const PASS_LIMIT_MS = 60_000;

const CHANGES: readonly Change[] = [
  {
    what: "a record's entry",
    table: "records",
    key: "seq",
    row: 4,
    sql: "update records set entry = (select entry from (select * from records) as r where seq = 5) where seq = 4",
    named: ["records.entry", "leaves.leaf"],
  },
  {
    what: "a column of a record",
    table: "records",
    key: "seq",
    row: 7,
    sql: "update records set actor = 'somebody else' where seq = 7",
    named: ["records.actor"],
  },
  {
    what: "a leaf",
    table: "leaves",
    key: "seq",
    row: 10,
    sql: "update leaves set leaf = (select leaf from (select * from leaves) as l where seq = 0) where seq = 10",
    named: ["leaves.leaf"],
  },
  {
    what: "a batch's root",
    table: "batches",
    key: "number",
    row: 5,
    sql: "update batches set root = head where number = 5",
    named: ["batches.root"],
  },
  {
    what: "a deleted record",
    table: "records",
    key: "seq",
    row: 13,
    sql: "delete from records where seq = 13",
    named: ["records.seq"],
  },
  {
    what: "the deleted last batch",
    table: "batches",
    key: "number",
    row: BATCHES,
    sql: `delete from batches where number = ${BATCHES}`,
    named: ["batches.number"],
  },
];

/** Records so many batches, one after the other. */
async function fill({ grpc }: Daemon, batches: number): Promise<void> {
  for (let batch = 0; batch < batches; batch++) {
    const events = Array.from({ length: BATCH_SIZE }, (_, n) => ({
      subject: "user/a",
      actor: "actor",
      requestId: randomUUID(),
      body: { case: "custom" as const, value: { type: "test", data: { batch, n } } },
    }));
    const message = create(RecordEventsRequestSchema, { events });
    for await (const _ of grpc.recordEvents(once(message))) await grpc.sealNow({});
  }
}

async function* once<T>(value: T): AsyncGenerator<T> {
  yield value;
}

async function health({ url }: Daemon): Promise<{ status: string; integrity: Integrity }> {
  const answer = await fetch(`${url}/health`);
  return (await answer.json()) as { status: string; integrity: Integrity };
}

async function integrityOf(daemon: Daemon): Promise<Integrity> {
  return (await health(daemon)).integrity;
}

/** The metrics of the audit, by name. */
async function metricsOf({ url }: Daemon): Promise<Record<string, number>> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const found = text.matchAll(/^(anchord_(?:audit|integrity)_\w+) (\S+)$/gm);
  return Object.fromEntries([...found].map(([, name = "", value]) => [name, Number(value)]));
}

/** Resolves once a whole pass has ended that began after this call. */
async function passes(daemon: Daemon): Promise<void> {
  const began = async () => (await integrityOf(daemon)).passStartTime ?? "";
  const before = await began();
  let start = "";
  await until("another pass begins", async () => (start = await began()) > before, PASS_LIMIT_MS);
  await until(
    "it ends without a difference",
    async () => ((await integrityOf(daemon)).lastPassTime ?? "") >= start,
    PASS_LIMIT_MS,
  );
}

/** Resolves once so many passes have begun after this call, whether or not they find anything. */
async function passesBegin(daemon: Daemon, count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    const before = (await integrityOf(daemon)).passStartTime ?? "";
    await until(
      "another pass begins",
      async () => ((await integrityOf(daemon)).passStartTime ?? "") > before,
      PASS_LIMIT_MS,
    );
  }
}

/** The first event of a stream, after something was done once the stream had begun. */
async function firstEvent(
  stream: AsyncIterable<SubscribeEventsResponse>,
  once: () => Promise<unknown>,
): Promise<Event> {
  let hasBegun = false;
  for await (const { events } of stream) {
    if (!hasBegun) await once();
    hasBegun = true;
    const [event] = events;
    if (event !== undefined) return event;
  }
  throw new Error("the stream has ended");
}

async function raised(database: Database): Promise<LogProblem[]> {
  const rows = await feedRows(database, 1, 100_000);
  return rows.flatMap((row) =>
    row.kind === "INTEGRITY_BROKEN" ? [fromJsonString(LogProblemSchema, row.detail)] : [],
  );
}

function openDatabaseOf({ dataDir }: Daemon, settings: Record<string, string>): Database {
  const { DATABASE_URL: mysqlUrl } = settings;
  return openDatabase(
    mysqlUrl === undefined ? { sqlitePath: join(dataDir, "anchord.db") } : { mysqlUrl },
  );
}

async function run(database: Database, sql: string, values: readonly unknown[] = []) {
  const { rows } = await database.transact((trx) =>
    trx.executeQuery(CompiledQuery.raw(sql, [...values])),
  );
  return rows as Record<string, unknown>[];
}

const seed = seedOfRun();

for (const { name, settings } of databasesOfRun(seed)) {
  describe(`The auditor, on ${name}`, function () {
    this.timeout(300_000);

    let target: Record<string, string>;
    let daemon: Daemon;
    let database: Database;

    before(async function () {
      console.log(`      SEED=${seed}`);
      const found = await settings();
      if (found === undefined) return this.skip();
      target = { ...found, LOG_LEVEL: "error" };
      daemon = await startDaemon({ ...target, AUDIT_PERCENT: "100" });
      database = openDatabaseOf(daemon, target);
      await fill(daemon, BATCHES);
    });

    after(async () => {
      await database?.close();
      await daemon?.stop();
    });

    /** Changes a row, and returns what puts it back. */
    async function change({ table, key, row, sql }: Change): Promise<() => Promise<void>> {
      const [before] = await run(database, `select * from ${table} where ${key} = ?`, [row]);
      await run(database, sql);
      return async () => {
        const columns = Object.keys(before!);
        const marks = columns.map(() => "?").join(",");
        await database.transact(async (trx) => {
          const statements = [
            CompiledQuery.raw(`delete from ${table} where ${key} = ?`, [row]),
            CompiledQuery.raw(
              `insert into ${table} (${columns.join(",")}) values (${marks})`,
              Object.values(before!),
            ),
          ];
          for (const statement of statements) await trx.executeQuery(statement);
        });
      };
    }

    async function isFound(): Promise<Integrity> {
      await until("it is found", async () => !(await integrityOf(daemon)).healthy);
      return integrityOf(daemon);
    }

    async function isCleared(): Promise<void> {
      await until("it is forgotten", async () => (await integrityOf(daemon)).healthy);
    }

    it("reports how far it is, and how old its word is, while nothing is wrong", async () => {
      await passes(daemon);
      const { status, integrity } = await health(daemon);
      expect(status).to.equal("healthy");
      expect(integrity).to.include({ healthy: true, batchesTotal: BATCHES });
      await until(
        "a pass has checked every batch",
        async () => (await integrityOf(daemon)).batchesChecked === BATCHES,
      );
      const age = Date.now() - Date.parse((await integrityOf(daemon)).lastPassTime!);
      expect(age).to.be.within(0, 20_000);
      const metrics = await metricsOf(daemon);
      expect(metrics["anchord_integrity_broken"]).to.equal(0);
      expect(metrics["anchord_audit_last_pass_age_seconds"]).to.be.within(0, 20);
      expect(metrics["anchord_audit_batches_checked"]).to.be.within(0, BATCHES);
      expect(await raised(database)).to.deep.equal([]);
    });

    for (const each of CHANGES) {
      it(`finds ${each.what}, tells of it once, and forgets it once it is repaired`, async () => {
        const before = (await raised(database)).length;
        const repair = await change(each);
        const { error } = await isFound();
        await passesBegin(daemon, 2);
        const { status } = await health(daemon);
        expect(status).to.equal("degraded");
        expect((await metricsOf(daemon))["anchord_integrity_broken"]).to.equal(1);
        await repair();
        await isCleared();
        await passes(daemon);
        const told = (await raised(database)).slice(before);
        expect(told, JSON.stringify(told, bigints)).to.have.length(1);
        const [problem] = told;
        const isBatch = each.table === "batches";
        expect(problem!.column).to.be.oneOf(each.named);
        if (isBatch) expect(problem!.batchNumber).to.equal(BigInt(each.row));
        else expect(problem!.sequence).to.equal(BigInt(each.row));
        expect(error).to.include(isBatch ? `batch ${each.row}:` : `record ${each.row}`);
        expect(error).to.include(problem!.column);
        // Sealing may have stumbled over what was changed, and tries again after a while.
        await until("healthy", async () => (await health(daemon)).status === "healthy");
        expect((await metricsOf(daemon))["anchord_integrity_broken"]).to.equal(0);
      });
    }

    it("tells of the first of many, and of the next once that is repaired", async () => {
      const before = (await raised(database)).length;
      const [, first, , second] = CHANGES;
      const repairs: (() => Promise<void>)[] = [];
      repairs.push(await change(second!));
      await isFound();
      repairs.push(await change(first!));
      await until("the earlier is found", async () =>
        ((await integrityOf(daemon)).error ?? "").includes("records.actor"),
      );
      await passesBegin(daemon, 2);
      expect(await raised(database)).to.have.length(before + 2);
      await repairs[1]!();
      await until("the later is found again", async () =>
        ((await integrityOf(daemon)).error ?? "").includes("batches.root"),
      );
      await repairs[0]!();
      await isCleared();
      expect(await raised(database)).to.have.length(before + 3);
    });

    it("tells subscribers of it", async () => {
      const ending = new AbortController();
      const stream = daemon.events.grpc.subscribeEvents(
        { filter: { kinds: [EventKind.INTEGRITY_BROKEN] } },
        { signal: ending.signal },
      );
      let repair = (): Promise<void> => Promise.resolve();
      try {
        const told = await firstEvent(stream, async () => (repair = await change(CHANGES[1]!)));
        expect(told.payload).to.have.nested.property("value.column", "records.actor");
        expect(told.payload).to.have.nested.property("value.sequence", BigInt(CHANGES[1]!.row));
      } finally {
        ending.abort();
        await repair();
      }
      await isCleared();
    });

    it("finds nothing while a log is busy", async () => {
      const before = (await raised(database)).length;
      let isBusy = true;
      const audits = (async () => {
        let count = 0;
        for (; isBusy; count++) await passesBegin(daemon, 1);
        return count;
      })();
      await fill(daemon, BUSY_BATCHES);
      isBusy = false;
      expect(await audits, "passes meanwhile").to.be.greaterThan(1);
      await sealed(daemon);
      await passes(daemon);
      const { integrity } = await health(daemon);
      expect(integrity.healthy, integrity.error).to.equal(true);
      expect(integrity.batchesTotal).to.equal(BATCHES + BUSY_BATCHES);
      expect(await raised(database)).to.have.length(before);
      expect(await problemsOf(daemon)).to.deep.equal([]);
    });

    it("goes on after a restart where it was", async () => {
      await daemon.stop();
      await run(database, "update audit set pass_start_time = 1, pass_end_time = 1");
      // At ten percent, the pass that is due now takes long enough to be cut short.
      const again = { ...target, DATA_DIR: daemon.dataDir, AUDIT_PERCENT: "10" };
      daemon = await startDaemon(again);
      const reaches = (number: number) => async () => {
        const { nextBatch, passStartTime } = (await storedAudit(database))!;
        return passStartTime > 1 && nextBatch >= number;
      };
      await until("a pass is under way", reaches(3), PASS_LIMIT_MS);
      await daemon.stop();
      const before = (await storedAudit(database))!;
      daemon = await startDaemon(again);
      await until("it goes on", reaches(before.nextBatch + 1), PASS_LIMIT_MS);
      const after = (await storedAudit(database))!;
      expect(after.passStartTime).to.equal(before.passStartTime);
      expect(after.nextBatch).to.be.within(before.nextBatch + 1, before.nextBatch + 3);
    });
  });
}

describe("The auditor", function () {
  this.timeout(120_000);

  let chain: ExternalChain;
  let daemon: Daemon | undefined;
  let database: Database | undefined;

  afterEach(async () => {
    await database?.close();
    await daemon?.kill();
    await chain?.stop();
  });

  it("waits for a chain that is away, without alarm", async () => {
    const dbPath = temporaryFolder();
    chain = await startExternalChain({ dbPath });
    const portOf = (url: string) => Number(new URL(url).port);
    const relay = await startRelay(portOf(chain.url));
    const settings = { ...chain.environment, BLOCKCHAIN_RPC_URL: relay.url, AUDIT_PERCENT: "100" };
    const running = await startDaemon({
      ...settings,
      LOG_LEVEL: "warn",
      DATA_DIR: temporaryFolder(),
    });
    daemon = running;
    database = openDatabaseOf(running, {});
    try {
      await fill(running, 3);
      await passes(running);
      relay.target = undefined;
      await chain.stop();
      await until("the auditor misses the chain", () => running.log().includes('"loop":"audit"'));
      await until(
        "health names the chain",
        async () => (await health(running)).status === "degraded",
      );
      expect((await integrityOf(running)).healthy).to.equal(true);
      const again = await startGanache({ dbPath });
      chain = { ...chain, stop: again.stop };
      relay.target = portOf(again.url);
      await passes(running);
      expect((await health(running)).status).to.equal("healthy");
      expect(await raised(database)).to.deep.equal([]);
    } finally {
      await relay.close();
    }
  });

  it("finds nothing in a reorganisation that was not followed yet", async () => {
    chain = await startExternalChain();
    const running = await startDaemon({
      ...chain.environment,
      AUDIT_PERCENT: "100",
      CONFIRMATIONS: "12",
      POLL_INTERVAL_MS: "3000",
      DATA_DIR: temporaryFolder(),
    });
    daemon = running;
    const store = (database = openDatabaseOf(running, {}));
    await fill(running, 2);
    for (let round = 0; round < 3; round++) {
      const snapshot = await chain.rpc<string>("evm_snapshot");
      await fill(running, 2);
      const { number, anchor } = await last(store);
      await passes(running);
      // The same transactions come into other blocks, long before the chain is looked at again.
      await chain.rpc("evm_revert", snapshot);
      await chain.mine(1);
      for (const batch of [number - 1, number]) {
        const [row] = await run(
          store,
          'select "transaction" as bytes from operations where number = ?',
          [batch],
        );
        await chain.rpc("eth_sendRawTransaction", hex0x(row!["bytes"] as Uint8Array));
      }
      await until(
        "the reorganisation was followed",
        async () => ((await last(store)).anchor?.blockNumber ?? 0) === anchor!.blockNumber + 1,
      );
    }
    await passes(running);
    expect((await integrityOf(running)).healthy).to.equal(true);
    expect(await raised(store)).to.deep.equal([]);
  });

  async function last(store: Database) {
    const batch = (await lastBatch(store))!;
    return { number: Number(batch.seal.number), anchor: batch.anchor };
  }
});

function bigints(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value;
}
