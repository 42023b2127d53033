import { join } from "node:path";
import { expect } from "chai";
import { AnchordError } from "../../src/core/errors.js";
import { openDatabase } from "../../src/store/database.js";
import type { Database } from "../../src/store/database.js";
import { appendFeed, feedBounds, Level, pruneFeed, renewEpoch } from "../../src/store/feed.js";
import type { BatchHappening, Happening } from "../../src/store/feed.js";
import { migrate } from "../../src/store/migrations.js";
import { chunkFrom } from "../../src/stream/chunk.js";
import { decodeCursor, WHOLE } from "../../src/stream/cursor.js";
import { EventFeed } from "../../src/stream/feed.js";
import { EventFilter } from "../../src/stream/filter.js";
import { temporaryFolder } from "../support/daemon.js";
import { sharedMysql } from "../support/mysql.js";

const FLAVOURS = {
  SQLite: () => Promise.resolve({ sqlitePath: join(temporaryFolder(), "log.db") }),
  MariaDB: async () => {
    const server = await sharedMysql();
    return server && { mysqlUrl: await server.createDatabase() };
  },
};

for (const [flavour, target] of Object.entries(FLAVOURS)) {
  describe(`points of the feed on ${flavour}`, function () {
    this.timeout(60_000);

    let database: Database;

    beforeEach(async function () {
      const opened = await target();
      if (opened === undefined) return this.skip();
      database = openDatabase(opened);
      await migrate(database);
    });

    afterEach(() => database.close());

    const sealed = (block: number, level: BatchHappening["level"] = Level.Provisional) =>
      ({
        kind: "SEALED",
        level,
        batchNumber: block,
        anchor: {
          transactionHash: Buffer.alloc(32, block),
          blockNumber: block,
          blockHash: Buffer.alloc(32, block),
          blockTime: 0,
          gasUsed: 0,
        },
      }) as const;

    const tell = (finalNumber: number, ...happenings: Happening[]) =>
      database.transact((trx) => appendFeed(trx, happenings, finalNumber));
    const prune = (rows: number) =>
      database.transact((trx) => pruneFeed(trx, Number.MAX_SAFE_INTEGER, rows));
    const renumber = () => database.transact((trx) => renewEpoch(trx, "f".repeat(16)));
    const points = () => new EventFeed(database).points;
    const cursorAt = async (number: number, done = WHOLE) =>
      points().cursorOf({ number, done }, await feedBounds(database));

    async function refused(cursor: string): Promise<AnchordError> {
      try {
        await points().resolve(cursor);
      } catch (error) {
        if (error instanceof AnchordError) return error;
        throw error;
      }
      throw new Error("the cursor was not refused");
    }

    it("lead back to where they were made, in the middle of a row too", async () => {
      await tell(-1, sealed(1), sealed(2));
      for (const done of [0, 7, WHOLE]) {
        const found = await points().resolve(await cursorAt(2, done));
        expect(found).to.deep.equal({ number: 2, done });
      }
    });

    it("START and NOW hold in a feed that is still empty, and when it fills", async () => {
      const start = await points().cursorOf(await points().start());
      await tell(-1, sealed(1));
      expect(await points().resolve(start)).to.deep.equal({ number: 0, done: WHOLE });
      expect(await points().now()).to.deep.equal({ number: 1, done: WHOLE });
    });

    it("expire when what follows was pruned, and the refusal names one that works", async () => {
      await tell(-1, sealed(1), sealed(2), sealed(3));
      const gone = await cursorAt(1);
      const inPart = await cursorAt(2, 1);
      const kept = await cursorAt(2);
      await prune(2);
      expect(await points().resolve(kept)).to.deep.equal({ number: 2, done: WHOLE });
      for (const cursor of [gone, inPart]) {
        const { reason, detail } = await refused(cursor);
        expect(reason).to.equal("CURSOR_EXPIRED");
        const oldest = await points().resolve(detail.metadata?.["oldest_cursor"] ?? "");
        expect(oldest).to.deep.equal({ number: 2, done: WHOLE });
      }
    });

    it("go on by the chain in another numbering: at the first row about a block that was not final", async () => {
      await tell(
        -1,
        sealed(1),
        sealed(2),
        sealed(3),
        sealed(1, Level.Final),
        sealed(2, Level.Final),
      );
      const cursor = await cursorAt(5); // block 1 was told of as final before
      expect(decodeCursor(cursor)?.finalNumber).to.equal(1);
      await renumber();
      expect(await points().resolve(cursor)).to.deep.equal({ number: 1, done: WHOLE });
    });

    it("go on at the end in a backup in which everything is final", async () => {
      await tell(-1, sealed(1), sealed(9, Level.Final));
      const cursor = await cursorAt(2);
      await database.transact(async (trx) => {
        await trx.deleteFrom("events").where("number", "=", 2).execute();
        await trx.updateTable("feed").set({ next_number: 2 }).execute();
      });
      expect(await points().resolve(cursor)).to.deep.equal({ number: 1, done: WHOLE });
    });

    it("go on before what was told late, which a cursor may lie behind", async () => {
      await tell(-1, sealed(1), sealed(1, Level.Final), sealed(5), sealed(5, Level.Final));
      await tell(5, { kind: "OPERATION_FAILED", batchNumber: 6, detail: "{}" });
      await tell(5, sealed(3), sealed(3, Level.Final)); // missed, and told once it was noticed
      const cursor = await cursorAt(5);
      expect(decodeCursor(cursor)?.finalNumber).to.equal(5);
      await renumber();
      expect(await points().resolve(cursor)).to.deep.equal({ number: 5, done: WHOLE });
    });

    it("expire in another numbering where rows about their blocks may be missing", async () => {
      await tell(-1, sealed(1), sealed(2), sealed(1, Level.Final), sealed(2, Level.Final));
      const early = await cursorAt(1);
      await tell(1, sealed(3));
      const late = await points().cursorOf({ number: 5, done: WHOLE });
      await renumber();
      await prune(1);
      expect((await refused(early)).reason).to.equal("CURSOR_EXPIRED");
      await prune(1); // of block 2 only that it is final is still told
      expect((await refused(late)).reason).to.equal("CURSOR_EXPIRED");
    });

    it("pass over a row that somebody has deleted, and end at one that was pruned", async () => {
      const failed = (batchNumber: number) =>
        ({ kind: "OPERATION_FAILED", batchNumber, detail: "{}" }) as const;
      await tell(-1, failed(1), failed(2), failed(3));
      await database.transact((trx) => trx.deleteFrom("events").where("number", "=", 2).execute());
      const from = { number: 0, done: WHOLE };
      const read = () =>
        chunkFrom(new EventFeed(database).source, new EventFilter({}), from, {
          next: 4,
          mostEvents: 10,
        });
      const chunk = await read();
      expect(chunk?.tellings.map(({ row }) => row.batchNumber)).to.deep.equal([1, 3]);
      expect(chunk?.to).to.deep.equal({ number: 3, done: WHOLE });
      await prune(1);
      expect(await read()).to.equal(undefined);
    });

    it("are refused where they are none", async () => {
      for (const cursor of ["x", "AAAA", await cursorAt(0).then((text) => text.slice(1))]) {
        expect((await refused(cursor)).reason, cursor).to.equal("INVALID_CURSOR");
      }
    });
  });
}
