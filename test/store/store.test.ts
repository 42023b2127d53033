import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { expect } from "chai";
import { CompiledQuery } from "kysely";
import type { Kysely } from "kysely";
import { AnchordError } from "../../src/core/errors.js";
import { hex, sha256, ZERO32 } from "../../src/core/bytes.js";
import type { Purpose } from "../../src/core/operation.js";
import type { EncodedRecord, RecordColumns } from "../../src/core/record.js";
import { Acceptor } from "../../src/flow/accept.js";
import type { Unit, UnitResult } from "../../src/store/append.js";
import {
  anchorBatch,
  findBatch,
  firstUnanchored,
  insertBatch,
  retractAbove,
  unanchoredBatches,
} from "../../src/store/batches.js";
import { adoptRecords } from "../../src/store/adopt.js";
import { openDatabase } from "../../src/store/database.js";
import type { Database } from "../../src/store/database.js";
import { feedBounds } from "../../src/store/feed.js";
import { currentLease, holdLease, releaseLease } from "../../src/store/leases.js";
import { migrate } from "../../src/store/migrations.js";
import {
  failOperation,
  freeNonce,
  insertOperation,
  minedOperation,
  mineOperation,
  offeredOperation,
  reopenOperations,
  sentOperations,
  waitingOperation,
} from "../../src/store/operations.js";
import {
  countRecords,
  findRecord,
  linkedRecords,
  listRecords,
  logLength,
  recordRows,
} from "../../src/store/records.js";
import type { RecordQuery } from "../../src/store/records.js";
import { requestsOfCaller } from "../../src/store/requests.js";
import { requestedSeal, requestSeal } from "../../src/store/seal-request.js";
import type { Tables } from "../../src/store/tables.js";
import { temporaryFolder } from "../support/daemon.js";
import { sharedMysql } from "../support/mysql.js";
import { randomOf, seedOfRun } from "../support/random.js";

/** How a database is opened, as often as one likes: each is another Database object on the same data. */
interface Opened {
  readonly flavour: string;
  readonly target: () => Promise<Parameters<typeof openDatabase>[0] | undefined>;
}

const FLAVOURS: readonly Opened[] = [
  {
    flavour: "SQLite",
    target: () => Promise.resolve({ sqlitePath: join(temporaryFolder(), "log.db") }),
  },
  {
    flavour: "MariaDB",
    target: async () => {
      const mysqlUrl = await (await sharedMysql())?.createDatabase();
      return mysqlUrl === undefined ? undefined : { mysqlUrl };
    },
  },
];

/** A record with an entry of its own. */
function record(
  columns: Partial<RecordColumns> = {},
  requestId?: string,
  body = "body",
): EncodedRecord {
  const entry = randomBytes(64);
  return {
    id: sha256(entry),
    entry,
    caller: "caller",
    request:
      requestId === undefined ? undefined : { id: requestId, hash: sha256(Buffer.from(body)) },
    columns: { subject: "subject", type: "type", actor: "actor", occurTime: 1, ...columns },
  };
}

function unit(...records: EncodedRecord[]): Unit {
  return { records };
}

function seqsOf(result: UnitResult | undefined): number[] {
  if (result === undefined || result === "skipped" || !("appended" in result)) {
    throw new Error(`not appended: ${JSON.stringify(result)}`);
  }
  return result.appended.map(({ seq }) => seq);
}

const failureOf = (call: Promise<unknown>) =>
  call.then(
    () => undefined,
    (error: unknown) => error as Error,
  );

