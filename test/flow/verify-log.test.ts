import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { expect } from "chai";
import { CompiledQuery } from "kysely";
import { RecordEventsRequestSchema } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { CustomSchema, ThreatScale } from "../../gen/ts/anchord/v1/record_pb.js";
import type { Chain } from "../../src/chain/port.js";
import { web3Chain } from "../../src/chain/web3.js";
import { nextLeaf } from "../../src/core/batch.js";
import { hex, hex0x, sha256 } from "../../src/core/bytes.js";
import type { ContentState } from "../../src/core/evidence.js";
import { nextHead } from "../../src/core/head.js";
import { merkleRoot } from "../../src/core/merkle.js";
import { decodeEntry, encodeRecord } from "../../src/core/record.js";
import type { EncodedRecord } from "../../src/core/record.js";
import type { TrailLeaf } from "../../src/core/trail.js";
import { noteContent } from "../../src/flow/content-watch.js";
import type { Problem } from "../../src/flow/verify/problem.js";
import { verifyLog } from "../../src/flow/verify/log.js";
import { findBatch } from "../../src/store/batches.js";
import { storedIdentity } from "../../src/store/chain-position.js";
import type { StoredIdentity } from "../../src/store/chain-position.js";
import { openDatabase } from "../../src/store/database.js";
import type { Database } from "../../src/store/database.js";
import { expectContent } from "../../src/store/evidence.js";
import { strangeAnchors } from "../../src/store/evidence-anchors.js";
import type { StoredEvidence } from "../../src/store/evidence.js";
import { entriesOf, linkedRecords, listRecords, logLength } from "../../src/store/records.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import {
  addEvidence,
  allEvidence,
  anchorAsStranger,
  evidenceOf,
  evidenceRecord,
  fileNamed,
} from "../support/evidence-log.js";
import { evidenceNamed } from "../support/evidence-registry.js";
import { startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { sharedMysql } from "../support/mysql.js";
import { databasesOfRun } from "../support/databases.js";
import { randomOf, seedOfRun } from "../support/random.js";
import { until } from "../support/until.js";

type Value = Uint8Array | string | number | null;
type Row = Record<string, Value>;

/** What can be changed in a table: its key, its derived columns, and the columns that derive from nothing. */
const TABLES = {
  records: {
    key: "seq",
    derived: ["id", "entry", "subject", "type", "actor", "occur_time"],
    free: [],
  },
  requests: { key: "request_id", derived: ["caller", "request_id", "hash", "seq"], free: [] },
  leaves: { key: "seq", derived: ["trail_index", "leaf"], free: [] },
  batches: {
    key: "number",
    derived: [
      "first_seq",
      "size",
      "previous_head",
      "root",
      "manifest_digest",
      "trails_root",
      "nonce",
      "head",
      "transaction_hash",
      "block_number",
      "block_hash",
      "block_time",
      "gas_used",
    ],
    free: ["create_time"],
  },
  operations: {
    key: "id",
    derived: ["transaction_hash"],
    free: ["kind", "number", "sender", "nonce", "transaction", "state", "reason", "create_time"],
  },
  blocks: { key: "number", derived: ["hash"], free: [] },
  chain_position: {
    key: "id",
    derived: ["block_number"],
    free: ["final_number", "confirmed_number", "moves"],
  },
  identity: {
    key: "id",
    derived: ["chain_id", "contract", "evidence_contract", "sla_contract", "log", "genesis_hash"],
    free: ["deploy_block"],
  },
  evidence: {
    key: "id",
    derived: [
      "record_id",
      "subject_key",
      "digest",
      "cid",
      "size",
      "content",
      "submitter",
      "transaction_hash",
      "block_number",
      "block_hash",
      "block_time",
    ],
    // No record tells of a look that found nothing new, and which transaction was to anchor it is of no
    // matter: the registry says which one did.
    free: ["check_time", "group_number"],
  },
  strange_anchors: {
    key: "log_index",
    derived: [
      "subject_key",
      "digest",
      "cid",
      "log_index",
      "submitter",
      "transaction_hash",
      "block_number",
      "block_hash",
      "block_time",
    ],
    free: [],
  },
  tail: { key: "id", derived: [], free: ["length"] },
} as const;

type Table = keyof typeof TABLES;
const TABLE_NAMES = Object.keys(TABLES) as Table[];

/** Records of the log, by batch: subject, and request id where there is one. */
const BATCHES: readonly (readonly (readonly [subject: string, requestId: string])[])[] = [
  [
    ["user/a", "one"],
    ["user/b", ""],
    ["user/a", ""],
    ["user/c", "two"],
  ],
  [
    ["user/b", "three"],
    ["user/a", "four"],
    ["user/A", ""],
  ],
  [
    ["user/d", ""],
    ["user/d", ""],
  ],
  [
    ["user/a", "five"],
    ["user/b", ""],
    ["user/d", "six"],
    ["user/e", ""],
    ["user/a", ""],
  ],
];

/** Records that are in no batch. */
const WAITING: readonly (readonly [subject: string, requestId: string])[] = [
  ["user/a", "seven"],
  ["user/f", ""],
];

/** Where evidence stands on the chain. */
const PLACE = [
  "submitter",
  "transaction_hash",
  "block_number",
  "block_hash",
  "block_time",
] as const;

const OLDEST = { newestFirst: false, limit: 1 } as const;

const seed = seedOfRun();

for (const { name: flavour } of databasesOfRun(seed)) {
  describe(`VerifyLog, on ${flavour}`, function () {
    this.timeout(120_000);

    const random = randomOf(seed);
    let chain: ExternalChain;
    let database: Database;
    let untouched: Map<Table, Row[]>;
    let sealedCount: number;
    let batchCount: number;
    let length: number;
    /** The records that tell of the same file, by the position of each. */
    let relatives: Map<number, number[]>;

    before(async function () {
      console.log(`      SEED=${seed}`);
      const mysql = flavour === "MariaDB" ? await sharedMysql() : undefined;
      if (flavour === "MariaDB" && mysql === undefined) return this.skip();
      chain = await startExternalChain();
      const dataDir = temporaryFolder();
      const mysqlUrl = await mysql?.createDatabase();
      const target = mysqlUrl === undefined ? {} : { DATABASE_URL: mysqlUrl };
      const daemon = await startDaemon({
        ...chain.environment,
        ...target,
        DATA_DIR: dataDir,
        CONFIRMATIONS: "2",
      });
      database = openDatabase(
        mysqlUrl === undefined ? { sqlitePath: join(dataDir, "anchord.db") } : { mysqlUrl },
      );
      await fillLog(daemon);
      await fillEvidence(daemon);
      await daemon.stop();
      sealedCount = await logLength(database);
      await addWaiting();
      untouched = new Map();
      for (const table of TABLE_NAMES) untouched.set(table, await rowsOf(table));
      batchCount = untouched.get("batches")!.length;
      length = await logLength(database);
      relatives = await relatedRecords();
    });

    after(async () => {
      await database?.close();
      await chain?.stop();
    });

    afterEach(async () => {
      for (const [table, rows] of untouched) await replaceRows(table, rows);
    });

    /** Records batch by batch. */
    async function fillLog({ grpc }: Daemon): Promise<void> {
      for (const batch of BATCHES) {
        const events = batch.map(([subject, requestId]) => ({
          subject,
          requestId,
          actor: "actor",
          body: { case: "custom" as const, value: { type: "test", data: { of: subject } } },
        }));
        const message = create(RecordEventsRequestSchema, { events });
        for await (const _ of grpc.recordEvents(once(message))) await grpc.sealNow({});
      }
    }

    /** Hands in evidence of every kind, has it sealed and anchored, and finds files in other states. */
    async function fillEvidence({ grpc }: Daemon): Promise<void> {
      const [kept, lost, mended, late] = ["kept", "lost", "mended", "late"].map(fileNamed);
      await note(await addEvidence(database, "user/a", kept!, "file"), "INTACT");
      const lostOne = await addEvidence(database, "user/g", lost!, "file");
      const mendedOne = await addEvidence(database, "user/g", mended!, "file");
      const lateOne = await addEvidence(database, "user/a", late!, "hash");
      await addEvidence(database, "user/g", late!, "hash, CID and size");
      await grpc.sealNow({});
      await database.transact((trx) => expectContent(trx, lateOne, late!));
      await note(lateOne, "INTACT");
      await note(lostOne, "MISSING");
      await note(mendedOne, "ALTERED");
      await note(mendedOne, "INTACT");
      await anchorAsStranger(chain, [evidenceNamed("recorded")]);
      await chain.mine(2);
      await until("all evidence has a record, and is anchored", async () => {
        const anchored = (await allEvidence(database)).filter(({ anchor }) => anchor !== undefined);
        return anchored.length === 6;
      });
      await grpc.sealNow({});
      await anchorAsStranger(chain, [evidenceNamed("strange"), evidenceNamed("stranger")]);
      await until("anchors wait to be final", async () => {
        return (await strangeAnchors(database, Number.MAX_SAFE_INTEGER, 10)).length === 2;
      });
    }

    async function note({ recordId }: StoredEvidence, found: ContentState): Promise<void> {
      await noteContent(database, await evidenceOf(database, recordId), found, Date.now());
    }

    /**
     * Which records tell of the same file: where one of them was changed, the rows that follow from it may
     * seem wrong to another.
     */
    async function relatedRecords(): Promise<Map<number, number[]>> {
      const byDigest = new Map<string, number[]>();
      for (const [seq, bytes] of (await entriesOf(database, 0, length)).entries()) {
        const { body } = decodeEntry(bytes);
        if (body.case !== "evidenceAdded" && body.case !== "evidenceChecked") continue;
        const { sha256: digest } = body.value;
        byDigest.set(digest, [...(byDigest.get(digest) ?? []), seq]);
      }
      return new Map([...byDigest.values()].flatMap((seqs) => seqs.map((seq) => [seq, seqs])));
    }

    /** Adds what shall be in no batch: nobody seals any more. */
    async function addWaiting(): Promise<void> {
      const records = WAITING.map(([subject, id]) =>
        encodeRecord(
          {
            caller: "local",
            subject,
            actor: "actor",
            occurTime: undefined,
            body: { case: "custom", value: create(CustomSchema, { type: "test" }) },
            request: id === "" ? undefined : { id, hash: sha256(Buffer.from(id)) },
          },
          { scale: ThreatScale.HUNDRED },
        ),
      );
      await database.append([{ records }]);
      await addEvidence(database, "user/h", fileNamed("waiting"), "hash");
      const unseen = await addEvidence(
        database,
        "user/h",
        fileNamed("anchored, not followed"),
        "file",
      );
      await anchorAsStranger(chain, [{ ...unseen, ref: unseen.recordId, cid: new Uint8Array() }]);
    }

    async function run(sql: string, values: readonly unknown[] = []): Promise<Row[]> {
      const text = database.flavour === "mysql" ? sql.replaceAll('"', "`") : sql;
      const { rows } = await database.schema.executeQuery(CompiledQuery.raw(text, [...values]));
      return rows as Row[];
    }

    async function rowsOf(table: Table): Promise<Row[]> {
      const rows = await run(`select * from ${table} order by ${TABLES[table].key}`);
      const textColumns: readonly string[] = [
        "subject",
        "type",
        "actor",
        "caller",
        "request_id",
        "chain_id",
        "state",
        "reason",
      ];
      return rows.map((row) =>
        Object.fromEntries(
          Object.entries(row).map(([column, value]) => [
            column,
            value instanceof Uint8Array && textColumns.includes(column)
              ? Buffer.from(value).toString()
              : value,
          ]),
        ),
      );
    }

    async function replaceRows(table: Table, rows: readonly Row[]): Promise<void> {
      await run(`delete from ${table}`);
      for (const row of rows) {
        const columns = Object.keys(row);
        const marks = columns.map(() => "?").join(",");
        await run(
          `insert into ${table} (${columns.map((column) => `"${column}"`).join(",")}) values (${marks})`,
          Object.values(row),
        );
      }
    }

    async function update(table: Table, row: Row, column: string, value: Value): Promise<void> {
      const { key } = TABLES[table];
      await run(`update ${table} set "${column}" = ? where ${key} = ?`, [value, row[key]]);
    }

    async function problems(
      changes: Partial<StoredIdentity> = {},
      asked: Chain = web3Chain(chain.url),
    ): Promise<Problem[]> {
      const identity = { ...(await identityOfLog()), ...changes };
      const found: Problem[] = [];
      for await (const step of verifyLog(database, asked, identity, { first: 0, last: 0 })) {
        found.push(...step.problems);
      }
      return found;
    }

    /** The identity that a daemon would have read when it started: before the change. */
    async function identityOfLog() {
      const [row] = untouched.get("identity")!;
      const now = (await storedIdentity(database))!;
      return { ...now, ...identityIn(row!) };
    }

    /** Every row on SQLite; on MariaDB, which takes longer to write, a few. */
    function some(rows: readonly Row[]): readonly Row[] {
      return flavour === "SQLite" ? rows : few(rows);
    }

    function few(rows: readonly Row[]): readonly Row[] {
      const start = random.between(0, Math.max(0, rows.length - 3));
      return rows.slice(start, start + 3);
    }

    /** Another value in place of this one: one bit, one letter, one more. */
    function changed(value: Value, column: string): Value {
      if (value === null) return /size|number|time/.test(column) ? 1 : Buffer.alloc(20, 1);
      if (value instanceof Uint8Array) {
        if (value.length === 0) return Buffer.from("1");
        const bytes = Buffer.from(value);
        const at = random.between(0, bytes.length - 1);
        bytes[at] = bytes[at]! ^ (1 << random.between(0, 7));
        return bytes;
      }
      // The next batch may begin one record further.
      if (typeof value === "number") return value + (column === "first_seq" ? 1_000 : 1);
      const text = String(value);
      const last = text.at(-1) ?? "";
      const other = last === last.toUpperCase() ? last.toLowerCase() : last.toUpperCase();
      return text.slice(0, -1) + (other === last ? String((Number(last) + 1) % 10) : other);
    }

    /** The positions that a change to this record may touch: its own, and the next of its trails. */
    function neighbours(seq: number, otherSubject?: Value): number[] {
      const records = untouched.get("records")!;
      const subjects = [records[seq]!["subject"], otherSubject];
      const next = subjects.map((subject) =>
        records.findIndex((each, at) => at > seq && each["subject"] === subject),
      );
      return [seq, ...next.filter((at) => at >= 0), ...(relatives.get(seq) ?? [])];
    }

    /** What was found names the column of the row, and nothing that has nothing to do with it. */
    async function expectNamed(
      table: Table,
      column: string,
      row: Row,
      value: Value,
    ): Promise<void> {
      const found = await problems();
      const seq = table === "records" || table === "leaves" ? Number(row["seq"]) : undefined;
      const owner = table === "requests" ? Number(row["seq"]) : seq;
      const number = table === "batches" ? Number(row["number"]) : undefined;
      // Before it is sealed, an entry is known by nothing but its own hash.
      const isWaiting = table === "records" && Number(row["seq"]) >= sealedCount;
      const names = [
        `${table}.${column}`,
        ...(isWaiting && column === "entry" ? ["records.id"] : []),
      ];
      const named = found.filter((each) => names.includes(each.column));
      const what = `${table}.${column} of ${String(row[TABLES[table].key])}: ${JSON.stringify(found)}`;
      expect(named, what).to.not.be.empty;
      if (owner !== undefined && owner < sealedCount) {
        expect(
          named.map((each) => each.seq),
          what,
        ).to.include(owner);
        const allowed = neighbours(owner, column === "subject" ? value : undefined);
        for (const each of found)
          if (each.seq !== undefined) expect(allowed, what).to.include(each.seq);
      }
      if (number !== undefined) {
        expect(
          named.map(({ batch }) => batch),
          what,
        ).to.include(number);
        for (const each of found) expect([number, number + 1], what).to.include(each.batch);
      }
    }

    function batchOf(seq: number): number {
      return (
        1 +
        untouched
          .get("batches")!
          .slice(1)
          .filter((batch) => seq >= Number(batch["first_seq"])).length
      );
    }

    /** The position of the record that evidence was accepted with. */
    function seqOfEvidence(row: Row): number {
      const records = untouched.get("records")!;
      return records.findIndex((each) => hexOf(each["id"]) === hexOf(row["record_id"]));
    }

    it("finds nothing in an untouched log", async () => {
      expect(await problems()).to.deep.equal([]);
    });

    it("knows every column that there is", () => {
      for (const [table, rows] of untouched) {
        const { key, derived, free } = TABLES[table];
        const known = new Set<string>([key, ...derived, ...free]);
        for (const column of Object.keys(rows[0]!)) expect(known, table).to.include(column);
      }
    });

    for (const table of TABLE_NAMES) {
      for (const column of TABLES[table].derived) {
        it(`names ${table}.${column} when it is changed, in any row`, async () => {
          for (const row of some(untouched.get(table)!)) {
            const value = changed(row[column]!, column);
            await update(table, row, column, value);
            await expectNamed(table, column, row, value);
            await replaceRows(table, untouched.get(table)!);
          }
        });
        // Only SQLite takes it, and in every column.
        if (flavour === "SQLite") {
          it(`names ${table}.${column} where it is text that is no UTF-8`, async () => {
            const { key } = TABLES[table];
            for (const row of few(untouched.get(table)!)) {
              const set = `"${column}" = cast(x'3938373635ff' as text)`;
              await run(`update ${table} set ${set} where ${key} = ?`, [row[key]]);
              await expectNamed(table, column, row, null);
              await replaceRows(table, untouched.get(table)!);
            }
          });
        }
      }
    }

    it("names the records that are missing when tail.length says that there are more", async () => {
      await run("update tail set length = length + 1");
      const found = await problems();
      expect(found.map(({ column, seq }) => [column, seq])).to.deep.equal([
        ["records.seq", length],
      ]);
    });

    it("names tail.length when the log was cut shorter", async () => {
      await run("update tail set length = length - 1");
      expect((await problems()).map(({ column }) => column)).to.include("tail.length");
    });

    it("names a final block that is ahead of the chain", async () => {
      await run("update chain_position set final_number = block_number + 1");
      expect((await problems()).map(({ column }) => column)).to.include(
        "chain_position.final_number",
      );
    });

    it("names a block that the chain has not", async () => {
      await run(
        "update blocks set number = number + 100 where number = (select block_number from chain_position)",
      );
      expect((await problems()).map(({ column }) => column)).to.include("blocks.number");
    });

    for (const column of ["transaction_hash", "block_number", "block_hash"] as const) {
      it(`names a batch whose ${column} was taken away`, async () => {
        await run(`update batches set ${column} = null where number = 2`);
        const found = await problems();
        expect(found.map(({ batch }) => batch)).to.include(2);
        expect(found.every(({ seq }) => seq === undefined)).to.equal(true);
      });
    }

    it("finds nothing where a batch is marked as on the chain while it is checked", async () => {
      const last = untouched.get("batches")!.at(-1)!;
      const [number, block] = [Number(last["number"]), Number(last["block_number"])];
      const place = ["transaction_hash", "block_number", "block_hash", "block_time", "gas_used"];
      const nothing = place.map((column) => `${column} = null`).join(", ");
      await run(`update batches set ${nothing} where number = ?`, [number]);
      await run("update operations set state = 'SENT' where kind = 'SEAL' and number = ?", [
        number,
      ]);
      await run("update chain_position set block_number = ?", [block - 1]);
      await run("delete from blocks where number >= ?", [block]);
      const asked = web3Chain(chain.url);
      const { batch } = web3Chain(chain.url);
      let isRead = false;
      asked.batch = async (id, of) => {
        // The head before is asked for when the row was read.
        if (isRead && Number(of) === number - 1)
          for (const [table, rows] of untouched) await replaceRows(table, rows);
        isRead ||= Number(of) === number;
        return batch(id, of);
      };
      expect(await problems({}, asked)).to.deep.equal([]);
      expect(isRead).to.equal(true);
    });

    it("names a deleted record by its position", async () => {
      for (let seq = 0; seq < length; seq++) {
        await run("delete from records where seq = ?", [seq]);
        const found = await problems();
        const named = found.filter((each) => each.column === "records.seq").map((each) => each.seq);
        expect(named).to.deep.equal([seq]);
        const allowed = neighbours(seq);
        for (const each of found) {
          if (each.column === "evidence.record_id") expect(relatives.has(seq)).to.equal(true);
          else expect(allowed, JSON.stringify(found)).to.include(each.seq);
        }
        await replaceRows("records", untouched.get("records")!);
      }
    });

    it("names the record of a deleted leaf", async () => {
      for (let seq = 0; seq < sealedCount; seq++) {
        await run("delete from leaves where seq = ?", [seq]);
        const found = await problems();
        expect(
          found.filter((each) => each.column === "leaves.seq").map((each) => each.seq),
        ).to.deep.equal([seq]);
        const allowed = neighbours(seq);
        for (const each of found) expect(allowed, JSON.stringify(found)).to.include(each.seq);
        await replaceRows("leaves", untouched.get("leaves")!);
      }
    });

    it("names a deleted batch, and none of its records", async () => {
      for (let number = 1; number <= batchCount; number++) {
        await run("delete from batches where number = ?", [number]);
        const found = await problems();
        expect(found.map(({ batch, column }) => `${batch} ${column}`)).to.deep.equal([
          `${number} batches.number`,
        ]);
        await replaceRows("batches", untouched.get("batches")!);
      }
    });

    it("names the record of a deleted request", async () => {
      for (const request of untouched.get("requests")!) {
        await run("delete from requests where request_id = ?", [request["request_id"]]);
        const found = await problems();
        expect(found.map(({ column, seq }) => [column, seq])).to.deep.equal([
          ["requests.seq", Number(request["seq"])],
        ]);
        await replaceRows("requests", untouched.get("requests")!);
      }
    });

    it("names a request that no record was made by", async () => {
      for (const seq of [0, 1, 10_000]) {
        await run("insert into requests (caller, request_id, hash, seq) values (?, ?, ?, ?)", [
          "local",
          "forged",
          Buffer.alloc(32),
          seq,
        ]);
        expect(
          (await problems()).map(({ column }) => column),
          String(seq),
        ).to.include("requests.seq");
        await replaceRows("requests", untouched.get("requests")!);
      }
    });

    it("names the record of evidence whose row was deleted", async () => {
      for (const row of untouched.get("evidence")!) {
        await run("delete from evidence where id = ?", [row["id"]]);
        const found = await problems();
        expect(found.map(({ column, recordId }) => [column, recordId])).to.deep.equal([
          ["evidence.record_id", hexOf(row["record_id"])],
        ]);
        await replaceRows("evidence", untouched.get("evidence")!);
      }
    });

    it("names evidence that no record tells of", async () => {
      const [row] = untouched.get("evidence")!;
      const forged = {
        ...row!,
        id: 1_000,
        record_id: Buffer.alloc(32, 1),
        digest: Buffer.alloc(32),
      };
      await replaceRows("evidence", [...untouched.get("evidence")!, forged]);
      const found = await problems();
      expect(found.map(({ column, recordId }) => [column, recordId])).to.deep.equal([
        ["evidence.record_id", "01".repeat(32)],
      ]);
    });

    it("names evidence that is given to a record of another kind", async () => {
      for (const { id } of await listRecords(database, { toSeq: 1 }, OLDEST)) {
        await run("update evidence set record_id = ? where id = 1", [id]);
      }
      const found = await problems();
      const seq = seqOfEvidence(untouched.get("evidence")![0]!);
      expect(found.filter((each) => each.seq === seq).map(({ column }) => column)).to.deep.equal([
        "evidence.record_id",
      ]);
    });

    it("names evidence that a transaction has anchored, but that is not marked so", async () => {
      for (const row of some(untouched.get("evidence")!)) {
        if (row["block_number"] === null) continue;
        await run(`update evidence set ${PLACE.join(" = null, ")} = null where id = ?`, [
          row["id"],
        ]);
        expect(columnsAndSeqs(await problems())).to.deep.equal([
          ["evidence.block_number", seqOfEvidence(row)],
        ]);
        await replaceRows("evidence", untouched.get("evidence")!);
      }
    });

    it("names evidence that is on chain in a block that was followed since", async () => {
      const { number } = await web3Chain(chain.url).latestBlock();
      await run("update chain_position set block_number = ?", [number]);
      const [last] = untouched.get("evidence")!.slice(-1);
      const found = columnsAndSeqs(await problems()).filter(([column]) => column!.startsWith("e"));
      expect(found).to.deep.equal([["evidence.block_number", seqOfEvidence(last!)]]);
    });

    for (const column of PLACE) {
      it(`names anchored evidence whose ${column} was taken away`, async () => {
        const [row] = untouched.get("evidence")!;
        await run(`update evidence set ${column} = null where id = ?`, [row!["id"]]);
        expect(columnsAndSeqs(await problems())).to.deep.equal([
          [`evidence.${column}`, seqOfEvidence(row!)],
        ]);
      });
    }

    it("names evidence that is marked as anchored where the registry has nothing of it", async () => {
      const [row] = untouched.get("evidence")!;
      const set = PLACE.map((column) => `${column} = ?`).join(", ");
      const waiting = untouched.get("evidence")!.at(-2)!;
      expect(waiting["block_number"]).to.equal(null);
      await run(`update evidence set ${set} where id = ?`, [
        ...PLACE.map((column) => row![column]),
        waiting["id"],
      ]);
      expect(columnsAndSeqs(await problems())).to.deep.equal([
        ["evidence.block_number", seqOfEvidence(waiting)],
      ]);
    });

    it("names all that is marked as anchored where there is no registry", async () => {
      const found = await problems({ evidence: undefined });
      const marked = untouched.get("evidence")!.filter((row) => row["block_number"] !== null);
      const ofEvidence = found.filter(({ column }) => column === "evidence.block_number");
      expect(ofEvidence.map(({ seq }) => seq)).to.have.members(marked.map(seqOfEvidence));
      const strange = found.filter(({ column }) => column === "strange_anchors.digest");
      expect(strange).to.have.length(untouched.get("strange_anchors")!.length);
    });

    it("names an anchor without a record where there is one", async () => {
      const [row] = untouched.get("evidence")!;
      const { subject_key, digest } = row!;
      const place = Object.fromEntries(PLACE.map((column) => [column, row![column]!]));
      const forged = { subject_key, digest, cid: Buffer.alloc(0), log_index: 9, ...place };
      const [first] = untouched.get("strange_anchors")!;
      await replaceRows("strange_anchors", [first!, forged as Row]);
      const found = await problems();
      const named = found.filter(({ message }) =>
        message.includes("there is evidence with its key"),
      );
      expect(named.map(({ column }) => column)).to.deep.equal(["strange_anchors.digest"]);
    });

    for (const [from, to] of [
      ["INTACT", "MISSING"],
      ["INTACT", "ALTERED"],
      ["INTACT", "NONE"],
      ["MISSING", "INTACT"],
      ["MISSING", "PENDING"],
      ["NONE", "INTACT"],
    ] as const) {
      it(`names a file that is ${from} and was made ${to}`, async () => {
        const rows = untouched.get("evidence")!.filter((row) => String(row["content"]) === from);
        expect(rows).not.to.be.empty;
        for (const row of rows) {
          await run("update evidence set content = ? where id = ?", [to, row["id"]]);
          const found = await problems();
          expect(found, JSON.stringify(found)).to.not.be.empty;
          for (const { column, seq } of found) {
            expect(column).to.equal("evidence.content");
            expect(relatives.get(seqOfEvidence(row))).to.include(seq);
          }
          await replaceRows("evidence", untouched.get("evidence")!);
        }
      });
    }

    it("takes a file that came after its hash as on its way until it is kept", async () => {
      const waiting = untouched.get("evidence")!.at(-2)!;
      const { cid, size } = fileNamed("waiting");
      await run("update evidence set content = 'PENDING', cid = ?, size = ? where id = ?", [
        cid,
        size,
        waiting["id"],
      ]);
      expect(await problems()).to.deep.equal([]);
    });

    describe("with evidence that has two records, as a restored database may", () => {
      let second: EncodedRecord;

      beforeEach(async () => {
        second = evidenceRecord("user/a", fileNamed("kept"), "hash");
        await database.append([{ records: [second] }]);
      });

      it("finds nothing", async () => {
        expect(await problems()).to.deep.equal([]);
      });

      it("names the first one where the row was given to the second", async () => {
        const [row] = untouched.get("evidence")!;
        await run("update evidence set record_id = ? where id = ?", [second.id, row!["id"]]);
        expect(columnsAndSeqs(await problems())).to.deep.include([
          "evidence.record_id",
          seqOfEvidence(row!),
        ]);
      });

      it("takes what is known of the file as the second one has it", async () => {
        const [row] = untouched.get("evidence")!;
        const set = "content = 'NONE', cid = '', size = null";
        await run(`update evidence set ${set} where id = ?`, [row!["id"]]);
        expect(await problems()).to.deep.equal([]);
      });
    });

    it("names a leaf of a record that is in no batch", async () => {
      await run("insert into leaves (seq, trail_index, leaf) values (?, 0, ?)", [
        sealedCount,
        Buffer.alloc(32),
      ]);
      const found = await problems();
      expect(found.map(({ column, seq }) => [column, seq])).to.deep.equal([
        ["leaves.seq", sealedCount],
      ]);
    });

    it("names a batch that is marked as on chain, but is not", async () => {
      const [last] = untouched.get("batches")!.slice(-1);
      const number = batchCount + 1;
      const forged = { ...last!, number, first_seq: sealedCount, size: length - sealedCount };
      await replaceRows("batches", [...untouched.get("batches")!, forged]);
      expect(
        (await problems()).filter(({ batch }) => batch === number).map(({ column }) => column),
      ).to.include("batches.block_number");
    });

    it("names a swapped pair of records", async () => {
      for (const [a, b] of [
        [0, 1],
        [0, 2],
        [1, 5],
        [9, 10],
      ] as const) {
        for (const [from, to] of [
          [a, -1],
          [b, a],
          [-1, b],
        ]) {
          await run("update records set seq = ? where seq = ?", [to, from]);
        }
        const seqs = new Set((await problems()).map(({ seq }) => seq));
        expect([...seqs]).to.include.members([a, b]);
        await replaceRows("records", untouched.get("records")!);
      }
    });

    for (const upTo of ["entry", "leaf", "root", "head"] as const) {
      it(`names a record that was forged consistently up to the ${upTo}`, async () => {
        for (let seq = 0; seq < sealedCount; seq++) {
          if (untouched.get("records")![seq]!["actor"] !== "actor") continue; // it has none to forge
          await forge(seq, upTo);
          const found = await problems();
          const number = batchOf(seq);
          expect(
            found.some((each) => each.seq === seq && each.batch === number),
            JSON.stringify(found),
          ).to.equal(true);
          const ofBatch = found.filter(
            (each) => each.batch === number && each.column === "batches.root",
          );
          expect(ofBatch.length > 0).to.equal(upTo === "root" || upTo === "head");
          for (const [table, rows] of untouched) await replaceRows(table, rows);
        }
      });
    }

    it("names a consistently forged record also where a harmless column beside it was changed", async () => {
      await forge(0, "leaf");
      await run("update records set type = 'decoy' where seq = 1");
      const found = await problems();
      expect(found.map(({ seq }) => seq)).to.include.members([0, 1]);
    });

    /** Rewrites an entry, and everything that follows from it up to some point, in all batches. */
    async function forge(seq: number, upTo: "entry" | "leaf" | "root" | "head"): Promise<void> {
      const [record] = await listRecords(
        database,
        { fromSeq: seq, toSeq: seq + 1 },
        { newestFirst: false, limit: 1 },
      );
      const entry = Buffer.from(record!.entry);
      const at = entry.indexOf("actor");
      entry.write("forge", at);
      await run("update records set entry = ?, id = ?, actor = 'forge' where seq = ?", [
        entry,
        sha256(entry),
        seq,
      ]);
      if (upTo === "entry") return;
      const leaves: TrailLeaf[] = [];
      for (const { id, previousSeq } of await linkedRecords(database, 0, sealedCount)) {
        leaves.push(nextLeaf(id, previousSeq === undefined ? undefined : leaves[previousSeq]));
        await run("update leaves set leaf = ? where seq = ?", [
          leaves.at(-1)!.leaf,
          leaves.length - 1,
        ]);
      }
      if (upTo === "leaf") return;
      let previous: Uint8Array | undefined;
      for (let number = 1; number <= batchCount; number++) {
        const batch = (await findBatch(database, number))!;
        const own = leaves.slice(batch.firstSeq, batch.firstSeq + Number(batch.seal.size));
        const root = merkleRoot(own.map(({ leaf }) => leaf));
        await run("update batches set root = ? where number = ?", [root, number]);
        if (upTo === "root") continue;
        const head: Uint8Array = nextHead(previous ?? batch.previousHead, { ...batch.seal, root });
        await run("update batches set head = ?, previous_head = ? where number = ?", [
          head,
          previous ?? batch.previousHead,
          number,
        ]);
        previous = head;
      }
    }
  });
}

function columnsAndSeqs(found: readonly Problem[]) {
  return found.map(({ column, seq }) => [column, seq] as const);
}

function hexOf(value: Value | undefined): string {
  return hex(value as Uint8Array);
}

async function* once<T>(message: T) {
  yield message;
}

function identityIn(row: Row) {
  return {
    chainId: BigInt(row["chain_id"] as string),
    contract: hex0x(row["contract"] as Uint8Array),
    evidence: hex0x(row["evidence_contract"] as Uint8Array),
    sla: hex0x(row["sla_contract"] as Uint8Array),
    log: row["log"] as Uint8Array,
    genesisHash: hex0x(row["genesis_hash"] as Uint8Array),
  };
}
