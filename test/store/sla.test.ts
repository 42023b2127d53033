import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { expect } from "chai";
import { hex, sha256, ZERO32 } from "../../src/core/bytes.js";
import { subjectKey } from "../../src/core/evidence.js";
import { announced, changed, refusalOf } from "../../src/core/sla.js";
import type { Cycle, SlaChange, SlaIntent } from "../../src/core/sla.js";
import { recordedIntent, recordedRefusal } from "../../src/core/sla.js";
import { decodeEntry } from "../../src/core/record.js";
import type { EncodedRecord } from "../../src/core/record.js";
import { adoptRecords } from "../../src/store/adopt.js";
import { lockTail } from "../../src/store/append.js";
import { openDatabase } from "../../src/store/database.js";
import type { Database } from "../../src/store/database.js";
import { migrate } from "../../src/store/migrations.js";
import {
  isSlaBreached,
  listSlas,
  slaByRecord,
  slaHistory,
  slaOf,
  slaTotals,
} from "../../src/store/sla.js";
import type { SlaQuery, StoredSla } from "../../src/store/sla.js";
import {
  adoptSlaChange,
  adoptSlaRefusal,
  subjectSla,
  waitingSlaChanges,
} from "../../src/store/sla-changes.js";
import {
  dueSlas,
  endEscalation,
  insertEscalation,
  nextDueTime,
  openEscalations,
} from "../../src/store/sla-escalations.js";
import { strangeSlaEvents } from "../../src/store/sla-events.js";
import type { SlaNote } from "../../src/store/sla-events.js";
import { noteSlaEvents, recordSlaEvent, retractSlaAbove } from "../../src/store/sla-follow.js";
import { movePolicyCursor, policyCursor } from "../../src/store/sla-policy.js";
import { temporaryFolder } from "../support/daemon.js";
import { sharedMysql } from "../support/mysql.js";
import { randomOf, seedOfRun } from "../support/random.js";
import {
  addSlaChange,
  refusalRecord,
  refuseChange,
  slaChangeOf,
  slaRecord,
} from "../support/sla-log.js";

const FLAVOURS = ["SQLite", "MariaDB"] as const;

const NOW = 1_800_000_000;

const SET: SlaIntent = { kind: "SET", deadline: NOW + 100, ladder: [0, 60] };

/** What a block announces, in blocks a second apart. */
class Blocks {
  #number = 0;

