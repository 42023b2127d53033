import { join } from "node:path";
import { expect } from "chai";
import { sql } from "kysely";
import { forgetEvents } from "../../src/flow/retention.js";
import { hex, sha256 } from "../../src/core/bytes.js";
import type { StoredAnchor } from "../../src/store/batches.js";
import { chainPosition, movePosition, storeIdentity } from "../../src/store/chain-position.js";
import { openDatabase } from "../../src/store/database.js";
import type { Database } from "../../src/store/database.js";
import {
  appendFeed,
  feedBounds,
  feedRows,
  firstRowAbove,
  Level,
  pruneFeed,
  renewEpoch,
} from "../../src/store/feed.js";
import type { BatchHappening, FeedRow, Happening } from "../../src/store/feed.js";
import { migrate } from "../../src/store/migrations.js";
import { temporaryFolder } from "../support/daemon.js";
import { DATABASES } from "../support/databases.js";

const { Provisional, Confirmed, Final } = Level;
const DAY_MS = 86_400_000;

/** Where a batch stands in a block; `fork` tells blocks of one number apart. */
function anchorAt(blockNumber: number, fork = "a"): StoredAnchor {
  return {
    transactionHash: sha256(Buffer.from(`transaction ${blockNumber} ${fork}`)),
    blockNumber,
    blockHash: sha256(Buffer.from(`block ${blockNumber} ${fork}`)),
    blockTime: 1_700_000_000 + blockNumber,
    gasUsed: 90_000,
  };
}

function sealedAt(
  batchNumber: number,
  blockNumber: number,
  level: BatchHappening["level"] = Provisional,
  fork = "a",
): BatchHappening {
  return { kind: "SEALED", level, batchNumber, anchor: anchorAt(blockNumber, fork) };
}

function retractedAt(batchNumber: number, blockNumber: number, fork = "a"): BatchHappening {
  return { ...sealedAt(batchNumber, blockNumber, Provisional, fork), kind: "RETRACTED" };
}

function broken(batchNumber: number, detail = "{}"): Happening {
  return { kind: "INTEGRITY_BROKEN", batchNumber, detail };
}

/** What is compared of a row. */
function summary({ number, kind, batchNumber, occurrence }: FeedRow): string {
  return `${number} ${kind} ${batchNumber} ${occurrence}`;
}

