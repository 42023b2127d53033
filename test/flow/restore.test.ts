import { cpSync, existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { ReceiptVerdict } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import type { RecordEventResponse } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import { hex, sha256 } from "../../src/core/bytes.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { expectWhole } from "../support/log-checks.js";
import { sharedMysql } from "../support/mysql.js";
import { databasesOfRun } from "../support/databases.js";
import { randomOf, seedOfRun } from "../support/random.js";
import { rebuild, recordSome, settled } from "../support/rebuild.js";
import type { Event } from "../support/rebuild.js";
import { startRelay } from "../support/relay.js";
import type { Relay } from "../support/relay.js";
import { copyMysql, dumpTables } from "../support/tables.js";
import { until } from "../support/until.js";

const { FINAL } = RecordState;

function event(requestId: string, of: string): Event {
  return {
    subject: "user/1",
    requestId,
    body: { case: "custom", value: { type: "test", data: { of } } },
  };
}

const seed = seedOfRun();

for (const { name: flavour } of databasesOfRun(seed)) {
  describe(`A backup that was restored, on ${flavour}`, function () {
    this.timeout(180_000);

    const random = randomOf(seed);
    let chain: ExternalChain;
    let relay: Relay;
    let settings: Record<string, string> & { readonly DATA_DIR: string };
    let daemon: Daemon | undefined;
    let restore: () => Promise<void>;

    before(async function () {
      console.log(`      SEED=${seed}`);
      if (flavour === "MariaDB" && (await sharedMysql()) === undefined) return this.skip();
      chain = await startExternalChain();
    });

    after(() => chain?.stop());

    let logs = 0;

    beforeEach(async () => {
      relay = await startRelay(chainPort());
      settings = {
        ...chain.environment,
        BLOCKCHAIN_RPC_URL: relay.url,
        CONFIRMATIONS: "0",
        MAX_BATCH_RECORDS: "5",
        LOG_NAME: `${flavour} ${logs++}`,
        DATA_DIR: temporaryFolder(),
      };
      if (flavour === "MariaDB") {
        settings["DATABASE_URL"] = (await (await sharedMysql())?.createDatabase()) ?? "";
      }
    });

    afterEach(async () => {
      await daemon?.kill();
      await relay.close();
    });

    function chainPort(): number {
      return Number(new URL(chain.url).port);
    }

    async function start(): Promise<Daemon> {
      daemon = await startDaemon(settings);
      return daemon;
    }

    /** Keeps a copy of the database of the stopped daemon, for `restore`. */
    async function backUp(): Promise<void> {
      const { DATABASE_URL: url, DATA_DIR: folder } = settings;
      if (url !== undefined) {
        const copy = await copyMysql(url);
        restore = async () => void (settings["DATABASE_URL"] = await copyMysql(copy));
        return;
      }
      const copy = temporaryFolder();
      copyFiles(folder, copy);
      restore = async () => copyFiles(copy, folder);
    }

    function copyFiles(from: string, to: string): void {
      for (const name of ["anchord.db", "anchord.db-wal", "anchord.db-shm"]) {
        rmSync(join(to, name), { force: true });
        if (existsSync(join(from, name))) cpSync(join(from, name), join(to, name));
      }
    }

    /** Records without a chain, so that all of it waits. Resolves to the ids, when the daemon has stopped. */
    async function recordPending(count: number): Promise<string[]> {
      relay.target = undefined;
      const running = await start();
      const ids = await recordSome(running, random, count);
      await running.stop();
      relay.target = chainPort();
      return ids;
    }

    /** The records are whole, have these ids, and each a receipt that holds. */
    async function expectKept(running: Daemon, ids: readonly string[]): Promise<void> {
      await settled(running);
      const records = await expectWhole({ ...running, rpcUrl: chain.url });
      expect(records.map(({ id }) => id)).to.have.same.members(ids);
      for (const { id } of records) {
        const { receipt } = await running.grpc.getReceipt({ recordId: id });
        const { verdict, message } = await running.grpc.verifyReceipt({ receipt: receipt! });
        expect(verdict, message).to.equal(ReceiptVerdict.VALID);
      }
    }

    it("older by several batches: what is missing is adopted, and sealing goes on", async () => {
      const first = await start();
      const ids = await recordSome(first, random, 8);
      await settled(first);
      await first.stop();
      await backUp();
      const second = await start();
      ids.push(...(await recordSome(second, random, 22)));
      await settled(second);
      const records = await expectWhole(second);
      await second.stop();
      const before = await dumpTables(settings);
      await restore();
      const third = await start();
      await settled(third);
      expect(await expectWhole(third)).to.deep.equal(records);
      ids.push(...(await recordSome(third, random, 7)));
      await expectKept(third, ids);
      await third.stop();
      const after = await dumpTables(settings);
      expect(after.batches.slice(0, before.batches.length)).to.deep.equal(before.batches);
      expect(after.feed[0]?.["epoch"]).to.not.equal(before.feed[0]?.["epoch"]);
    });

    it("with records that were sealed after it was made: each of them is there once", async () => {
      const first = await start();
      const ids = await recordSome(first, random, 6);
      await settled(first);
      await first.stop();
      ids.push(...(await recordPending(7)));
      await backUp();
      const second = await start();
      ids.push(...(await recordSome(second, random, 9)));
      await settled(second);
      await second.stop();
      await restore();
      const third = await start();
      await expectKept(third, ids);
      ids.push(...(await recordSome(third, random, 4)));
      await expectKept(third, ids);
    });

    it("with a batch that was signed but not seen on the chain: it stays as it was signed", async () => {
      const first = await start();
      const ids = await recordSome(first, random, 3);
      await settled(first);
      await first.stop();
      ids.push(...(await recordPending(4)));
      const fault = { ANCHORD_FAULT: "submit.before-broadcast" };
      const dying = await startDaemon({ ...settings, ...fault }).catch(() => undefined);
      await dying?.ended; // where it did not die before it was ready
      const { operations, batches } = await dumpTables(settings);
      expect(operations.at(-1)).to.include({ state: "SENT", number: batches.length });
      await backUp();
      const second = await start();
      ids.push(...(await recordSome(second, random, 12)));
      await settled(second);
      await second.stop();
      await restore();
      await expectKept(await start(), ids);
    });

    it("and written to before it could see the chain: new records move behind the adopted", async () => {
      const first = await start();
      const ids = await recordSome(first, random, 6);
      await settled(first);
      await first.stop();
      ids.push(...(await recordPending(4)));
      await backUp();
      const second = await start();
      ids.push(...(await recordSome(second, random, 9)));
      const asked = await second.grpc.recordEvent(event("both", "first life"));
      ids.push(asked.recordId, ...(await recordSome(second, random, 3)));
      await settled(second);
      const missed = await expectWhole(second);
      await second.stop();
      await restore();

      relay.target = undefined;
      const third = await start();
      const waiting = [event("", "waits"), event("both", "second life"), event("own", "waits too")];
      const calls: Promise<RecordEventResponse>[] = [];
      for (const [i, each] of waiting.entries()) {
        calls.push(third.grpc.recordEvent({ ...each, waitFor: FINAL }, { timeoutMs: 60_000 }));
        await hasRecords(third, 10 + i + 1);
      }
      const more = await recordSome(third, random, 6);
      relay.target = chainPort();
      const answers = await Promise.all(calls);
      for (const { recordId, state, receipt, replayed } of answers) {
        expect({ state, replayed }).to.deep.equal({ state: FINAL, replayed: false });
        expect(hex(sha256(receipt!.entry))).to.equal(recordId);
        const { verdict, message } = await third.grpc.verifyReceipt({ receipt: receipt! });
        expect(verdict, message).to.equal(ReceiptVerdict.VALID);
      }
      ids.push(...answers.map(({ recordId }) => recordId), ...more);
      await expectKept(third, ids);
      const records = await expectWhole({ ...third, rpcUrl: chain.url });
      expect(records.slice(0, missed.length)).to.deep.equal(missed);
      expect(records.slice(missed.length).map(({ id }) => id)).to.deep.equal([
        ...answers.map(({ recordId }) => recordId),
        ...more,
      ]);
      const again = await third.grpc.recordEvent(event("both", "first life"));
      expect(again).to.include({ replayed: true, recordId: asked.recordId });
      const own = await third.grpc.recordEvent(event("own", "waits too"));
      expect(own).to.include({ replayed: true, recordId: answers[2]!.recordId });
      await third.stop();
      await expectRebuilt();
    });

    async function hasRecords({ grpc }: Daemon, count: number): Promise<void> {
      await until(
        `there are ${count} records`,
        async () => (await grpc.getStats({})).records === BigInt(count),
      );
    }

    /** A log that has a request id twice comes back as well. */
    async function expectRebuilt(): Promise<void> {
      const { DATABASE_URL: _, ...others } = settings;
      const there = { ...others, DATA_DIR: temporaryFolder() };
      for (const name of ["keys", "ipfs"]) {
        cpSync(join(settings.DATA_DIR, name), join(there.DATA_DIR, name), { recursive: true });
      }
      const { code, stderr } = await rebuild(there);
      expect(code, stderr).to.equal(0);
      const [before, after] = [await dumpTables(settings), await dumpTables(there)];
      for (const table of ["tail", "records", "requests", "leaves", "batches"] as const) {
        expect(after[table], table).to.deep.equal(before[table]);
      }
    }
  });
}