for (const { flavour, target } of FLAVOURS) {
  describe(`The store, on ${flavour}`, function () {
    this.timeout(60_000);

    const opened: Database[] = [];
    let where: Parameters<typeof openDatabase>[0];
    let database: Database;

    const run = (statement: string) =>
      database.schema.executeQuery(CompiledQuery.raw(statement, []));

    function open(): Database {
      const another = openDatabase(where);
      opened.push(another);
      return another;
    }

    beforeEach(async function () {
      const found = await target();
      if (found === undefined) return this.skip();
      where = found;
      database = open();
      await migrate(database);
    });

    afterEach(async () => {
      for (const each of opened.splice(0)) await each.close();
    });

    describe("append", () => {
      it("gives dense positions in the order of the units, each with its records in theirs", async () => {
        const units = [
          unit(record(), record()),
          unit(record()),
          unit(record(), record(), record()),
        ];
        const results = await database.append(units);
        expect(results.map(seqsOf)).to.deep.equal([[0, 1], [2], [3, 4, 5]]);
        expect((await database.append([unit(record())])).map(seqsOf)).to.deep.equal([[6]]);
        expect(await logLength(database)).to.equal(7);
        const stored = await listRecords(database, {}, { newestFirst: false, limit: 100 });
        expect(stored.slice(0, 6).map(({ id }) => hex(id))).to.deep.equal(
          units.flatMap(({ records }) => records.map(({ id }) => hex(id))),
        );
      });

      it("takes no place and no row for a request that it has seen, in this group or before", async () => {
        const first = record({}, "r");
        const [one, again] = await database.append([unit(first), unit(record({}, "r"), record())]);
        expect([seqsOf(one), seqsOf(again)]).to.deep.equal([[0], [0, 1]]);
        const [later] = await database.append([unit(record({}, "r"))]);
        expect(seqsOf(later)).to.deep.equal([0]);
        expect(later)
          .to.have.nested.property("appended[0].replayed.id")
          .that.satisfies((id: Uint8Array) => hex(id) === hex(first.id));
        expect(later)
          .to.have.nested.property("appended[0].replayed.entry")
          .that.satisfies((entry: Uint8Array) => hex(entry) === hex(first.entry));
        expect(await logLength(database)).to.equal(2);
      });

      it("takes a request that is twice in one unit once", async () => {
        const [result] = await database.append([unit(record({}, "r"), record({}, "r"), record())]);
        expect(seqsOf(result)).to.deep.equal([0, 0, 1]);
        expect(await logLength(database)).to.equal(2);
      });

      it("refuses a unit that reuses a request id for another body whole, and its neighbours not", async () => {
        const first = record({}, "r");
        await database.append([unit(first)]);
        const [before, refused, after] = await database.append([
          unit(record()),
          unit(record({}, "new"), record({}, "r", "another body"), record()),
          unit(record({}, "new", "free still")),
        ]);
        expect(seqsOf(before)).to.deep.equal([1]);
        expect(refused).to.have.nested.property("reused.index", 1);
        expect(refused).to.have.nested.property("reused.requestId", "r");
        expect(refused)
          .to.have.nested.property("reused.takenBy")
          .that.satisfies((id: Uint8Array) => hex(id) === hex(first.id));
        expect(seqsOf(after)).to.deep.equal([2]);
        expect(await logLength(database)).to.equal(3);
      });

      it("knows request ids by caller", async () => {
        const mine = record({}, "r");
        const theirs = { ...record({}, "r", "another body"), caller: "another" };
        expect((await database.append([unit(mine), unit(theirs)])).map(seqsOf)).to.deep.equal([
          [0],
          [1],
        ]);
      });

      it("skips what is on a line behind a refused unit, and nothing on another line", async () => {
        await database.append([unit(record({}, "r"))]);
        const results = await database.append([
          { records: [record()], line: 1 },
          { records: [record({}, "r", "another body")], line: 1 },
          { records: [record()], line: 2 },
          { records: [record()], line: 1 },
          { records: [record()] },
        ]);
        expect(results[1]).to.have.property("reused");
        expect(results[3]).to.equal("skipped");
        expect([results[0], results[2], results[4]].map(seqsOf)).to.deep.equal([[1], [2], [3]]);
      });

      it("takes units of thousands of records, with request ids", async () => {
        const records = Array.from({ length: 4_096 }, (_, i) => record({}, `r${i}`));
        const [result] = await database.append([unit(...records)]);
        expect(seqsOf(result)).to.deep.equal([...records.keys()]);
        const [again] = await database.append([unit(...records)]);
        expect(seqsOf(again)).to.deep.equal([...records.keys()]);
      });

      it("writes nothing when a record cannot be written", async () => {
        const twice = record();
        await database.append([unit(twice)]);
        const error = await database.append([unit(record()), unit(twice)]).then(
          () => undefined,
          (thrown: unknown) => thrown,
        );
        expect(error).to.be.instanceOf(AnchordError).with.property("reason", "INTERNAL");
        expect(await logLength(database)).to.equal(1);
        expect((await database.append([unit(record())])).map(seqsOf)).to.deep.equal([[1]]);
      });

      const alterations = {
        "the row of tail was deleted": "delete from tail",
        "the row of tail has another id": "update tail set id = 7",
        "tail.length is too low": "update tail set length = 1",
        "tail.length is beyond all numbers": "update tail set length = 9223372036854775807",
      };
      for (const [what, edit] of Object.entries(alterations)) {
        it(`says that the database was altered where ${what}`, async () => {
          await database.append([unit(record(), record())]);
          await run(edit);
          const error = await failureOf(database.append([unit(record())]));
          expect(error).to.include({ reason: "DATABASE_ALTERED" });
          expect(error)
            .to.match(/tail|always there|range/i)
            .and.to.match(/anchord rebuild/);
        });
      }

      it("fails alone for a request whose row names a record that is missing", async () => {
        await database.append([unit(record({}, "r")), unit(record({}, "s"))]);
        await run("update requests set seq = 77 where request_id = 'r'");
        const acceptor = new Acceptor(database, () => undefined);
        const calls = [record(), record({}, "r"), record({}, "s")].map((each) =>
          acceptor.accept([each]),
        );
        const [one, bad, replay] = await Promise.allSettled(calls);
        expect(one).to.have.nested.property("value[0].seq", 2);
        expect(bad).to.have.nested.property("reason.reason", "DATABASE_ALTERED");
        expect(replay).to.have.nested.property("value[0].replayed", true);
      });

      it("stays dense, once each and in order when several databases append at once", async () => {
        const seed = seedOfRun();
        console.log(`          SEED=${seed}`);
        const random = randomOf(seed);
        const all = [database, open(), open()];
        const written = new Map<string, number>();
        const run = async (client: number) => {
          const own: number[] = [];
          for (let n = 0; n < 20; n++) {
            const units = Array.from({ length: random.between(1, 4) }, () => {
              const records = Array.from({ length: random.between(1, 5) }, () =>
                record(
                  { subject: `subject ${random.between(0, 3)}` },
                  random.pick([undefined, `r${random.between(0, 40)}`]),
                ),
              );
              return unit(...records);
            });
            for (const [at, result] of (await all[client % all.length]!.append(units)).entries()) {
              if (result === "skipped" || "reused" in result)
                throw new Error("every body is the same");
              for (const [i, { seq, replayed }] of result.appended.entries()) {
                const { id } = replayed ?? units[at]!.records[i]!;
                expect(written.get(hex(id)) ?? seq).to.equal(seq);
                written.set(hex(id), seq);
                if (replayed === undefined) own.push(seq);
              }
            }
          }
          expect(own).to.deep.equal([...own].sort((a, b) => a - b));
        };
        await Promise.all([0, 1, 2, 3, 4, 5].map(run));
        const length = await logLength(database);
        const stored = await listRecords(database, {}, { newestFirst: false, limit: length + 1 });
        expect(stored.map(({ seq }) => seq)).to.deep.equal([...stored.keys()]);
        expect(stored).to.have.length(length);
        expect([...written.values()].sort((a, b) => a - b)).to.deep.equal([...stored.keys()]);
        for (const { id, seq } of stored) expect(written.get(hex(id))).to.equal(seq);
      });
    });

    describe("exact values", () => {
      const TEXTS = [
        "user/A",
        "user/a",
        "user/a ",
        " user/a",
        "straße",
        "strasse",
        "É",
        "E\u0301",
        "emoji 🦊🦊",
        "%",
        "_",
        "'",
        "\\",
        "",
      ];

      it("keeps every text apart that differs in case, spaces, accents or unseen characters", async () => {
        await database.append(
          TEXTS.map((text) => unit(record({ subject: text, actor: text }, `id ${text}`))),
        );
        for (const [seq, text] of TEXTS.entries()) {
          for (const query of [{ subject: text }, { actor: text }]) {
            const found = await listRecords(database, query, { newestFirst: false, limit: 10 });
            expect(
              found.map((each) => each.seq),
              JSON.stringify(text),
            ).to.deep.equal([seq]);
          }
          const [request] = await requestsOfCaller(database, "caller", [`id ${text}`]);
          expect(request).to.include({ id: `id ${text}`, seq });
        }
        const rows = await recordRows(database, 0, TEXTS.length);
        expect(rows.map(({ subject }) => subject)).to.deep.equal(TEXTS);
      });

      it("keeps texts of the longest kind, all of four bytes", async () => {
        const text = "🦊".repeat(256);
        await database.append([unit(record({ subject: text, actor: text }, "🦊".repeat(128)))]);
        expect((await recordRows(database, 0, 1))[0]).to.include({ subject: text, actor: text });
        expect(await requestsOfCaller(database, "caller", ["🦊".repeat(128)])).to.have.length(1);
      });

      it("keeps any bytes, and entries of many", async () => {
        const entry = Buffer.concat([
          Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
          randomBytes(1_000_000),
        ]);
        const id = sha256(entry);
        await database.append([unit({ ...record(), entry, id })]);
        expect(hex(sha256((await findRecord(database, id))!.entry))).to.equal(hex(id));
      });

      it("keeps numbers up to the largest that is exact", async () => {
        const times = [0, 1, 7_258_118_399_999_999, Number.MAX_SAFE_INTEGER];
        await database.append(times.map((occurTime) => unit(record({ occurTime }))));
        expect((await recordRows(database, 0, 10)).map(({ occurTime }) => occurTime)).to.deep.equal(
          times,
        );
        const found = await listRecords(
          database,
          { startTime: Number.MAX_SAFE_INTEGER - 1, endTime: Number.MAX_SAFE_INTEGER },
          { newestFirst: false, limit: 10 },
        );
        expect(found).to.have.length(0);
      });
    });

    describe("listRecords and countRecords", () => {
      it("agree with a plain filter, whatever is asked for", async () => {
        const seed = seedOfRun();
        console.log(`          SEED=${seed}`);
        const random = randomOf(seed);
        const some = () => ({
          subject: random.pick(["a", "b", "A"]),
          type: random.pick(["threat", "trade"]),
          actor: random.pick(["", "x", "X"]),
          occurTime: random.between(0, 10),
        });
        const rows = Array.from({ length: 200 }, some);
        await database.append([unit(...rows.map((columns) => record(columns)))]);
        for (let run = 0; run < 100; run++) {
          const { subject, type, actor, occurTime: startTime } = some();
          const fromSeq = random.between(0, 200);
          const whole = {
            subject,
            type,
            actor,
            startTime,
            endTime: startTime + random.between(0, 5),
            fromSeq,
            toSeq: fromSeq + 100,
          };
          const query = Object.fromEntries(
            Object.entries(whole).filter(() => random.between(0, 2) === 0),
          ) as RecordQuery;
          const expected = [...rows.keys()].filter((seq) => matches(rows[seq]!, seq, query));
          const newestFirst = random.between(0, 1) === 1;
          const found = await listRecords(database, query, { newestFirst, limit: 50 });
          const ordered = newestFirst ? [...expected].reverse() : expected;
          expect(
            found.map(({ seq }) => seq),
            JSON.stringify(query),
          ).to.deep.equal(ordered.slice(0, 50));
          expect(await countRecords(database, query)).to.equal(expected.length);
        }
      });

      function matches(row: RecordColumns, seq: number, query: RecordQuery): boolean {
        const { subject = row.subject, type = row.type, actor = row.actor } = query;
        const { startTime = 0, endTime = Infinity, fromSeq = 0, toSeq = Infinity } = query;
        return (
          row.subject === subject &&
          row.type === type &&
          row.actor === actor &&
          row.occurTime >= startTime &&
          row.occurTime < endTime &&
          seq >= fromSeq &&
          seq < toSeq
        );
      }

      it("link each record to the one before it in its trail", async () => {
        const subjects = ["a", "b", "a", "A", "a", "b"];
        await database.append([unit(...subjects.map((subject) => record({ subject })))]);
        const linked = await linkedRecords(database, 1, 10);
        expect(linked.map(({ seq, previousSeq }) => [seq, previousSeq])).to.deep.equal([
          [1, undefined],
          [2, 0],
          [3, undefined],
          [4, 2],
          [5, 1],
        ]);
      });
    });

    describe("batches and operations", () => {
      const anchor = (blockNumber: number) => ({
        transactionHash: sha256(Buffer.from(`transaction ${blockNumber}`)),
        blockNumber,
        blockHash: sha256(Buffer.from(`block ${blockNumber}`)),
        blockTime: 1_800_000_000,
        gasUsed: 100_000,
      });

      async function insertBatches(count: number): Promise<void> {
        for (let number = 1; number <= count; number++) {
          const digest = (name: string) => sha256(Buffer.from(`${name} ${number}`));
          const seal = {
            number: BigInt(number),
            root: digest("root"),
            size: 1n,
            manifestDigest: ZERO32,
            trailsRoot: ZERO32,
            nonce: 0n,
          };
          const batch = {
            seal,
            previousHead: digest("previous"),
            head: digest("head"),
            firstSeq: number - 1,
            createTime: 0,
            anchor: undefined,
          };
          await database.transact((trx) => insertBatch(trx, batch, []));
        }
      }

      it("are retracted above a block, and the first of them is the next to go", async () => {
        await insertBatches(3);
        for (const number of [1, 2, 3])
          await database.transact((trx) => anchorBatch(trx, number, anchor(10 * number)));
        expect(await firstUnanchored(database)).to.equal(undefined);
        await database.transact((trx) => retractAbove(trx, 10));
        expect((await firstUnanchored(database))?.seal.number).to.equal(2n);
        expect((await findBatch(database, 1))?.anchor?.blockNumber).to.equal(10);
        expect((await findBatch(database, 3))?.anchor).to.equal(undefined);
      });

      it("know the next nonce from the calls that may still take effect", async () => {
        const sender = randomBytes(20);
        const call = (nonce: number) => ({
          sender,
          nonce,
          transactionHash: sha256(Buffer.from(`${nonce}`)),
          transaction: randomBytes(8),
        });
        const seal = (number: number) => ({ kind: "SEAL" as const, number });
        const evidence = (number: number) => ({ kind: "EVIDENCE" as const, number });
        const insert = (purpose: Purpose, nonce: number) =>
          database.transact((trx) => insertOperation(trx, purpose, call(nonce), 0));
        expect(await freeNonce(database, sender, 7)).to.equal(7);
        await insert(seal(1), 7);
        await insert(evidence(1), 8);
        await insert(seal(2), 9);
        await database.transact((trx) => mineOperation(trx, seal(1), call(7).transactionHash));
        expect(await freeNonce(database, sender, 7)).to.equal(10);
        expect(await freeNonce(database, randomBytes(20), 7), "another account").to.equal(7);
        const first = (await waitingOperation(database, evidence(1)))!;
        await database.transact((trx) => failOperation(trx, first.id, "reason".repeat(1_000)));
        expect(await freeNonce(database, sender, 7)).to.equal(8);
        expect(await waitingOperation(database, evidence(1))).to.equal(undefined);
        await insert(evidence(1), 8);
        expect(
          (await waitingOperation(database, evidence(1)))?.id,
          "the same bytes are on their way again",
        ).to.equal(first.id);
        await insert(evidence(1), 10);
        expect(await freeNonce(database, sender, 7)).to.equal(11);
        await database.transact((trx) => mineOperation(trx, evidence(1), call(8).transactionHash));
        expect(await freeNonce(database, sender, 7), "dropped").to.equal(10);
        expect((await waitingOperation(database, seal(2)))?.nonce, "of another kind").to.equal(9);
      });

      it("leave their nonce to others while the node refuses them", async () => {
        const sender = randomBytes(20);
        const purpose = { kind: "SEAL" as const, number: 1 };
        const transactionHash = randomBytes(32);
        const call = { sender, nonce: 4, transactionHash, transaction: randomBytes(8) };
        const offer = (state: "SENT" | "REFUSED") =>
          database.transact((trx) => offeredOperation(trx, transactionHash, state));
        await database.transact((trx) => insertOperation(trx, purpose, call, 0));
        expect(await sentOperations(database, sender, 4, 5)).to.have.length(1);
        await offer("REFUSED");
        expect(await freeNonce(database, sender, 4)).to.equal(4);
        expect(await sentOperations(database, sender, 4, 5)).to.deep.equal([]);
        expect((await waitingOperation(database, purpose))?.state).to.equal("REFUSED");
        await offer("SENT");
        expect(await freeNonce(database, sender, 4)).to.equal(5);
        await database.transact((trx) => mineOperation(trx, purpose, transactionHash));
        await offer("REFUSED");
        expect(await minedOperation(database, purpose)).to.deep.equal(transactionHash);
      });

      it("are sent again when what they did has left the chain, each kind by itself", async () => {
        await insertBatches(2);
        const sender = randomBytes(20);
        const seals = [1, 2].map((number) => ({ kind: "SEAL" as const, number }));
        const purposes = [...seals, { kind: "EVIDENCE" as const, number: 2 }];
        await database.transact(async (trx) => {
          await anchorBatch(trx, 1, anchor(10));
          for (const [nonce, purpose] of purposes.entries()) {
            const transactionHash = randomBytes(32);
            const call = { sender, nonce, transactionHash, transaction: randomBytes(8) };
            await insertOperation(trx, purpose, call, 0);
            await mineOperation(trx, purpose, transactionHash);
          }
          await reopenOperations(trx, "SEAL", unanchoredBatches(trx));
        });
        const waiting = await Promise.all(purposes.map((each) => waitingOperation(database, each)));
        expect(waiting.map((each) => each?.nonce)).to.deep.equal([undefined, 1, undefined]);
      });
    });

    describe("what was asked to be sealed", () => {
      it("is never less again, and moves with records that make room for others", async () => {
        await database.append([unit(record(), record(), record())]);
        await requestSeal(database, 2);
        await requestSeal(database, 1);
        expect(await requestedSeal(database)).to.equal(2);
        await database.transact((trx) => adoptRecords(trx, 1, [record(), record()]));
        expect(await requestedSeal(database)).to.equal(4);
        await database.transact((trx) => adoptRecords(trx, 5, [record()]));
        expect(await requestedSeal(database)).to.equal(4);
      });
    });

    describe("leases", () => {
      const isAlive = () => false;
      const LONG = 60_000;

      it("are held by one, renewed by it, and refused to others until they are given back", async () => {
        const other = open();
        expect(await holdLease(database, "lease", "a", LONG, isAlive)).to.equal(true);
        expect(await holdLease(other, "lease", "b", LONG, isAlive)).to.equal(false);
        expect(await holdLease(database, "lease", "a", LONG, isAlive)).to.equal(true);
        const { holder, remaining } = (await currentLease(other, "lease"))!;
        expect(holder).to.equal("a");
        expect(remaining).to.be.within(LONG - 20_000, LONG);
        await releaseLease(other, "lease", "b");
        expect(await holdLease(other, "lease", "b", LONG, isAlive)).to.equal(false);
        await releaseLease(database, "lease", "a");
        expect(await holdLease(other, "lease", "b", LONG, isAlive)).to.equal(true);
        expect(await holdLease(database, "lease", "a", LONG, isAlive)).to.equal(false);
        expect(await holdLease(database, "another lease", "a", LONG, isAlive)).to.equal(true);
      });

      it("pass on when they have run out, or when their holder has gone", async () => {
        await holdLease(database, "lease", "a", 0, isAlive);
        expect(await holdLease(database, "lease", "b", LONG, isAlive)).to.equal(true);
        expect(await holdLease(database, "lease", "c", LONG, (holder) => holder === "b")).to.equal(
          true,
        );
        expect((await currentLease(database, "lease"))?.holder).to.equal("c");
      });

      it("go to one of many that ask at once", async () => {
        const all = Array.from({ length: 4 }, () => open());
        for (const isFresh of [true, false]) {
          const asked = all.map((each, i) =>
            holdLease(each, "lease", `${isFresh} ${i}`, LONG, () => !isFresh).catch(() => false),
          );
          const held = (await Promise.all(asked)).filter(Boolean).length;
          expect(held).to.be.at.least(1);
          const { holder } = (await currentLease(database, "lease"))!;
          expect(holder.startsWith(String(isFresh))).to.equal(true);
          if (isFresh) expect(held).to.equal(1);
        }
      });
    });

    describe("a query with an order", () => {
      const TIMES = [3, 1, 4, 2, 0];
      const byTime = ["2", "0", "3", "1", "4"]; // the latest first

      beforeEach(async () => {
        const actors = TIMES.map((occurTime, i) => record({ actor: String(i), occurTime }));
        await database.append([unit(...actors)]);
      });

      const actorsOf = (rows: readonly { actor: string | Uint8Array }[]) =>
        rows.map(({ actor }) => Buffer.from(actor as string).toString());

      it("comes back in it, by a column that is not selected, as far as its limit", async () => {
        const query = (db: Kysely<Tables>) =>
          db.selectFrom("records").select("actor").orderBy("occur_time", "desc");
        const all = await database.read((db) => query(db).execute());
        expect(actorsOf(all)).to.deep.equal(byTime);
        const some = await database.read((db) => query(db).limit(3).offset(1).execute());
        expect(actorsOf(some)).to.deep.equal(byTime.slice(1, 4));
      });

      it("comes back in it through joins", async () => {
        const query = (db: Kysely<Tables>) =>
          db
            .selectFrom("records")
            .innerJoin("records as other", "other.subject", "records.subject")
            .leftJoin("leaves", "leaves.seq", "records.seq")
            .where("other.seq", "=", 0)
            .select(["records.actor", "leaves.leaf"])
            .orderBy("records.occur_time", "desc");
        const all = await database.read((db) => query(db).execute());
        expect(actorsOf(all)).to.deep.equal(byTime);
        const some = await database.read((db) => query(db).limit(2).execute());
        expect(actorsOf(some)).to.deep.equal(byTime.slice(0, 2));
      });

      it("comes back in it through unions", async () => {
        const part = (db: Kysely<Tables>, sign: "<" | ">=") =>
          db.selectFrom("records").select(["actor", "occur_time"]).where("seq", sign, 2);
        const query = (db: Kysely<Tables>) =>
          part(db, ">=").unionAll(part(db, "<")).orderBy("occur_time", "desc");
        const all = await database.read((db) => query(db).execute());
        expect(actorsOf(all)).to.deep.equal(byTime);
        const some = await database.read((db) => query(db).limit(4).execute());
        expect(actorsOf(some)).to.deep.equal(byTime.slice(0, 4));
      });
    });

    describe("failures", () => {
      it("of ours are told as they are", async () => {
        const ours = new TypeError("a fault of ours");
        expect(await failureOf(database.read(() => Promise.reject(ours)))).to.equal(ours);
      });

      it("to add up numbers that were edited, and to find a row that is always there, name the edit", async () => {
        await run("delete from feed");
        await database.append([unit(record(), record())]);
        await run("update records set occur_time = 9223372036854775807");
        const sum = () =>
          database.read((db) =>
            db
              .selectFrom("records")
              .select((eb) => eb.fn.sum("occur_time").as("sum"))
              .execute(),
          );
        for (const failing of [
          () => feedBounds(database),
          ...(flavour === "SQLite" ? [sum] : []),
        ]) {
          expect(await failureOf(failing())).to.include({ reason: "DATABASE_ALTERED" });
        }
      });
    });

    describe("transactions", () => {
      it("are taken back whole when they fail", async () => {
        const failure = new AnchordError("INTERNAL", "on purpose");
        const work = database.transact(async (trx) => {
          await trx.updateTable("tail").set({ length: 99 }).execute();
          throw failure;
        });
        expect(await work.catch((error: unknown) => error)).to.equal(failure);
        expect(await logLength(database)).to.equal(0);
      });

      it("that lock each other out are run again until all have gone through", async () => {
        await insertLeases(["x", "y"]);
        const other = open();
        const add = (by: Database, names: readonly string[]) =>
          by.transact(async (trx) => {
            for (const name of names) {
              await trx
                .updateTable("leases")
                .set((eb) => ({ expire_time: eb("expire_time", "+", 1) }))
                .where("name", "=", name)
                .execute();
            }
          });
        const rounds = Array.from({ length: 30 }, () => [
          add(database, ["x", "y"]),
          add(other, ["y", "x"]),
        ]);
        await Promise.all(rounds.flat());
        const rows = await database.read((db) =>
          db.selectFrom("leases").select("expire_time").execute(),
        );
        expect(rows.map(({ expire_time }) => Number(expire_time))).to.deep.equal([60, 60]);
      });

      async function insertLeases(names: readonly string[]): Promise<void> {
        const rows = names.map((name) => ({ name, holder: "nobody", expire_time: 0 }));
        await database.transact((trx) => trx.insertInto("leases").values(rows).execute());
      }
    });

    it("is migrated once by several that start at once, and again without harm", async () => {
      await Promise.all([open(), open()].map((each) => migrate(each)));
      await database.append([unit(record())]);
      await migrate(database);
      expect(await logLength(database)).to.equal(1);
    });
  });
}
