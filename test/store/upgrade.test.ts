import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { CompiledQuery } from "kysely";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import { Misconfigured } from "../../src/core/errors.js";
import { chainPosition, followedBlocks, storedIdentity } from "../../src/store/chain-position.js";
import { findBatch, progress } from "../../src/store/batches.js";
import { openDatabase } from "../../src/store/database.js";
import type { Database } from "../../src/store/database.js";
import { feedBounds, feedRows } from "../../src/store/feed.js";
import { migrate } from "../../src/store/migrations.js";
import { minedOperation, waitingOperation } from "../../src/store/operations.js";
import { logLength } from "../../src/store/records.js";
import { startDaemon, startFails, temporaryFolder } from "../support/daemon.js";
import { DATABASES } from "../support/databases.js";
import { startExternalChain } from "../support/external-chain.js";
import { expectWhole, healthOf, sealed } from "../support/log-checks.js";
import { rebuild } from "../support/rebuild.js";
import { repositoryRoot } from "../support/repository.js";

const run = promisify(execFile);

/** What came with migration 0019 and later. */
const NEW_TABLES = ["feed", "events", "subscriptions", "publications", "audit"] as const;

const MIGRATE = `(async () => {
  const { openDatabase } = await import("./dist/src/store/database.js");
  const { migrate } = await import("./dist/src/store/migrations.js");
  const database = openDatabase(JSON.parse(process.argv[1]));
  await migrate(database);
  await database.close();
})()`;

type Target = Parameters<typeof openDatabase>[0];

/** The database of a daemon with such settings. */
function targetOf(settings: Record<string, string>, folder = temporaryFolder()): Target {
  const { DATABASE_URL: mysqlUrl } = settings;
  return mysqlUrl === undefined ? { sqlitePath: join(folder, "anchord.db") } : { mysqlUrl };
}

/** Migrates in a process of its own. */
async function migrateApart(target: Target): Promise<void> {
  const args = ["-e", MIGRATE, JSON.stringify(target)];
  await run(process.execPath, args, { cwd: repositoryRoot });
}

async function execute(
  database: Database,
  sql: string,
  values: readonly unknown[] = [],
): Promise<Record<string, unknown>[]> {
  const { rows } = await database.schema.executeQuery(CompiledQuery.raw(sql, [...values]));
  return rows as Record<string, unknown>[];
}

/** Takes a database back to how it was before there was a feed. */
async function downgrade(database: Database): Promise<void> {
  const on = " on operations";
  for (const table of NEW_TABLES) await execute(database, `drop table if exists ${table}`);
  await execute(database, "alter table chain_position drop column confirmed_number");
  await execute(database, "alter table chain_position drop column moves");
  await execute(database, "alter table identity drop column evidence_contract");
  for (const index of ["operations_by_purpose", "operations_by_nonce"])
    await execute(database, `drop index ${index}${database.flavour === "mysql" ? on : ""}`);
  await execute(database, "alter table operations drop column kind");
  await execute(database, "alter table operations rename column number to batch_number");
  await execute(database, "create index operations_by_batch on operations (batch_number, state)");
  await execute(database, "delete from kysely_migration where name >= '0019'");
}

/** The name of a column that is a word of SQL. */
function quoted({ flavour }: Database): string {
  return flavour === "mysql" ? "`transaction`" : '"transaction"';
}

