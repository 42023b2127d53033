import { expect } from "chai";
import type { SyncBlocksResponse } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { DATABASES } from "../support/databases.js";
import { DOORS, refusalOf } from "../support/doors.js";
import type { AuditClient } from "../support/doors.js";
import { startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { expectWhole, healthOf } from "../support/log-checks.js";
import { randomOf, seedOfRun } from "../support/random.js";
import { recordSome, settled } from "../support/rebuild.js";
import { dumpTables, withDatabase, without } from "../support/tables.js";
import type { Dump, Sql } from "../support/tables.js";
import { until } from "../support/until.js";

/** At least so many batches. */
const BATCHES = 6;

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

for (const kind of DATABASES) {
  describe(`SyncBlocks, on ${kind.name}`, function () {
    this.timeout(120_000);

    const seed = seedOfRun();
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
      for (let batch = 0; batch < BATCHES; batch++) {
        await recordSome(daemon, random, 4);
        await daemon.grpc.sealNow({});
      }
      await chain.rpc("evm_mine", { blocks: 1_100 });
      await settled(daemon);
      await daemon.stop();
      healthy = await dumpTables(settings);
      count = healthy.batches.length;
    });

    after(() => chain?.stop());

    afterEach(() => daemon?.kill());

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
      for (const table of ["tail", "records", "requests", "leaves", "batches"] as const) {
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
          await sql("update operations set state = ? where batch_number = ?", [state, count]);
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
        });
      }
      await daemon.stop();
      const now = await dumpTables(settings);
      for (const table of ["records", "requests", "leaves", "batches", "operations"] as const) {
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