for (const { name, settings } of DATABASES) {
  describe(`The feed, on ${name}`, function () {
    this.timeout(60_000);

    const opened: Database[] = [];
    let target: Parameters<typeof openDatabase>[0];
    let database: Database;

    function open(): Database {
      const another = openDatabase(target);
      opened.push(another);
      return another;
    }

    beforeEach(async function () {
      const found = await settings();
      if (found === undefined) return this.skip();
      const { DATABASE_URL: mysqlUrl } = found;
      target =
        mysqlUrl === undefined
          ? { sqlitePath: join(temporaryFolder(), "anchord.db") }
          : { mysqlUrl };
      database = open();
      await migrate(database);
    });

    afterEach(async () => {
      for (const each of opened.splice(0)) await each.close();
    });

    async function append(happenings: readonly Happening[], finalNumber = -1): Promise<void> {
      await database.transact((trx) => appendFeed(trx, happenings, finalNumber));
    }

    async function rows(): Promise<FeedRow[]> {
      return feedRows(database, 1, 10_000);
    }

    /** Sets when the rows came to be: the first at this time, each a step after the one before. */
    async function setTimes(first: number, step: number): Promise<void> {
      await database.transact((trx) =>
        trx
          .updateTable("events")
          .set({ create_time: sql<number>`(number - 1) * ${step} + ${first}` })
          .execute(),
      );
    }

    it("numbers rows from 1, in their order, and gives them back as they were told", async () => {
      expect(await feedBounds(database)).to.include({ first: 1, next: 1 });
      const happenings = [
        sealedAt(1, 10),
        { kind: "OPERATION_FAILED", batchNumber: 2, detail: '{"reason":"gone"}' } as const,
        sealedAt(1, 10, Confirmed),
      ];
      const before = Date.now();
      await append(happenings, 4);
      await append([broken(7, `{"message":"${"x".repeat(100_000)}"}`)], 5);
      await append([]);
      const found = await rows();
      expect(found.map(({ number }) => number)).to.deep.equal([1, 2, 3, 4]);
      for (const [i, happening] of happenings.entries()) {
        const { number: _, occurrence, finalNumber, createTime, ...rest } = found[i]!;
        expect(rest).to.deep.equal(happening);
        expect([occurrence, finalNumber]).to.deep.equal([0, 4]);
        expect(createTime).to.be.within(before, Date.now());
      }
      expect(found[3]).to.include({ kind: "INTEGRITY_BROKEN", batchNumber: 7, finalNumber: 5 });
      expect(await feedBounds(database)).to.include({ first: 1, next: 5 });
      expect((await feedRows(database, 2, 2)).map(({ number }) => number)).to.deep.equal([2, 3]);
    });

    it("leaves no gap where a transaction was rolled back", async () => {
      await append([sealedAt(1, 10)]);
      const failing = database.transact(async (trx) => {
        await appendFeed(trx, [sealedAt(2, 11), sealedAt(3, 11)], -1);
        throw new Error("on purpose");
      });
      await failing.catch(() => undefined);
      await append([sealedAt(2, 12)]);
      expect((await rows()).map(({ number }) => number)).to.deep.equal([1, 2]);
      expect((await feedBounds(database)).next).to.equal(3);
    });

    it("counts how often a batch had left this very block before", async () => {
      await append([sealedAt(1, 10), sealedAt(2, 10)]);
      await append([retractedAt(1, 10), retractedAt(2, 10)]);
      await append([
        sealedAt(1, 10, Provisional, "b"),
        sealedAt(1, 10),
        sealedAt(1, 10, Confirmed),
      ]);
      await append([retractedAt(1, 10), sealedAt(1, 10), retractedAt(1, 10)]);
      await append([sealedAt(1, 10), sealedAt(2, 11), sealedAt(3, 10)]);
      expect((await rows()).map(summary)).to.deep.equal([
        "1 SEALED 1 0",
        "2 SEALED 2 0",
        "3 RETRACTED 1 0",
        "4 RETRACTED 2 0",
        "5 SEALED 1 0", // another block of the same number
        "6 SEALED 1 1",
        "7 SEALED 1 1",
        "8 RETRACTED 1 1",
        "9 SEALED 1 2",
        "10 RETRACTED 1 2",
        "11 SEALED 1 3",
        "12 SEALED 2 0",
        "13 SEALED 3 0",
      ]);
    });

    it("counts for more batches than one statement can ask for", async () => {
      const numbers = Array.from({ length: 1_200 }, (_, i) => i + 1);
      await append(numbers.map((number) => retractedAt(number, 10)));
      await append(numbers.map((number) => sealedAt(number, 10)));
      const found = await feedRows(database, 1_201, 2_000);
      expect(found).to.have.length(1_200);
      expect(found.every(({ occurrence }) => occurrence === 1)).to.equal(true);
    });

    it("says with each row up to which block everything was told before it", async () => {
      await append(
        [
          sealedAt(5, 30),
          sealedAt(3, 22, Confirmed),
          sealedAt(1, 15, Final),
          sealedAt(2, 15, Final),
          sealedAt(3, 19, Final),
          broken(0),
        ],
        12,
      );
      expect((await rows()).map(({ finalNumber }) => finalNumber)).to.deep.equal([
        12, 12, 14, 14, 18, 18,
      ]);
      await append([sealedAt(4, 19, Final)], 19);
      expect((await rows()).at(-1)?.finalNumber, "never goes back").to.equal(19);
    });

    it("finds the first row about a block above a number", async () => {
      expect(await firstRowAbove(database, -1)).to.equal(undefined);
      await append([sealedAt(1, 10), broken(1), sealedAt(2, 12), sealedAt(1, 10, Final)]);
      expect(await firstRowAbove(database, 9)).to.equal(1);
      expect(await firstRowAbove(database, 10)).to.equal(3);
      expect(await firstRowAbove(database, 12)).to.equal(undefined);
    });

    it("forgets the oldest rows, so many at once, and numbers on", async () => {
      const prune = (before: number, limit: number) =>
        database.transact((trx) => pruneFeed(trx, before, limit));
      await append([1, 2, 3, 4, 5].map((number) => sealedAt(number, 10)));
      await setTimes(1_000, 100);
      expect(await prune(1_000, 10), "nothing is older").to.equal(0);
      expect(await prune(1_300, 2)).to.equal(2);
      expect(await prune(1_300, 2)).to.equal(1);
      expect(await prune(1_300, 2)).to.equal(0);
      expect((await rows()).map(({ number }) => number)).to.deep.equal([4, 5]);
      expect(await feedBounds(database)).to.include({ first: 4, next: 6 });
      expect(await prune(2_000, 10)).to.equal(2);
      expect(await feedBounds(database)).to.include({ first: 6, next: 6 });
      await append([sealedAt(6, 11)]);
      expect((await rows()).map(({ number }) => number)).to.deep.equal([6]);
    });

    it("keeps the rows of two writers at once dense, and those of each append together", async () => {
      const write = async (writer: Database, batch: number) => {
        for (let n = 0; n < 25; n++) {
          const happenings = [1, 2, 3].map((part) => broken(batch, String(3 * n + part)));
          await writer.transact((trx) => appendFeed(trx, happenings, -1));
        }
      };
      const forget = async (writer: Database) => {
        let forgotten = 0;
        while (forgotten < 30)
          forgotten += await writer.transact((trx) => pruneFeed(trx, Date.now() + 1_000, 4));
        return forgotten;
      };
      const [first, second, third] = [open(), open(), open()];
      const [, , forgotten] = await Promise.all([write(first, 1), write(second, 2), forget(third)]);
      const found = await rows();
      const bounds = await feedBounds(database);
      expect(bounds).to.include({ first: forgotten + 1, next: 151 });
      expect(found.map(({ number }) => number)).to.deep.equal(
        Array.from({ length: 150 - forgotten }, (_, i) => forgotten + 1 + i),
      );
      for (const writer of [1, 2]) {
        const own = found.filter(({ batchNumber }) => batchNumber === writer);
        const parts = own.map((row) => ("detail" in row ? Number(row.detail) : 0));
        expect(parts).to.deep.equal(parts.map((_, i) => parts[0]! + i));
      }
      for (let at = 0; at < found.length; at++) {
        if ((found[at]!.number - 1) % 3 !== 0) continue;
        const together = found.slice(at, at + 3).map(({ batchNumber }) => batchNumber);
        expect(new Set(together).size, `rows from ${found[at]!.number}`).to.equal(1);
      }
    });

    it("has a mark of its own, until it is given another", async () => {
      const { epoch } = await feedBounds(database);
      expect(epoch).to.match(/^[0-9a-f]{16}$/);
      await database.transact((trx) => renewEpoch(trx, "0123456789abcdef"));
      expect((await feedBounds(open())).epoch).to.equal("0123456789abcdef");
    });

    describe("its retention", () => {
      const NOW = Date.UTC(2030, 0, 31);

      beforeEach(async () => {
        await storeIdentity(database, {
          chainId: 1337n,
          contract: `0x${"11".repeat(20)}`,
          evidence: undefined,
          sla: undefined,
          log: sha256(Buffer.from("log")),
          genesisHash: `0x${hex(sha256(Buffer.from("genesis")))}`,
          deployBlock: 1,
        });
      });

      async function finalUpTo(finalNumber: number): Promise<void> {
        const from = await chainPosition(database);
        if (from === undefined) throw new Error("the database has no identity");
        const to = { blockNumber: 100, confirmedNumber: finalNumber, finalNumber };
        await database.transact((trx) => movePosition(trx, from, to));
      }

      /** Forgets what is older than so many days, step by step, until nothing more is. */
      async function forget(days: number, step?: number): Promise<number[]> {
        const counts: number[] = [];
        for (;;) {
          const count = await forgetEvents(database, NOW - days * DAY_MS, step);
          if (count === 0) return counts;
          counts.push(count);
        }
      }

      it("forgets what is older, in bounded steps", async () => {
        await finalUpTo(50);
        await append(Array.from({ length: 10 }, (_, i) => sealedAt(i + 1, 10 + i)));
        await setTimes(NOW - 9.5 * DAY_MS, DAY_MS); // 9.5 days old, 8.5, … 0.5
        expect(await forget(30)).to.deep.equal([]);
        expect(await forget(3, 3)).to.deep.equal([3, 3, 1]);
        expect((await rows()).map(({ number }) => number)).to.deep.equal([8, 9, 10]);
        expect(await forget(1)).to.deep.equal([2]);
      });

      it("keeps what happened in a block that is not final, with all that came after it", async () => {
        await finalUpTo(11);
        await append([
          sealedAt(1, 10),
          broken(1),
          sealedAt(2, 12),
          broken(2),
          sealedAt(1, 10, Final),
        ]);
        await setTimes(NOW - 90 * DAY_MS, DAY_MS);
        expect(await forget(30)).to.deep.equal([2]);
        expect((await feedBounds(database)).first).to.equal(3);
        expect(await forget(30)).to.deep.equal([]);
        await finalUpTo(12);
        expect(await forget(30)).to.deep.equal([3]);
      });

      it("keeps everything of blocks while nothing is final", async () => {
        await append([sealedAt(1, 10)]);
        await setTimes(NOW - 90 * DAY_MS, DAY_MS);
        expect(await forget(30)).to.deep.equal([]);
      });
    });
  });
}
