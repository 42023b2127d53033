import { cpSync, existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { CompiledQuery } from "kysely";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import { SLAState } from "../../gen/ts/anchord/v1/sla_pb.js";
import { web3Chain } from "../../src/chain/web3.js";
import { hex, ZERO32 } from "../../src/core/bytes.js";
import { subjectKey } from "../../src/core/evidence.js";
import { decodeEntry } from "../../src/core/record.js";
import { syncBlocks } from "../../src/flow/sync.js";
import type { SyncProgress } from "../../src/flow/sync.js";
import { verifyLog } from "../../src/flow/verify/log.js";
import { storedIdentity } from "../../src/store/chain-position.js";
import type { StoredIdentity } from "../../src/store/chain-position.js";
import { openDatabase } from "../../src/store/database.js";
import type { Database } from "../../src/store/database.js";
import { listRecords, logLength } from "../../src/store/records.js";
import { listSlas } from "../../src/store/sla.js";
import type { StoredSla } from "../../src/store/sla.js";
import type { Tables } from "../../src/store/tables.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { databasesOfRun } from "../support/databases.js";
import { GRPC_DOOR } from "../support/doors.js";
import { startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { problemsOf, sealed } from "../support/log-checks.js";
import { seedOfRun } from "../support/random.js";
import { rebuild, settled } from "../support/rebuild.js";
import { advance, setSla, slaClient, within } from "../support/sla.js";
import { addSlaChange, changeOnChain, refuseChange } from "../support/sla-log.js";
import { startSlaService } from "../support/sla-service.js";
import type { SlaService } from "../support/sla-service.js";
import { dumpTables, without } from "../support/tables.js";
import { until } from "../support/until.js";

const { ANCHORED } = RecordState;

const HOUR = 3_600;

/** Blocks that make final: so many that nothing is while a stranger acts, since Ganache may lose one of two. */
const BLOCKS = 20;

/** What of deadlines follows from the log and the chain, by table; and what follows from neither. */
const COLUMNS = {
  sla_events: {
    derived: [
      "subject_key",
      "cycle",
      "kind",
      "detail",
      "ref",
      "account",
      "transaction_hash",
      "log_index",
      "block_number",
      "block_hash",
      "block_time",
      "record_id",
    ],
    free: ["id"],
  },
  sla_changes: {
    derived: ["record_id", "subject_key", "kind", "state", "reason", "cycle"],
    free: ["id"],
  },
  slas: {
    derived: [
      "subject_key",
      "cycle",
      "subject",
      "record_id",
      "state",
      "deadline",
      "ladder",
      "raised",
      "extensions",
      "pause_time",
      "meet_time",
      "next_time",
      "block_number",
    ],
    free: ["id"],
  },
} as const satisfies Partial<Record<keyof Tables, object>>;

type Table = keyof typeof COLUMNS;
type Value = Uint8Array | string | number | null;
type Row = Record<string, Value>;

/** A chain whose first account may manage deadlines as well, without this service. */
async function startManagedChain(): Promise<ExternalChain> {
  const chain = await startExternalChain();
  const { MANAGER_ROLE, grantRole } = chain.slaRegistry.methods;
  const role = await MANAGER_ROLE().call();
  await grantRole(role, chain.admin).send({ from: chain.admin });
  return chain;
}

async function timeOf({ rpc }: ExternalChain): Promise<number> {
  const { timestamp } = await rpc<{ timestamp: string }>("eth_getBlockByNumber", "latest", false);
  return Number(timestamp);
}

const seed = seedOfRun();

for (const { name, settings } of databasesOfRun(seed)) {
  describe(`What is stored of deadlines, on ${name}`, function () {
    this.timeout(120_000);

    let chain: ExternalChain;
    let service: SlaService | undefined;
    let database: Database;
    let identity: StoredIdentity;
    let untouched: Map<Table, Row[]>;

    before(async function () {
      console.log(`      SEED=${seed}`);
      const set = await settings();
      if (set === undefined) return this.skip();
      chain = await startManagedChain();
      const { DATABASE_URL: mysqlUrl } = set;
      const target =
        mysqlUrl === undefined ? { sqlitePath: join(temporaryFolder(), "log.db") } : { mysqlUrl };
      service = await startSlaService(chain, { database: target, confirmations: BLOCKS });
      await fill(service);
      await service.stop();
      service = undefined;
      database = openDatabase(target);
      identity = (await storedIdentity(database)) as StoredIdentity;
      await leaveWaiting();
      untouched = new Map();
      for (const table of Object.keys(COLUMNS) as Table[]) {
        untouched.set(table, await run(`select * from ${table} order by id`));
      }
    });

    after(async () => {
      await service?.stop();
      await database?.close();
      await chain?.stop();
    });

    afterEach(async () => {
      for (const [table, rows] of untouched) {
        await run(`delete from ${table}`);
        for (const row of rows) await insert(table, row);
      }
    });

    /** Deadlines of ours and of a stranger's, of every kind. */
    async function fill(running: SlaService): Promise<void> {
      const { slaRegistry, admin } = chain;
      const byStranger = (subject: string, intent: Parameters<typeof changeOnChain>[3]) =>
        changeOnChain(slaRegistry, admin, subject, intent, ZERO32);
      await running.ask("ours", { kind: "SET", when: { after: HOUR }, ladder: [0, 60, 4 * HOUR] });
      await running.ask("met", { kind: "SET", when: { after: HOUR }, ladder: [0] });
      for (const kind of ["PAUSED", "RESUMED", "MET"] as const) await running.ask("met", { kind });
      await running.settled();
      await until("all is on the chain", () => isSealed(running.database));
      const deadline = (await timeOf(chain)) + 9 * HOUR;
      await byStranger("theirs", { kind: "SET", deadline, ladder: [5] });
      await byStranger("theirs", { kind: "EXTENDED", deadline: deadline + 1, reason: "why" });
      await byStranger("theirs", { kind: "PAUSED" });
      await byStranger("theirs", { kind: "RESUMED" });
      await byStranger("theirs", { kind: "MET" });
      await byStranger("theirs", { kind: "SET", deadline, ladder: [5] });
      await advance(chain, 2 * HOUR);
      await until("levels are raised", async () => (await running.sla("ours")).raised === 2);
      await until("all is on the chain", () => isSealed(running.database));
      await chain.mine(BLOCKS);
      const isRecorded = async () => {
        const { events } = await running.sla("ours");
        const types = await typesOf(running.database, hex(subjectKey("theirs")));
        return events.every(({ recordId }) => recordId !== undefined) && types.length === 6;
      };
      await until("the chain's own changes are recorded", isRecorded);
      await until("all is on the chain", () => isSealed(running.database));
      await byStranger("strange", { kind: "SET", deadline, ladder: [7] });
      const isNoted = async () => (await slasOf(running.database, "strange")).length === 1;
      await until("the last one is noted", isNoted);
    }

    async function isSealed(of: Database): Promise<boolean> {
      const length = await logLength(of);
      const batches = await of.read((db) =>
        db
          .selectFrom("batches")
          .select((eb) => eb.fn.sum<number>("size").as("size"))
          .where("block_number", "is not", null)
          .executeTakeFirst(),
      );
      return Number(batches?.size ?? 0) === length;
    }

    /** Changes that the chain does not have: one that waits, and one that it refused. */
    async function leaveWaiting(): Promise<void> {
      const set = { kind: "SET", deadline: 2 ** 33, ladder: [1] } as const;
      await addSlaChange(database, "waiting", set);
      await addSlaChange(database, "waiting", { kind: "MET" });
      const refused = await addSlaChange(database, "ours", set);
      await refuseChange(database, refused, "AlreadyOpen(…)");
    }

    async function typesOf(of: Database, subject: string) {
      const options = { newestFirst: false, limit: 100 };
      const records = await listRecords(of, { subject }, options);
      return records.map(({ entry }) => decodeEntry(entry).body.case);
    }

    function slasOf(of: Database, subject: string): Promise<StoredSla[]> {
      const query = { now: 0, subjectKeys: [subjectKey(subject)] };
      return listSlas(of, query, { order: "oldest", behind: undefined, limit: 100 });
    }

    async function run(sql: string, values: readonly Value[] = []): Promise<Row[]> {
      const { rows } = await database.schema.executeQuery(CompiledQuery.raw(sql, [...values]));
      return rows as Row[];
    }

    async function insert(table: Table, row: Row): Promise<void> {
      const columns = Object.keys(row);
      const marks = columns.map(() => "?").join(",");
      await run(
        `insert into ${table} (${columns.join(",")}) values (${marks})`,
        Object.values(row),
      );
    }

    async function problems() {
      const found = [];
      const range = { first: 0, last: 0 };
      for await (const step of verifyLog(database, web3Chain(chain.url), identity, range)) {
        found.push(...step.problems);
      }
      return found;
    }

    /** Another value in place of this one: one bit, one more, another letter. */
    function changed(value: Value, column: string): Value {
      if (value === null) return column.endsWith("id") ? Buffer.alloc(32, 1) : 1;
      if (typeof value === "number")
        return value + (/block_number|log_index/.test(column) ? 1_000 : 1);
      const bytes = Buffer.from(value);
      if (bytes.length === 0) return "x";
      bytes[bytes.length - 1] = bytes[bytes.length - 1]! ^ 1;
      return typeof value === "string" ? bytes.toString() : bytes;
    }

    it("is whole: VerifyLog finds nothing", async () => {
      expect(await problems()).to.deep.equal([]);
    });

    it("tells of a stranger's in the trail of the key, and of levels in the subject's", async () => {
      expect(await typesOf(database, hex(subjectKey("theirs")))).to.deep.equal([
        "deadlineSet",
        "deadlineExtended",
        "deadlinePaused",
        "deadlineResumed",
        "deadlineMet",
        "deadlineSet",
      ]);
      expect((await typesOf(database, "ours")).slice(0, 3)).to.deep.equal([
        "deadlineSet",
        "levelRaised",
        "levelRaised",
      ]);
      const [first, second] = await slasOf(database, "theirs");
      expect([first?.state, first?.extensions, second?.state]).to.deep.equal(["MET", 1, "OPEN"]);
      expect([first?.subject, second?.cycle]).to.deep.equal(["", 2]);
    });

    it("has no column that is not known here", async () => {
      for (const [table, { derived, free }] of Object.entries(COLUMNS)) {
        const [row] = untouched.get(table as Table)!;
        expect(Object.keys(row!), table).to.have.same.members([...derived, ...free]);
      }
    });

    for (const table of Object.keys(COLUMNS) as Table[]) {
      for (const column of COLUMNS[table].derived) {
        it(`is compared: ${table}.${column} is named, in any row`, async () => {
          const rows = untouched.get(table)!;
          for (const row of name === "SQLite" ? rows : rows.slice(-3)) {
            if (column === "cycle" && row["cycle"] === null) continue; // it failed: of no deadline
            await run(`update ${table} set ${column} = ? where id = ?`, [
              changed(row[column] ?? null, column),
              row["id"]!,
            ]);
            const found = (await problems()).map((problem) => problem.column);
            expect(found, `row ${String(row["id"])}`).to.include(`${table}.${column}`);
            await run(`update ${table} set ${column} = ? where id = ?`, [
              row[column] ?? null,
              row["id"]!,
            ]);
          }
        });
      }

      it(`misses no row of ${table}`, async () => {
        for (const row of untouched.get(table)!) {
          await run(`delete from ${table} where id = ?`, [row["id"]!]);
          expect(await problems(), `row ${String(row["id"])}`).to.not.be.empty;
          await insert(table, row);
        }
      });
    }

    it("is mended by SyncBlocks, where the chain has it", async () => {
      const sync = async (): Promise<SyncProgress> => {
        let last: SyncProgress | undefined;
        const adopt = () => Promise.reject(new Error("there is nothing to adopt"));
        const node = web3Chain(chain.url);
        const range = { from: 0, to: 0 };
        for await (const step of syncBlocks(database, node, identity, range, adopt)) last = step;
        return last as SyncProgress;
      };
      const count = untouched.get("sla_events")!.length;
      expect(await sync()).to.include({ deadlinesFound: count, deadlinesMended: 0 });
      await run("delete from sla_events where cycle = 1");
      await run("update sla_events set detail = 'x', account = ref");
      await run("update sla_changes set state = 'WAITING' where state = 'DONE'");
      await run("delete from slas where block_number is not null");
      expect((await sync()).deadlinesMended).to.be.within(2, count);
      expect(await sync()).to.include({ deadlinesMended: 0 });
      const found = (await problems()).map(({ column }) => column);
      // Which records the chain's own changes have is found again once it is followed.
      expect(new Set(found)).to.deep.equal(new Set(["sla_events.record_id"]));
    });
  });
}

describe("Deadlines of a database that was lost", function () {
  this.timeout(180_000);

  let chain: ExternalChain;
  let daemon: Daemon | undefined;
  let environment: Record<string, string>;

  beforeEach(async () => {
    chain = await startManagedChain();
    const DATA_DIR = temporaryFolder();
    environment = { ...chain.environment, DATA_DIR, CONFIRMATIONS: "1", SLA_POLICIES: "none" };
  });

  afterEach(async () => {
    await daemon?.kill();
    await chain.stop();
  });

  const start = async () => {
    daemon = await startDaemon(environment);
    return { running: daemon, client: slaClient(GRPC_DOOR, daemon) };
  };

  const files = ["anchord.db", "anchord.db-wal", "anchord.db-shm"];

  const tablesOf = async () => {
    const { sla_events, sla_changes, slas } = await dumpTables(environment);
    return {
      sla_events: without(sla_events, "id"),
      sla_changes: without(sla_changes, "id"),
      slas: without(slas, "id"),
    };
  };

  /** Two deadlines, one of them raised and the other met; and one of a stranger's. */
  async function fill(): Promise<void> {
    const { running, client } = await start();
    const wait = { waitFor: ANCHORED };
    await setSla(client, { subject: "raised", when: within(HOUR), ...wait });
    await setSla(client, { subject: "met", when: within(9 * HOUR), ...wait });
    await client.meetDeadline({ subject: "met", ...wait });
    await sealed(running);
    const deadline = (await timeOf(chain)) + 9 * HOUR;
    const set = { kind: "SET", deadline, ladder: [5] } as const;
    await changeOnChain(chain.slaRegistry, chain.admin, "theirs", set, ZERO32);
    await advance(chain, HOUR + 60);
    await until("a level is raised", async () => {
      return (await client.getSLA({ subject: "raised" })).sla?.level === 1;
    });
    await chain.mine(3);
    await until("the chain's own changes are recorded", async () => {
      const { sla } = await client.getSLA({ subject: "raised" });
      const theirs = (await client.getSLA({ subject: "theirs" })).sla;
      return sla?.changes.at(-1)?.recordId !== "" && theirs?.id !== "";
    });
    await settle(running);
  }

  /** Resolves once everything is final and published: blocks come as long as something is to come. */
  async function settle(running: Daemon): Promise<void> {
    let isOver = false;
    const mining = (async () => {
      while (!isOver) {
        await chain.mine(1);
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    })();
    await settled(running).finally(() => (isOver = true));
    await mining;
  }

  it("come back with it, table by table", async () => {
    await fill();
    await daemon?.stop();
    const before = await tablesOf();
    for (const file of files) rmSync(join(environment["DATA_DIR"]!, file), { force: true });
    const { code, stderr } = await rebuild(environment);
    expect(code, stderr).to.equal(0);
    const { running, client } = await start();
    await until("the chain's own changes have their records", async () => {
      const { sla } = await client.getSLA({ subject: "raised" });
      return sla?.changes.at(-1)?.recordId !== "";
    });
    expect(await problemsOf(running)).to.deep.equal([]);
    const { slas } = await client.listSLAs({});
    expect(slas.map(({ subject, state }) => `${subject} ${SLAState[state]}`)).to.have.members([
      "raised SLA_STATE_OPEN",
      "met SLA_STATE_MET",
      `${hex(subjectKey("theirs"))} SLA_STATE_OPEN`,
    ]);
    await running.stop();
    expect(await tablesOf()).to.deep.equal(before);
  });

  it("come back from a backup, and nothing is sent twice", async () => {
    const { running, client } = await start();
    await setSla(client, { subject: "before", when: within(HOUR), waitFor: ANCHORED });
    await settle(running);
    await running.stop();
    const backup = temporaryFolder();
    const copy = (from: string, to: string) => {
      for (const file of files) {
        rmSync(join(to, file), { force: true });
        if (existsSync(join(from, file))) cpSync(join(from, file), join(to, file));
      }
    };
    copy(environment["DATA_DIR"]!, backup);
    await fill();
    await daemon?.stop();
    const before = await tablesOf();
    const sent = await chain.rpc<string>("eth_getTransactionCount", chain.sealer, "latest");
    copy(backup, environment["DATA_DIR"]!);
    const { running: restored } = await start();
    await until("all is adopted", async () => {
      const { pending } = await restored.grpc.getStats({});
      const now = await tablesOf();
      return pending === 0n && now.slas.length === before.slas.length;
    });
    await until("it is as it was", async () => {
      return JSON.stringify(await tablesOf()) === JSON.stringify(before);
    });
    expect(await problemsOf(restored)).to.deep.equal([]);
    expect(await chain.rpc("eth_getTransactionCount", chain.sealer, "latest")).to.equal(sent);
  });
});