/** The rows of a log of three batches, of which two are on the chain. */
async function fillOld(database: Database): Promise<void> {
  const hash = () => randomBytes(32);
  await execute(
    database,
    "insert into identity (id, chain_id, contract, log, genesis_hash, deploy_block) values (1, '1337', ?, ?, ?, 7)",
    [randomBytes(20), hash(), hash()],
  );
  await execute(
    database,
    "insert into chain_position (id, block_number, final_number) values (1, 40, 28)",
  );
  for (const number of [39, 40])
    await execute(database, "insert into blocks (number, hash) values (?, ?)", [number, hash()]);
  for (const number of [1, 2, 3]) {
    const place = number < 3 ? [hash(), 20 + number, hash(), 1_700_000_000, 90_000] : [];
    const anchor = place.length > 0 ? place : [null, null, null, null, null];
    await execute(
      database,
      `insert into batches (number, first_seq, size, previous_head, root, manifest_digest,
        trails_root, nonce, head, create_time, transaction_hash, block_number, block_hash,
        block_time, gas_used) values (?, ?, 1, ?, ?, ?, ?, 0, ?, 5, ?, ?, ?, ?, ?)`,
      [number, number - 1, hash(), hash(), hash(), hash(), hash(), ...anchor],
    );
    await execute(
      database,
      `insert into operations (batch_number, sender, nonce, transaction_hash, ${quoted(database)},
        state, reason, create_time) values (?, ?, ?, ?, ?, ?, '', 5)`,
      [number, randomBytes(20), 6 + number, hash(), hash(), number < 3 ? "MINED" : "SENT"],
    );
  }
}

