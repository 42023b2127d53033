import { join } from "node:path";
import { expect } from "chai";
import type { SyncBlocksResponse } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { openDatabase } from "../../src/store/database.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { databasesOfRun } from "../support/databases.js";
import { DOORS, refusalOf } from "../support/doors.js";
import type { AuditClient } from "../support/doors.js";
import { addEvidence, allEvidence, anchorAsStranger, fileNamed } from "../support/evidence-log.js";
import { evidenceNamed } from "../support/evidence-registry.js";
import { startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { expectWhole, healthOf, problemsOf } from "../support/log-checks.js";
import { randomOf, seedOfRun } from "../support/random.js";
import { recordSome, settled } from "../support/rebuild.js";
import { dumpTables, withDatabase, without } from "../support/tables.js";
import type { Dump, Sql } from "../support/tables.js";
import { until } from "../support/until.js";

/** At least so many batches. */
const BATCHES = 6;

/** Pieces of evidence that are recorded, and anchors that are not. */
const EVIDENCE = 4;
const STRANGE = 2;

/** The tables that hold what is on the chain. */
const TABLES = ["records", "requests", "leaves", "batches", "evidence", "strange_anchors"] as const;

/** Where evidence stands on the chain. */
const PLACE = ["submitter", "transaction_hash", "block_number", "block_hash", "block_time"];

/** Everything that SyncBlocks reports for a range. */
async function sync(client: AuditClient, fromBlock = 0n, toBlock = 0n) {
  const reports: SyncBlocksResponse[] = [];
  for await (const report of client.syncBlocks({ fromBlock, toBlock })) reports.push(report);
  expect(reports.map(({ done }) => done)).to.deep.equal(
    reports.map((_, i) => i === reports.length - 1),
  );
  return reports;
}

/** What the feed tells of batches, in no order of time: the auditor may have told of the damage as well. */
function happenings({ events }: Dump): string[] {
  const sealed = events.filter(({ kind }) => kind === "SEALED");
  return without(sealed, "number", "final_number", "late", "create_time")
    .map((row) => JSON.stringify(row))
    .sort();
}

const seed = seedOfRun();

for (const kind of databasesOfRun(seed)) {
  describe(`SyncBlocks, on ${kind.name}`, function () {
    this.timeout(120_000);

    const random = randomOf(seed);
    let chain: ExternalChain;
    let settings: Record<string, string>;
    let daemon: Daemon;
    let healthy: Dump;
    let count: number;

    before(async function () {
      console.log(`      SEED=${seed}`);
      const target = await kind.settings();
      if (target === undefined) return this.skip();
      chain = await startExternalChain();
      settings = {
        ...chain.environment,
        ...target,
        CONFIRMATIONS: "1",
        MAX_BATCH_RECORDS: "4",
        DATA_DIR: temporaryFolder(),
      };
      await start();
      await handIn();
      for (let batch = 0; batch < BATCHES; batch++) {
        await recordSome(daemon, random, 4);
        await daemon.grpc.sealNow({});
      }
      await chain.rpc("evm_mine", { blocks: 1_100 });
      await settled(daemon);
      await anchorAsStranger(
        chain,
        ["a", "b"].map((name) => evidenceNamed(name)),
      );
      await withDatabase(settings, async (sql) => {
        const isNoted = async () => (await sql("select * from strange_anchors")).length === STRANGE;
        await until("the strange anchors are noted", isNoted);
      });
      await daemon.stop();
      healthy = await dumpTables(settings);
      count = healthy.batches.length;
    });

    after(() => chain?.stop());

    afterEach(() => daemon?.kill());

    /** Evidence, of which nothing but the hash is known. Resolves once it is anchored. */
    async function handIn(): Promise<void> {
      const { DATABASE_URL: mysqlUrl, DATA_DIR: folder = "" } = settings;
      const database = openDatabase(
        mysqlUrl === undefined ? { sqlitePath: join(folder, "anchord.db") } : { mysqlUrl },
      );
      try {
        for (let i = 0; i < EVIDENCE; i++) {
          await addEvidence(database, "user/1", fileNamed(`file ${i}`), "hash");
        }
        await daemon.grpc.sealNow({});
        await until("the evidence is anchored", async () => {
          return (await allEvidence(database)).every(({ anchor }) => anchor !== undefined);
        });
      } finally {
        await database.close();
      }
    }

    async function start(): Promise<void> {
      daemon = await startDaemon(settings);
    }

    /** Changes the database of the stopped service, and starts it again. */
    async function damage(work: (sql: Sql) => Promise<unknown>): Promise<void> {
      await withDatabase(settings, work);
      await start();
    }

    async function sealingError(): Promise<string> {
      return (await healthOf(daemon)).sealing.error ?? "";
    }

    /** The database is what it was before any damage, and the log is whole. */
    async function expectMended(): Promise<void> {
      await expectWhole(daemon);
      await until("it seals again", async () => (await healthOf(daemon)).sealing.healthy);
      await daemon.stop();
      const now = await dumpTables(settings);
      for (const table of [...TABLES, "tail"] as const) {
        expect(now[table], table).to.deep.equal(healthy[table]);
      }
      expect(without(now.publications, "publish_time")).to.deep.equal(
        without(healthy.publications, "publish_time"),
      );
      expect(happenings(now)).to.deep.equal(happenings(healthy));
    }

    for (const state of ["SENT", "MINED"] as const) {
      it(`puts batches back where the chain has them, the last one's call ${state}`, async () => {
        await damage(async (sql) => {
          const other = Buffer.alloc(32, 1);
          await sql("update batches set transaction_hash = ? where number = 1", [other]);
          await sql("update batches set block_hash = ? where number = 2", [other]);
          await sql("update batches set gas_used = gas_used + 1 where number = 3");
          await sql("update batches set block_time = block_time + 1 where number = 4");
          await sql(
            "update batches set transaction_hash = null, block_number = null, block_hash = null, " +
              "block_time = null, gas_used = null where number = ?",
            [count],
          );
          await sql("update operations set state = ? where number = ?", [state, count]);
        });
        await until("health says what to do", async () =>
          (await sealingError()).includes(
            `batch ${count} is on chain, but following missed it: call SyncBlocks`,
          ),
        );
        const last = (await sync(daemon.grpc)).at(-1);
        expect(last).to.include({ batchesFound: BigInt(count), batchesMended: 5n });
        await expectMended();
      });
    }

    for (const state of ["SENT", "MINED"] as const) {
      it(`puts evidence back where the chain has it, the calls of its groups ${state}`, async () => {
        await damage(async (sql) => {
          const [first, second, third] = healthy.evidence.map(({ id }) => id);
          const other = Buffer.alloc(20, 1);
          await sql(`update evidence set ${PLACE.join(" = null, ")} = null where id = ?`, [first]);
          await sql("update evidence set submitter = ? where id = ?", [other, second]);
          await sql("update evidence set block_time = block_time + 1 where id = ?", [third]);
          await sql("update strange_anchors set cid = ? where log_index = 0", [other]);
          await sql("delete from strange_anchors where log_index = 1");
          await sql("update operations set state = ? where kind = 'EVIDENCE'", [state]);
        });
        const last = (await sync(daemon.http)).at(-1);
        expect(last).to.include({ evidenceFound: BigInt(EVIDENCE + STRANGE) });
        // Whoever anchors finds what is there already, and mends it where it comes first.
        expect(Number(last?.evidenceMended)).to.be.within(2, 5);
        expect(last).to.include({ batchesFound: BigInt(count), batchesMended: 0n });
        await expectMended();
      });
    }

    it("leaves evidence alone that is marked as anchored where the chain has nothing of it", async () => {
      const columns = `subject_key, content, ${PLACE.join(", ")}`;
      const forged = Buffer.alloc(32, 1);
      await damage((sql) =>
        sql(
          `insert into evidence (record_id, digest, cid, ${columns}) ` +
            `select ?, ?, '', ${columns} from evidence where id = ?`,
          [forged, forged, healthy.evidence[0]?.["id"]],
        ),
      );
      expect((await sync(daemon.grpc)).at(-1)).to.include({ evidenceMended: 0n });
      const problems = await problemsOf(daemon);
      expect(problems.map(({ column }) => column)).to.deep.equal(["evidence.record_id"]);
      await daemon.stop();
      const { evidence } = await dumpTables(settings);
      expect(evidence.slice(0, EVIDENCE)).to.deep.equal(healthy.evidence);
      expect(evidence).to.have.length(EVIDENCE + 1);
      await withDatabase(settings, (sql) => sql("delete from evidence where digest = ?", [forged]));
    });

    it("tells what the feed has not told", async () => {
      await damage(async (sql) => {
        await sql("delete from events where batch_number = 3");
        await sql("delete from events where batch_number = 5 and finality = 3");
      });
      expect((await sync(daemon.http)).at(-1)).to.include({ batchesMended: 2n });
      await expectMended();
    });

    const REMAINS = {
      "without its row": [],
      "without its row, leaves and records": ["leaves", "records"],
      "without anything": ["leaves", "records", "requests", "publications"],
    } as const;

    for (const [state, tables] of Object.entries(REMAINS)) {
      it(`adopts the last batch anew that was left ${state}`, async () => {
        const firstSeq = healthy.batches.at(-1)?.["first_seq"];
        await damage(async (sql) => {
          await sql("delete from batches where number = ?", [count]);
          for (const table of tables) {
            await (table === "publications"
              ? sql("delete from publications where batch_number = ?", [count])
              : sql(`delete from ${table} where seq >= ?`, [firstSeq]));
          }
        });
        await until("health says what to do", async () =>
          (await sealingError()).includes(`has ${count} batches, this database ${count - 1}`),
        );
        const last = (await sync(daemon.grpc)).at(-1);
        expect(last).to.include({ batchesFound: BigInt(count), batchesMended: 1n });
        await expectMended();
      });
    }

    it("leaves what is right alone, and reports how far it has come", async () => {
      await start();
      const { blockNumber } = await daemon.grpc.getStats({});
      for (const door of DOORS) {
        const reports = await sync(door.client(daemon));
        expect(reports.length, "in parts").to.be.at.least(3);
        const read = reports.map(({ blocksRead }) => Number(blocksRead));
        expect(read).to.deep.equal([...read].sort((a, b) => a - b));
        const last = reports.at(-1)!;
        expect(last.blocksRead).to.equal(last.blocksTotal);
        expect(last.blocksTotal).to.equal(blockNumber - deployBlock() + 1n);
        expect(last).to.include({
          blockNumber,
          batchesFound: BigInt(count),
          batchesMended: 0n,
          evidenceFound: BigInt(EVIDENCE + STRANGE),
          evidenceMended: 0n,
        });
      }
      await daemon.stop();
      const now = await dumpTables(settings);
      for (const table of [...TABLES, "operations"] as const) {
        expect(now[table], table).to.deep.equal(healthy[table]);
      }
      expect(happenings(now)).to.deep.equal(happenings(healthy));
    });

    function deployBlock(): bigint {
      return BigInt(healthy.identity[0]?.["deploy_block"] ?? 0);
    }

    it("reads no more of a range than is of the log and was followed", async () => {
      await start();
      const { blockNumber } = await daemon.grpc.getStats({});
      const before = (await sync(daemon.grpc, 0n, deployBlock() - 1n)).at(-1);
      expect(before).to.include({ blocksRead: 0n, blocksTotal: 0n, batchesFound: 0n });
      const behind = (await sync(daemon.http, blockNumber + 1n, blockNumber + 10n)).at(-1);
      expect(behind).to.include({ blocksRead: 0n, blocksTotal: 0n, batchesFound: 0n });
      const end = (await sync(daemon.grpc, blockNumber, blockNumber + 10n)).at(-1);
      expect(end).to.include({ blockNumber, blocksRead: 1n, blocksTotal: 1n });
      const block = BigInt(healthy.batches[2]?.["block_number"] ?? 0);
      const one = (await sync(daemon.http, block, block)).at(-1);
      expect(one).to.include({ blockNumber: block, blocksTotal: 1n, batchesFound: 1n });
    });

    it("refuses a range that ends before it begins", async () => {
      await start();
      for (const door of DOORS) {
        const refusal = await refusalOf(sync(door.client(daemon), 7n, 6n));
        expect(refusal, door.name).to.include({
          code: "InvalidArgument",
          reason: "ERROR_REASON_INVALID_FIELD",
        });
        expect(refusal.fields).to.deep.equal(["to_block"]);
      }
    });
  });
}