  /** An event in a block of its own, unless it is told to be in the last one. */
  event(subject: string, cycle: number, change: SlaChange, ref: Uint8Array = ZERO32): SlaNote {
    this.#number += 1;
    return this.at(this.#number, subject, cycle, change, ref);
  }

  at(
    blockNumber: number,
    subject: string,
    cycle: number,
    change: SlaChange,
    ref: Uint8Array = ZERO32,
  ): SlaNote {
    return {
      subjectKey: subjectKey(subject),
      cycle,
      change,
      ref,
      account: Buffer.alloc(20, 1),
      transactionHash: randomBytes(32),
      blockNumber,
      blockHash: sha256(Buffer.from(`block ${blockNumber}`)),
      blockTime: NOW + blockNumber,
      logIndex: 0,
    };
  }

  get last(): number {
    return this.#number;
  }
}

for (const flavour of FLAVOURS) {
  describe(`Deadlines in the store, on ${flavour}`, function () {
    this.timeout(60_000);

    const seed = seedOfRun();
    const random = randomOf(seed);
    const opened: Database[] = [];
    let database: Database;
    let blocks: Blocks;

    before(() => console.log(`      SEED=${seed}`));

    async function open(): Promise<Database | undefined> {
      const mysqlUrl =
        flavour === "MariaDB" ? await (await sharedMysql())?.createDatabase() : undefined;
      if (flavour === "MariaDB" && mysqlUrl === undefined) return undefined;
      const sqlitePath = join(temporaryFolder(), "log.db");
      const another = openDatabase(mysqlUrl === undefined ? { sqlitePath } : { mysqlUrl });
      opened.push(another);
      await migrate(another);
      return another;
    }

    beforeEach(async function () {
      const found = await open();
      if (found === undefined) return this.skip();
      database = found;
      blocks = new Blocks();
    });

    afterEach(async () => {
      for (const each of opened.splice(0)) await each.close();
    });

    const note = (...events: readonly SlaNote[]) =>
      database.transact(async (trx) => {
        await lockTail(trx, 0);
        return noteSlaEvents(trx, events);
      });

    const retract = (above: number) =>
      database.transact(async (trx) => {
        await lockTail(trx, 0);
        await retractSlaAbove(trx, above);
      });

    async function slaOfSubject(subject: string, cycle?: number): Promise<StoredSla> {
      const key = subjectKey(subject);
      const sla = await database.read((db) => slaOf(db, { subjectKey: key, cycle }));
      if (sla === undefined) throw new Error(`there is no deadline of ${subject}`);
      return sla;
    }

    const historyOf = (sla: StoredSla) => database.read((db) => slaHistory(db, sla));

    it("keep their row from being asked for to being met", async () => {
      const set = await addSlaChange(database, "a", SET);
      const pending = await slaOfSubject("a");
      expect(pending).to.deep.include({
        state: "PENDING",
        subject: "a",
        cycle: 1,
        deadline: NOW + 100,
        ladder: [0, 60],
        nextTime: undefined,
        blockNumber: undefined,
      });
      const effects = await note(blocks.event("a", 1, SET, set.recordId));
      expect(effects.map(({ change }) => change)).to.deep.equal([set.id]);
      expect((await slaChangeOf(database, set.recordId)).state).to.equal("DONE");
      const steps: readonly (readonly [SlaChange, Partial<StoredSla>])[] = [
        [
          { kind: "EXTENDED", deadline: NOW + 200, reasonHash: sha256(Buffer.from("why")) },
          { deadline: NOW + 200, extensions: 1, nextTime: NOW + 200 },
        ],
        [{ kind: "PAUSED" }, { state: "PAUSED", pauseTime: NOW + 3, nextTime: undefined }],
        [
          { kind: "RESUMED", deadline: NOW + 201 },
          { state: "OPEN", deadline: NOW + 201, pauseTime: undefined, nextTime: NOW + 201 },
        ],
        [
          { kind: "LEVEL_RAISED", level: 1, dueTime: NOW + 201 },
          { raised: 1, nextTime: NOW + 261 },
        ],
        [
          { kind: "LEVEL_RAISED", level: 2, dueTime: NOW + 261 },
          { raised: 2, nextTime: undefined },
        ],
        [
          { kind: "MET", deadline: NOW + 201 },
          { state: "MET", meetTime: NOW + 7 },
        ],
      ];
      for (const [change, expected] of steps) {
        await note(blocks.event("a", 1, change));
        expect(await slaOfSubject("a")).to.deep.include({
          ...expected,
          id: pending.id,
          recordId: set.recordId,
          blockNumber: blocks.last,
        });
      }
      const { changes, events } = await historyOf(await slaOfSubject("a"));
      expect(changes.map(({ id }) => id)).to.deep.equal([set.id]);
      expect(events.map(({ change }) => change)).to.deep.equal([
        { kind: "SET", deadline: NOW + 100, ladder: [0, 60] },
        ...steps.map(([change]) => change),
      ]);
    });

    it("go back to waiting with what the chain takes back", async () => {
      const set = await addSlaChange(database, "a", SET);
      await note(blocks.event("a", 1, SET, set.recordId));
      const { id } = await slaOfSubject("a");
      const meet = await addSlaChange(database, "a", { kind: "MET" });
      await note(blocks.event("a", 1, { kind: "MET", deadline: NOW + 100 }, meet.recordId));
      expect((await slaOfSubject("a")).state).to.equal("MET");
      await retract(1);
      expect(await slaOfSubject("a")).to.deep.include({ id, state: "OPEN", meetTime: undefined });
      expect(await slaChangeOf(database, meet.recordId)).to.include({ state: "WAITING", cycle: 1 });
      await retract(0);
      expect(await slaOfSubject("a")).to.deep.include({ id, state: "PENDING", cycle: 1 });
      const waiting = await waitingSlaChanges(database, 10);
      expect(waiting.map((change) => change.id)).to.deep.equal([set.id]);
      await note(blocks.at(1, "a", 1, SET, set.recordId));
      expect(await slaOfSubject("a")).to.deep.include({ id, state: "OPEN" });
    });

    it("make room for a stranger's, and fail where the chain refuses them", async () => {
      const set = await addSlaChange(database, "a", SET);
      const meet = await addSlaChange(database, "a", { kind: "MET" });
      const { id } = await slaOfSubject("a");
      await note(blocks.event("a", 1, { ...SET, deadline: NOW + 50 }));
      expect(await slaOfSubject("a", 1)).to.deep.include({
        state: "OPEN",
        subject: "a",
        recordId: undefined,
        deadline: NOW + 50,
      });
      expect(await slaOfSubject("a")).to.deep.include({ id, state: "PENDING", cycle: 2 });
      expect((await slaChangeOf(database, meet.recordId)).cycle).to.equal(2);

      expect(await refuseChange(database, set, "AlreadyOpen(…)")).to.equal(true);
      expect(await refuseChange(database, set, "AlreadyOpen(…)")).to.equal(false);
      expect((await slaOfSubject("a")).cycle).to.equal(1);
      const failed = await database.read((db) => slaByRecord(db, set.recordId));
      expect(failed).to.deep.include({ id, state: "FAILED", cycle: 0 });
      expect(failed && isSlaBreached(failed, NOW + 1_000)).to.equal(false);
      const { changes, events } = await historyOf(failed as StoredSla);
      expect(changes.map(({ reason }) => reason)).to.deep.equal(["AlreadyOpen(…)"]);
      expect(events).to.deep.equal([]);
      expect((await slaChangeOf(database, meet.recordId)).cycle).to.equal(1);

      await note(blocks.event("a", 1, { kind: "MET", deadline: NOW + 50 }, meet.recordId));
      const met = await historyOf(await slaOfSubject("a"));
      expect(met.changes.map((change) => change.id)).to.deep.equal([meet.id]);
      expect(met.events).to.have.length(2);
    });

    it("believe the chain, where it takes a change that it had refused", async () => {
      const set = await addSlaChange(database, "a", SET);
      await refuseChange(database, set, "AlreadyOpen(…)");
      expect((await slaOfSubject("a")).state).to.equal("FAILED");
      await note(blocks.event("a", 1, SET, set.recordId));
      expect(await slaOfSubject("a")).to.deep.include({ state: "OPEN", cycle: 1 });
      await retract(0);
      expect((await slaOfSubject("a")).state).to.equal("FAILED");
    });

    it("take the first event that names a record for its effect, and no other", async () => {
      const set = await addSlaChange(database, "a", SET);
      const wrongKind = blocks.event("a", 1, SET, slaRecord("a", SET).id);
      const wrongSubject = blocks.event("b", 1, SET, set.recordId);
      expect(await note(wrongKind, wrongSubject)).to.deep.equal([]);
      expect((await slaChangeOf(database, set.recordId)).state).to.equal("WAITING");
      const own = blocks.event("a", 2, SET, set.recordId);
      const again = blocks.event("a", 3, SET, set.recordId);
      await note(again);
      expect((await slaChangeOf(database, set.recordId)).cycle).to.equal(3);
      await note(own);
      expect((await slaChangeOf(database, set.recordId)).cycle).to.equal(2);
      const strangers = await strangeSlaEvents(database, blocks.last, 10);
      expect(strangers.map(({ blockNumber }) => blockNumber)).to.deep.equal([
        wrongKind.blockNumber,
        wrongSubject.blockNumber,
        again.blockNumber,
      ]);
      const recordId = randomBytes(32);
      await database.transact(async (trx) => {
        await lockTail(trx, 0);
        await recordSlaEvent(trx, strangers[2]!, recordId);
      });
      expect(hex((await slaOfSubject("a", 3)).recordId!)).to.equal(hex(recordId));
    });

    it("replace what was noted at a place", async () => {
      const right = blocks.event("a", 1, SET);
      await note({ ...right, ...pick(blocks.event("b", 7, SET)) });
      await note(right);
      expect((await slaOfSubject("a")).cycle).to.equal(1);
      const ofB = { subjectKey: subjectKey("b") };
      expect(await database.read((db) => slaOf(db, ofB))).to.equal(undefined);
    });

    it("project what waits, in log order, of each subject the first to be sent", async () => {
      const first = await addSlaChange(database, "b", SET);
      await addSlaChange(database, "b", { kind: "PAUSED" });
      const second = await addSlaChange(database, "a", SET);
      const ids = (changes: readonly { id: number }[]) => changes.map(({ id }) => id);
      expect(ids(await waitingSlaChanges(database, 10))).to.deep.equal([first.id, second.id]);
      expect(ids(await waitingSlaChanges(database, 1))).to.deep.equal([first.id]);
      const { cycle, waiting } = await database.read((db) => subjectSla(db, subjectKey("b")));
      expect(cycle).to.equal(undefined);
      expect(waiting.map(({ intent }) => intent.kind)).to.deep.equal(["SET", "PAUSED"]);
      await note(blocks.event("b", 1, SET, first.recordId));
      const after = await database.read((db) => subjectSla(db, subjectKey("b")));
      expect(after.cycle).to.deep.include({ number: 1, state: "OPEN", deadline: NOW + 100 });
      expect(after.waiting.map(({ intent }) => intent.kind)).to.deep.equal(["PAUSED"]);
    });

    it("are listed by all that they may be asked for, and counted", async () => {
      for (const [i, name] of ["a", "b", "c", "d"].entries()) {
        await note(blocks.event(name, 1, { ...SET, deadline: NOW + 100 - 10 * i }));
      }
      await note(
        blocks.event("b", 1, { kind: "PAUSED" }),
        blocks.event("c", 1, { kind: "LEVEL_RAISED", level: 1, dueTime: NOW + 80 }),
        blocks.event("d", 1, { kind: "MET", deadline: NOW + 70 }),
      );
      const failed = await addSlaChange(database, "e", SET);
      await refuseChange(database, failed, "why");
      await addSlaChange(database, "f", SET);
      const now = NOW + 80;
      const list = async (query: Partial<SlaQuery>, order: "newest" | "oldest" | "deadline") => {
        const found: string[] = [];
        let behind: StoredSla | undefined;
        do {
          const page = await listSlas(database, { now, ...query }, { order, behind, limit: 2 });
          for (const { subject, subjectKey: key } of page)
            found.push(subject === "" ? nameOf(key) : subject);
          behind = page.at(-1);
        } while (behind !== undefined);
        return found.join("");
      };
      expect(await list({}, "oldest")).to.equal("abcdef");
      expect(await list({}, "newest")).to.equal("fedcba");
      expect(await list({}, "deadline")).to.equal("dcbaef");
      expect(await list({ state: "OPEN" }, "oldest")).to.equal("ac");
      expect(await list({ state: "PENDING" }, "oldest")).to.equal("f");
      expect(await list({ state: "FAILED" }, "oldest")).to.equal("e");
      expect(await list({ dueBefore: NOW + 90 }, "deadline")).to.equal("dc");
      expect(await list({ minLevel: 1 }, "newest")).to.equal("c");
      expect(await list({ breached: true }, "newest")).to.equal("c");
      expect(await list({ breached: false }, "oldest")).to.equal("abdef");
      expect(await list({ breached: true, now: NOW + 1_000 }, "oldest")).to.equal("ac");
      expect(await list({ subjectKeys: [subjectKey("b")] }, "newest")).to.equal("b");
      expect(await slaTotals(database, now)).to.deep.equal({
        open: 2,
        paused: 1,
        overdue: 1,
        waitingChanges: 1,
        failedChanges: 1,
        nextTime: NOW + 100,
      });
    });

    it("are due in the order of their levels, each in one escalation at a time", async () => {
      await note(
        blocks.event("a", 1, { ...SET, deadline: NOW + 30 }),
        blocks.event("b", 1, { ...SET, deadline: NOW + 20 }),
        blocks.event("c", 1, { ...SET, deadline: NOW + 40 }),
      );
      const due = async (at: number, ...except: string[]) =>
        (await dueSlas(database, at, except.map(subjectKey), 10)).map(({ deadline }) => deadline);
      expect(await nextDueTime(database)).to.equal(NOW + 20);
      expect(await due(NOW + 19)).to.deep.equal([]);
      expect(await due(NOW + 30)).to.deep.equal([NOW + 20, NOW + 30]);
      expect(await due(NOW + 30, "b")).to.deep.equal([NOW + 30]);
      expect(await nextDueTime(database, [subjectKey("b")])).to.equal(NOW + 30);
      const keys = ["b", "a"].map(subjectKey);
      const number = await database.transact((trx) => insertEscalation(trx, { keys, levels: 3 }));
      const [open] = await openEscalations(database);
      expect(open).to.deep.include({ number, levels: 3 });
      expect(open?.keys.map(hex)).to.deep.equal(keys.map(hex));
      await database.transact((trx) => endEscalation(trx, number, 5));
      expect(await openEscalations(database)).to.deep.equal([]);
      await retract(5);
      expect(await openEscalations(database)).to.deep.equal([]);
      await retract(4);
      expect(await openEscalations(database)).to.have.length(1);
    });

    it("leave policies behind the records that a batch brings back", async () => {
      expect(await policyCursor(database)).to.equal(0);
      const own = slaRecord("own", SET);
      await database.append([{ records: [own] }]);
      await database.transact((trx) => movePolicyCursor(trx, 1));
      const adopted = [slaRecord("x", SET), slaRecord("y", SET)];
      await database.transact((trx) => adoptRecords(trx, 0, adopted));
      expect(await policyCursor(database)).to.equal(3);
      await database.transact((trx) => movePolicyCursor(trx, 1));
      await database.transact((trx) => adoptRecords(trx, 2, [slaRecord("z", SET)]));
      expect(await policyCursor(database)).to.equal(1);
    });

    it("come to be the same whichever of the log and the chain is known first", async () => {
      const { records, events } = randomHistory(80);
      const straight = await filled(records, events, (work) => work);
      const other = await open();
      if (other === undefined) throw new Error("there is no database");
      database = other;
      const shuffled = await filled(records, events, (work) => {
        const [first, ...rest] = work;
        return random.between(0, 1) === 0 ? work : [...rest, ...(first ? [first] : [])];
      });
      expect(shuffled).to.deep.equal(straight);
    });

    /** Deadlines of a few subjects, by this service and by strangers, as the contract would have them. */
    function randomHistory(steps: number) {
      const records: EncodedRecord[] = [];
      const events: SlaNote[] = [];
      const cycles = new Map<string, Cycle>();
      for (let step = 0; step < steps; step++) {
        const subject = random.pick(["a", "b", "c"]);
        const before = cycles.get(subject);
        const now = NOW + blocks.last + 1;
        const intent = randomIntent(before, now);
        if (intent === undefined || refusalOf(before, intent, now) !== undefined) continue;
        const number = (before?.number ?? 0) + (intent.kind === "SET" ? 1 : 0);
        const change = announced(before, intent, now);
        const record = slaRecord(subject, intent);
        const isOurs = random.between(0, 2) > 0;
        if (isOurs) records.push(record);
        events.push(blocks.event(subject, number, change, isOurs ? record.id : ZERO32));
        cycles.set(subject, changed(before, number, change, now));
      }
      return { records, events };
    }

    function randomIntent(before: Cycle | undefined, now: number): SlaIntent | undefined {
      const deadline = now + random.between(1, 60);
      return random.pick<SlaIntent>([
        { kind: "SET", deadline, ladder: [0, 60] },
        { kind: "EXTENDED", deadline: (before?.deadline ?? now) + 10, reason: "why" },
        { kind: "PAUSED" },
        { kind: "RESUMED" },
        { kind: "MET" },
      ]);
    }

    /** The rows of a database that has heard of all that in some order, with detours. */
    async function filled(
      records: readonly EncodedRecord[],
      events: readonly SlaNote[],
      order: <T>(work: readonly T[]) => readonly T[],
    ) {
      const adopt = () =>
        database.transact(async (trx) => {
          await adoptRecords(trx, 0, records);
          for (const { id, entry } of records) {
            const told = recordedIntent(decodeEntry(entry));
            if (told !== undefined) await adoptSlaChange(trx, id, told);
          }
        });
      const follow = async () => {
        for (let at = 0; at < events.length;) {
          const next = Math.min(events.length, at + random.between(1, 20));
          await note(...events.slice(at, next));
          const last = events[next - 1]?.blockNumber ?? 0;
          at = next;
          if (random.between(0, 3) > 0) continue;
          const above = Math.max(0, last - random.between(0, 10));
          await retract(above);
          at = events.filter(({ blockNumber }) => blockNumber <= above).length;
        }
      };
      for (const work of order([adopt, follow])) await work();
      const query = { now: NOW };
      const options = { order: "deadline", behind: undefined, limit: 1_000 } as const;
      const rows = (await listSlas(database, query, options)).map(({ id: _, ...row }) => row);
      const changes = [];
      for (const { id } of records) {
        const { state, cycle } = await slaChangeOf(database, id);
        changes.push({ id: hex(id), state, cycle });
      }
      return { rows: rows.sort((a, b) => a.cycle - b.cycle || compareKeys(a, b)), changes };
    }

    it("fail where an adopted record says so", async () => {
      const set = slaRecord("a", SET);
      await database.append([{ records: [set] }]);
      await database.transact(async (trx) => {
        await adoptSlaChange(trx, set.id, recordedIntent(decodeEntry(set.entry))!);
      });
      const told = recordedRefusal(
        decodeEntry(refusalRecord(await slaChangeOf(database, set.id), "DeadlineInPast(…)").entry),
      );
      await database.transact((trx) => adoptSlaRefusal(trx, told!));
      expect(await slaChangeOf(database, set.id)).to.include({
        state: "FAILED",
        reason: "DeadlineInPast(…)",
      });
      expect(await waitingSlaChanges(database, 10)).to.deep.equal([]);
    });
  });
}

function compareKeys(a: { subjectKey: Uint8Array }, b: { subjectKey: Uint8Array }): number {
  return Buffer.compare(a.subjectKey, b.subjectKey);
}

function pick({ subjectKey: key, cycle, change }: SlaNote) {
  return { subjectKey: key, cycle, change };
}

/** The name of a subject of one letter. */
function nameOf(key: Uint8Array): string {
  return (
    [..."abcdefghijklmnopqrstuvwxyz"].find((name) => hex(subjectKey(name)) === hex(key)) ?? "?"
  );
}