for (const { name, settings } of DATABASES) {
  describe(`A database from before there were events, on ${name}`, function () {
    this.timeout(120_000);

    let target: Target;
    let database: Database;

    beforeEach(async function () {
      const found = await settings();
      if (found === undefined) return this.skip();
      target = targetOf(found);
      database = openDatabase(target);
      await migrate(database);
      await downgrade(database);
    });

    afterEach(async () => {
      await database?.close();
    });

    async function expectCurrent(): Promise<void> {
      for (const table of NEW_TABLES) await execute(database, `select * from ${table}`);
      const rows = await execute(database, "select * from feed");
      expect(rows).to.have.length(1);
      const { epoch, first, next } = await feedBounds(database);
      expect(epoch).to.match(/^[0-9a-f]{16}$/);
      expect([first, next]).to.deep.equal([1, 1]);
      expect(await feedRows(database, 1, 10)).to.deep.equal([]);
    }

    it("gets what is new, and follows the chain once more", async () => {
      await fillOld(database);
      const identity = () =>
        execute(database, "select contract, log, genesis_hash, deploy_block from identity");
      const before = await identity();
      const batch = await findBatch(database, 2);
      await migrate(database);
      await expectCurrent();
      expect(await chainPosition(database)).to.deep.equal({
        blockNumber: 6,
        confirmedNumber: -1,
        finalNumber: -1,
        moves: 0,
      });
      expect(await followedBlocks(database)).to.deep.equal([]);
      expect(await progress(database)).to.deep.equal({
        lastBatch: 0,
        sealed: 3,
        anchored: 0,
        final: 0,
      });
      expect(await identity()).to.deep.equal(before);
      expect(await storedIdentity(database)).to.include({ deployBlock: 7, evidence: undefined });
      expect(await findBatch(database, 2)).to.deep.equal({ ...batch, anchor: undefined });
    });

    it("knows what its calls were for", async () => {
      await fillOld(database);
      await migrate(database);
      const sent = await waitingOperation(database, { kind: "SEAL", number: 3 });
      expect(sent).to.include({ nonce: 9, state: "SENT" });
      expect(await minedOperation(database, { kind: "SEAL", number: 2 })).to.have.length(32);
      expect(await waitingOperation(database, { kind: "EVIDENCE", number: 3 })).to.equal(undefined);
    });

    it("that never reached a chain gets what is new", async () => {
      await migrate(database);
      await expectCurrent();
      expect(await chainPosition(database)).to.equal(undefined);
    });

    it("does not change when it is brought up to date again", async () => {
      await fillOld(database);
      await migrate(database);
      const { epoch } = await feedBounds(database);
      await execute(database, "update chain_position set block_number = 30, final_number = 20");
      await migrate(database);
      await expectCurrent();
      expect((await feedBounds(database)).epoch).to.equal(epoch);
      expect(await chainPosition(database)).to.include({ blockNumber: 30, finalNumber: 20 });
    });

    it("goes on where it was cut short, after any change of the schema", async () => {
      const names = async () =>
        (await execute(database, "select name from kysely_migration order by name")).map((row) =>
          Buffer.from(row["name"] as string).toString(),
        );
      const old = await names();
      await migrate(database);
      for (const last of (await names()).slice(old.length)) {
        // Done, but not noted as done.
        await execute(database, "delete from kysely_migration where name >= ?", [last]);
        await migrate(database);
        await expectCurrent();
      }
    });

    it("may be brought up to date by several processes at once", async () => {
      await fillOld(database);
      await Promise.all([1, 2, 3].map(() => migrateApart(target)));
      await expectCurrent();
      expect(await progress(database)).to.include({ sealed: 3, anchored: 0 });
    });

    it("may be made by several processes at once", async () => {
      const empty = targetOf((await settings())!);
      await Promise.all([1, 2, 3].map(() => migrateApart(empty)));
      const made = openDatabase(empty);
      expect(await logLength(made)).to.equal(0);
      await made.close();
    });
  });

  describe(`A database of another program, on ${name}`, function () {
    this.timeout(120_000);

    const REFUSAL =
      "the database has tables of another program (blocks): set DB_PATH, or DATABASE_URL, to one of its own";
    const ROWS = [7, 8, 9].map((nonce, block_index) => ({ block_index, nonce }));
    let environment: Record<string, string> & { DATA_DIR: string };
    let database: Database;

    beforeEach(async function () {
      const found = await settings();
      if (found === undefined) return this.skip();
      environment = { ...found, DATA_DIR: temporaryFolder() };
      database = openDatabase(targetOf(environment, environment.DATA_DIR));
      await execute(
        database,
        "create table blocks (block_index integer primary key, nonce integer)",
      );
      for (const { block_index, nonce } of ROWS)
        await execute(database, "insert into blocks values (?, ?)", [block_index, nonce]);
    });

    afterEach(async () => {
      await database?.close();
    });

    async function expectUntouched(): Promise<void> {
      const rows = await execute(database, "select * from blocks order by block_index");
      expect(rows.map((row) => ({ ...row }))).to.deep.equal(ROWS);
      const tables = await database.schema.introspection.getTables({
        withInternalKyselyTables: true,
      });
      expect(tables.map((table) => table.name)).to.deep.equal(["blocks"]);
    }

    it("is not brought up to date", async () => {
      const error = await migrate(database).catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(Misconfigured).with.property("message", REFUSAL);
      await expectUntouched();
    });

    it("is refused by `anchord start`", async () => {
      const { code, output } = await startFails(environment);
      expect(code, output).to.equal(2);
      expect(output).to.include(`anchord: ${REFUSAL}\n`);
      await expectUntouched();
    });

    it("is refused by `anchord rebuild`", async () => {
      const { code, stderr } = await rebuild(environment);
      expect([code, stderr]).to.deep.equal([2, `anchord: ${REFUSAL}\n`]);
      await expectUntouched();
    });
  });

  describe(`A log from before there were events, on ${name}`, function () {
    this.timeout(120_000);

    it("is whole after the upgrade, and its events are told from the beginning", async function () {
      const found = await settings();
      if (found === undefined) return this.skip();
      const chain = await startExternalChain();
      const environment: Record<string, string> & { DATA_DIR: string } = {
        ...chain.environment,
        ...found,
        CONFIRMATIONS: "2",
        DATA_DIR: temporaryFolder(),
      };
      const body = { case: "custom" as const, value: { type: "test" } };
      const before = await startDaemon(environment);
      for (let n = 0; n < 3; n++)
        await before.grpc.recordEvent({ subject: "a", body, waitFor: RecordState.ANCHORED });
      await before.stop();
      const database = openDatabase(targetOf(environment, environment.DATA_DIR));
      await downgrade(database);
      const daemon = await startDaemon(environment);
      try {
        await daemon.grpc.recordEvent({ subject: "a", body, waitFor: RecordState.ANCHORED });
        await sealed(daemon);
        expect(await expectWhole(daemon)).to.have.length(4);
        const told = (await feedRows(database, 1, 100)).flatMap((row) =>
          row.kind === "SEALED" && row.level === 1 ? [row.batchNumber] : [],
        );
        expect(told).to.deep.equal([1, 2, 3, 4]);
        expect((await healthOf(daemon)).sealing.failedOperations).to.equal(0);
      } finally {
        await daemon.stop();
        await database.close();
        await chain.stop();
      }
    });
  });
}
