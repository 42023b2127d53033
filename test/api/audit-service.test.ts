import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary, fromJson, toJson, toJsonString } from "@bufbuild/protobuf";
import type { JsonObject, MessageInitShape } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate, timestampMs } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import canonicalize from "canonicalize";
import { expect } from "chai";
import {
  GetReceiptResponseSchema,
  ListOrder,
  ReceiptVerdict,
  RecordEventRequestSchema,
  RecordEventsRequestSchema,
} from "../../gen/ts/anchord/v1/audit_service_pb.js";
import type {
  ListRecordsRequest,
  RecordEventResponse,
  VerifyLogResponse,
} from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { EntrySchema, ReceiptSchema } from "../../gen/ts/anchord/v1/receipt_pb.js";
import type { Receipt } from "../../gen/ts/anchord/v1/receipt_pb.js";
import { RecordSchema, RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import type { Record as RecordMessage } from "../../gen/ts/anchord/v1/record_pb.js";
import { hex, sha256 } from "../../src/core/bytes.js";
import { checkReceipt } from "../../src/core/receipt.js";
import { web3Chain } from "../../src/chain/web3.js";
import { startDaemon } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { DATABASES } from "../support/databases.js";
import { callerOf, DOORS, METHODS, post, refusal, refusalOf } from "../support/doors.js";
import type { AuditClient, Door } from "../support/doors.js";
import { run } from "../support/run.js";

const PYTHON = process.env["PYTHON"] ?? "python3";

const { ACCEPTED, ANCHORED, FINAL } = RecordState;

type Event = MessageInitShape<typeof RecordEventRequestSchema>;
type Body = NonNullable<Event["body"]>;

/** What a Struct may hold; JSON.parse, unlike a literal, makes a field of the name `__proto__`. */
const DETAILS = JSON.parse(`{
  "10": "ten", "9": "nine", "a": null, "": "empty",
  "__proto__": {"polluted": true, "__proto__": 1}, "constructor": "x",
  "größe": ["日本", "\\ud83d\\ude00", "e\\u0301", "\\u0000"],
  "deep": [[{"x": [1, -0.5, 1e300, 5e-324, 9007199254740991, true, false, {}, []]}]]
}`) as JsonObject;

/** A body of every type, with every field set. */
const BODIES: Readonly<Record<string, JsonObject>> = {
  threat: { score: 92.5, durationMinutes: 18.7, scale: "THREAT_SCALE_HUNDRED", details: DETAILS },
  trade: {
    tradeId: "t-1",
    symbol: "BTC/USDT",
    side: "SIDE_BUY",
    quantity: 0.1,
    price: -37.63,
    orderType: "market",
    details: DETAILS,
  },
  order: {
    orderId: "o-1",
    symbol: "ETH/USDT",
    side: "SIDE_SELL",
    quantity: 3,
    price: 50000,
    orderType: "limit",
    status: "filled",
    details: DETAILS,
  },
  systemChange: { component: "engine", changeType: "deploy", details: DETAILS },
  login: { user: "ada", success: true, source: "::1", method: "password", details: DETAILS },
  configChange: { key: "limit", oldValue: "1", newValue: "ä\n2", details: DETAILS },
  complaint: { eventType: "ASSIGNED", assignee: "bob", status: "open", details: DETAILS },
  custom: { type: "door.opened", data: DETAILS },
};

/** What the server adds to a body. */
const DERIVED: Readonly<Record<string, JsonObject>> = {
  threat: { severity: "THREAT_SEVERITY_CRITICAL" },
};

let made = 0;
/** A name that no other test uses. */
const unique = (what: string) => `${what}-${made++}`;

const login = (user = "ada"): Body => ({ case: "login", value: { user } });
const custom = (type: string): Body => ({ case: "custom", value: { type } });

for (const database of DATABASES) {
  describe(`AuditService on ${database.name}`, function () {
    this.timeout(60_000);

    let daemon: Daemon | undefined;

    before(async function () {
      this.timeout(300_000);
      const settings = await database.settings();
      if (settings === undefined) return this.skip();
      daemon = await startDaemon({ ...settings, API_TOKENS: "one,two", CONFIRMATIONS: "1" });
    });

    after(() => daemon?.stop());

    for (const door of DOORS) {
      describe(`through the ${door.name} door`, () => behaves(() => daemon as Daemon, door));
    }
  });
}

/** Everything that the service promises, whatever door and database. */
function behaves(running: () => Daemon, door: Door): void {
  let daemon: Daemon;
  let client: AuditClient;

  before(() => {
    daemon = running();
    client = door.client(daemon, "one");
  });

  const recorded = (event: Event) => client.recordEvent({ body: login(), ...event });
  const anchored = (event: Event) => recorded({ waitFor: ANCHORED, ...event });
  const get = async (recordId: string) =>
    (await client.getRecord({ recordId })).record as RecordMessage;

  describe("RecordEvent", () => {
    for (const [name, body] of Object.entries(BODIES)) {
      it(`records a body of type ${name}, which GetRecord gives back as it came`, async () => {
        const given = {
          subject: unique("user/€"),
          actor: "Zoë",
          requestId: unique("r"),
          occurTime: "2026-01-31T08:00:00.123456789Z",
          [name]: body,
        };
        const { recordId, state, replayed } = await client.recordEvent(
          fromJson(RecordEventRequestSchema, given) as Event,
        );
        expect(recordId).to.match(/^[0-9a-f]{64}$/);
        expect({ state, replayed }).to.deep.equal({ state: ACCEPTED, replayed: false });
        const record = toJson(RecordSchema, await get(recordId)) as JsonObject;
        expect(record).to.include({ id: recordId, caller: callerOf("one") });
        const seen = Object.fromEntries(Object.keys(given).map((key) => [key, record[key]]));
        const expected = { ...given, [name]: { ...body, ...DERIVED[name] } };
        expect(canonicalize(seen)).to.equal(canonicalize(expected));
      });
    }

    it("takes the time of acceptance for the time of the event where none is given", async () => {
      const before = Date.now();
      const { recordId } = await recorded({ subject: unique("user") });
      const { occurTime, acceptTime } = await get(recordId);
      expect(occurTime).to.deep.equal(acceptTime);
      expect(timestampMs(acceptTime as never)).to.be.within(before, Date.now());
    });

    it("answers with the entry, whose SHA-256 is the record's id", async () => {
      const subject = unique("user");
      const { recordId, receipt } = await recorded({ subject });
      expect(hex(sha256(receipt?.entry as Uint8Array))).to.equal(recordId);
      expect(fromBinary(EntrySchema, receipt?.entry as Uint8Array).subject).to.equal(subject);
    });

    it("waits until the record is anchored, and answers with the whole receipt", async () => {
      const { recordId, state, receipt } = await anchored({ subject: unique("user") });
      expect(state).to.be.at.least(ANCHORED);
      const { record } = await client.getRecord({ recordId });
      expect(record?.anchor).to.deep.equal(receipt?.anchor);
      expect(record?.batchNumber).to.equal(receipt?.batch?.number);
    });

    it("waits until the record is final", async () => {
      const waiting = recorded({ subject: unique("user"), waitFor: FINAL });
      // Final means one block behind the record's own: the second of these cannot share its batch.
      await anchored({ subject: unique("user") });
      await anchored({ subject: unique("user") });
      expect((await waiting).state).to.equal(FINAL);
    });

    it("answers before the deadline with the state that was reached", async () => {
      const started = performance.now();
      const { recordId, state } = await client.recordEvent(
        { subject: unique("user"), body: login(), waitFor: FINAL },
        { timeoutMs: 4_000 },
      );
      expect(performance.now() - started).to.be.below(4_000);
      expect(state).to.equal(ANCHORED);
      expect((await get(recordId)).state).to.equal(ANCHORED);
    });
  });

  describe("request_id", () => {
    it("makes a repeated call the same record, with its receipt as far as it has come", async () => {
      const event = { subject: unique("user"), requestId: unique("r"), body: login() };
      const first = await client.recordEvent(event);
      const second = await client.recordEvent({ ...event, waitFor: ANCHORED });
      const third = await client.recordEvent(event);
      expect([first, second, third].map(({ replayed }) => replayed)).to.deep.equal([
        false,
        true,
        true,
      ]);
      expect([second.recordId, third.recordId]).to.deep.equal([first.recordId, first.recordId]);
      expect(third.state).to.be.at.least(ANCHORED);
      expect(hex(third.receipt?.entry as Uint8Array)).to.equal(
        hex(first.receipt?.entry as Uint8Array),
      );
      expect(third.receipt?.anchor?.transactionHash).to.match(/^0x[0-9a-f]{64}$/);
      expect((await client.countRecords({ filter: { subject: event.subject } })).count).to.equal(
        1n,
      );
    });

    it("refuses another body, and names the record that has the request_id", async () => {
      const event = { subject: unique("user"), requestId: unique("r") };
      const { recordId } = await recorded({ ...event, body: login("ada") });
      for (const other of [
        { ...event, body: login("bob") },
        { ...event, actor: "x" },
        { ...event, occurTime: timestampFromDate(new Date(0)) },
      ]) {
        const found = await refusalOf(recorded(other));
        expect(found).to.include({
          code: "AlreadyExists",
          reason: "ERROR_REASON_REQUEST_ID_REUSED",
          domain: "anchord",
        });
        expect(found.metadata["record_id"]).to.equal(recordId);
      }
      expect((await client.countRecords({ filter: { subject: event.subject } })).count).to.equal(
        1n,
      );
    });

    it("belongs to its caller: another token makes another record", async () => {
      const event = { subject: unique("user"), requestId: unique("r"), body: login() };
      const mine = await client.recordEvent(event);
      const theirs = await door.client(daemon, "two").recordEvent(event);
      expect(theirs.replayed).to.equal(false);
      expect(theirs.recordId).not.to.equal(mine.recordId);
      expect((await get(theirs.recordId)).caller).to.equal(callerOf("two"));
    });

    it("tells upper case from lower, and a trailing space from none", async () => {
      const subject = unique("user");
      const id = unique("r");
      const ids = [id, id.toUpperCase(), `${id} `, `${id}é`, `${id}é`.normalize("NFD")];
      for (const requestId of ids) {
        expect((await recorded({ subject, requestId })).replayed, requestId).to.equal(false);
      }
    });

    it("makes one record of 50 calls at once", async () => {
      const event = { subject: unique("user"), requestId: unique("r"), body: login() };
      const answers = await Promise.all(
        Array.from({ length: 50 }, () => client.recordEvent({ ...event, waitFor: ANCHORED })),
      );
      expect(new Set(answers.map(({ recordId }) => recordId)).size).to.equal(1);
      expect(answers.filter(({ replayed }) => !replayed)).to.have.lengthOf(1);
      expect((await client.countRecords({ filter: { subject: event.subject } })).count).to.equal(
        1n,
      );
    });
  });

  describe("GetTrail", () => {
    it("counts a subject's records from 0, in the order in which they came", async () => {
      const subject = unique("complaint");
      const ids: string[] = [];
      for (let i = 0; i < 5; i++) ids.push((await recorded({ subject })).recordId);
      const last = await anchored({ subject });
      const { records, length, nextPageToken } = await client.getTrail({ subject });
      expect({ length, nextPageToken }).to.deep.equal({ length: 6n, nextPageToken: "" });
      expect(records.map(({ id }) => id)).to.deep.equal([...ids, last.recordId]);
      expect(records.map(({ trailIndex }) => trailIndex)).to.deep.equal([0n, 1n, 2n, 3n, 4n, 5n]);
      for (const record of records) {
        expect(record.state).to.be.at.least(ANCHORED);
        expect(record.anchor?.blockHash).to.match(/^0x[0-9a-f]{64}$/);
      }
    });

    it("comes in pages", async () => {
      const subject = unique("complaint");
      for (let i = 0; i < 5; i++) await recorded({ subject });
      const seen: bigint[] = [];
      for (let pageToken = "", pages = 0; pages === 0 || pageToken !== ""; pages++) {
        const page = await client.getTrail({ subject, pageSize: 2, pageToken });
        expect(page.length).to.equal(5n);
        seen.push(...page.records.map(({ sequence }) => sequence));
        pageToken = page.nextPageToken;
      }
      expect(seen).to.have.lengthOf(5);
      expect(seen).to.deep.equal([...new Set(seen)].sort((a, b) => Number(a - b)));
    });

    it("is empty for a subject without records", async () => {
      const { records, length } = await client.getTrail({ subject: unique("nobody") });
      expect({ records, length }).to.deep.equal({ records: [], length: 0n });
    });

    it("tells apart subjects that look alike", async () => {
      const name = unique("user");
      const subjects = [
        `${name}/A`,
        `${name}/a`,
        `${name}/a `,
        ` ${name}/a`,
        `${name}/é`,
        `${name}/é`.normalize("NFD"),
        `${name}/ß`,
        `${name}/ss`,
      ];
      const made = await Promise.all(
        subjects.map((subject) => anchored({ subject, actor: subject, body: login(subject) })),
      );
      for (const [i, subject] of subjects.entries()) {
        const { records, length } = await client.getTrail({ subject });
        expect(length, JSON.stringify(subject)).to.equal(1n);
        expect(records[0]).to.include({ id: made[i]?.recordId, subject, trailIndex: 0n });
        const { count } = await client.countRecords({ filter: { actor: subject } });
        expect(count, JSON.stringify(subject)).to.equal(1n);
      }
    });
  });

  describe("ListRecords and CountRecords", () => {
    type Filter = NonNullable<MessageInitShape<typeof METHODS.listRecords.input>["filter"]>;
    const names = { type: "", subject: "", actor: "" };
    const at = (text: string) => timestampFromDate(new Date(text));
    let ids: readonly string[];

    before(async () => {
      names.type = unique("listed");
      names.subject = unique("account");
      names.actor = unique("ann");
      const { type, subject, actor } = names;
      const events: Event[] = [
        { subject, actor, occurTime: at("2026-01-01T00:00:00Z"), body: custom(type) },
        { subject, actor: "", occurTime: at("2026-01-01T00:00:00.001Z"), body: custom(type) },
        {
          subject: `${subject}/x`,
          actor,
          occurTime: at("2026-01-02T00:00:00Z"),
          body: custom(type),
        },
        { subject, actor, occurTime: at("2025-12-31T23:59:59.999Z"), body: custom(`${type}.x`) },
      ];
      const answers: RecordEventResponse[] = [];
      for (const event of events) answers.push(await client.recordEvent(event));
      ids = answers.map(({ recordId }) => recordId);
    });

    /** The positions of the listed records among those above. */
    async function listed(filter: Filter, order = ListOrder.OLDEST_FIRST): Promise<number[]> {
      const { records, nextPageToken } = await client.listRecords({ filter, order });
      expect(nextPageToken).to.equal("");
      expect((await client.countRecords({ filter })).count).to.equal(BigInt(records.length));
      return records.map(({ id }) => ids.indexOf(id));
    }

    it("filter by subject, type and actor, alone and together", async () => {
      const { type, subject, actor } = names;
      expect(await listed({ subject })).to.deep.equal([0, 1, 3]);
      expect(await listed({ type })).to.deep.equal([0, 1, 2]);
      expect(await listed({ actor })).to.deep.equal([0, 2, 3]);
      expect(await listed({ subject, type, actor })).to.deep.equal([0]);
      expect(await listed({ subject, type: "login" })).to.deep.equal([]);
    });

    it("filter by time: from the start on, and up to but without the end", async () => {
      const { type } = names;
      const startTime = at("2026-01-01T00:00:00Z");
      const endTime = at("2026-01-02T00:00:00Z");
      expect(await listed({ type, startTime })).to.deep.equal([0, 1, 2]);
      expect(await listed({ type, endTime })).to.deep.equal([0, 1]);
      expect(
        await listed({ type, startTime: at("2026-01-01T00:00:00.001Z"), endTime }),
      ).to.deep.equal([1]);
      expect(await listed({ type, startTime: endTime, endTime: startTime })).to.deep.equal([]);
    });

    it("list the newest first unless told otherwise", async () => {
      const { type } = names;
      expect(await listed({ type }, ListOrder.UNSPECIFIED)).to.deep.equal([2, 1, 0]);
      expect(await listed({ type }, ListOrder.NEWEST_FIRST)).to.deep.equal([2, 1, 0]);
      expect(await listed({ type }, ListOrder.OLDEST_FIRST)).to.deep.equal([0, 1, 2]);
    });

    it("filter by state", async () => {
      const type = unique("stated");
      const first = await anchored({ subject: "s", body: custom(type) });
      await anchored({ subject: "s", body: custom(type) }); // one block makes the first final
      const last = await anchored({ subject: "s", body: custom(type) });
      await client.recordEvent({ subject: "s", body: custom(type), requestId: first.recordId });
      const byState = async (state: RecordState) =>
        (await client.listRecords({ filter: { type, state } })).records.map(({ id }) => id);
      expect(await byState(FINAL)).to.include(first.recordId);
      expect(await byState(FINAL)).not.to.include(last.recordId);
      expect((await get(first.recordId)).state).to.equal(FINAL);
      let counted = 0n;
      for (const state of [ACCEPTED, ANCHORED, FINAL]) {
        const { records } = await client.listRecords({ filter: { type, state } });
        for (const record of records) expect(record.state).to.equal(state);
        counted += BigInt(records.length);
      }
      expect(counted).to.equal(4n);
    });

    it("find the records of a batch, page by page, together with any other filter", async () => {
      const type = unique("batched");
      await Promise.all(
        ["a", "b", "c"].map((subject) => recorded({ subject, body: custom(type) })),
      );
      const { recordId } = await anchored({ subject: "d", body: custom(type) });
      const { batchNumber = 0n } = await get(recordId);
      const { batch } = await client.getBatch({ batch: { case: "number", value: batchNumber } });
      const filter = { batchNumber };
      const found: RecordMessage[] = [];
      for (let pageToken = "", pages = 0; pages === 0 || pageToken !== ""; pages++) {
        const page = await client.listRecords({ filter, pageSize: 2, pageToken });
        found.push(...page.records);
        pageToken = page.nextPageToken;
      }
      expect(found.map(({ id }) => id)).to.include(recordId);
      expect(found).to.have.lengthOf(Number(batch?.sealed?.size));
      for (const record of found) expect(record.batchNumber).to.equal(batchNumber);
      expect((await client.countRecords({ filter })).count).to.equal(batch?.sealed?.size);
      const matching = async (more: Filter) =>
        (await client.listRecords({ filter: { ...filter, ...more } })).records;
      expect((await matching({ type, subject: "d" })).map(({ id }) => id)).to.include(recordId);
      expect(await matching({ type, subject: "nobody" })).to.deep.equal([]);
      expect(await matching({ state: ACCEPTED })).to.deep.equal([]);
      expect(await matching({ batchNumber: 2n ** 64n - 1n })).to.deep.equal([]);
    });

    for (const order of [ListOrder.OLDEST_FIRST, ListOrder.NEWEST_FIRST]) {
      it(`${ListOrder[order]} pages without gap or repeat while new records come`, async () => {
        const subject = unique("busy");
        const recordMany = (count: number) =>
          Promise.all(Array.from({ length: count }, () => recorded({ subject })));
        const here = new Set((await recordMany(23)).map(({ recordId }) => recordId));
        const seen: RecordMessage[] = [];
        const request: Pick<ListRecordsRequest, "order" | "pageSize"> = { order, pageSize: 5 };
        let pageToken = "";
        for (let pages = 0; pages === 0 || (pageToken !== "" && pages < 20); pages++) {
          const page = await client.listRecords({ ...request, filter: { subject }, pageToken });
          if (pageToken !== "" || pages === 0) seen.push(...page.records);
          pageToken = page.nextPageToken;
          if (pages < 4) await recordMany(2);
        }
        const ids = seen.map(({ id }) => id);
        expect(new Set(ids).size, "no repeat").to.equal(ids.length);
        expect(
          ids.filter((id) => here.has(id)),
          "no gap",
        ).to.have.lengthOf(23);
        expect(ids).to.have.lengthOf(order === ListOrder.OLDEST_FIRST ? 31 : 23);
        const sequences = seen.map(({ sequence }) => Number(sequence));
        const sorted = [...sequences].sort((a, b) => a - b);
        expect(sequences).to.deep.equal(
          order === ListOrder.OLDEST_FIRST ? sorted : sorted.reverse(),
        );
      });
    }

    it("count everything where nothing is asked for", async () => {
      const { count } = await client.countRecords({});
      await recorded({ subject: unique("user") });
      expect((await client.countRecords({})).count).to.equal(count + 1n);
    });
  });

  describe("GetReceipt", () => {
    let recordId: string;
    let receipt: Receipt;

    before(async () => {
      const subject = unique("user");
      await recorded({ subject });
      ({ recordId } = await anchored({ subject }));
      receipt = (await client.getReceipt({ recordId })).receipt as Receipt;
    });

    it("proves the record against the chain alone", async () => {
      const check = await checkReceipt(receipt, web3Chain(daemon.rpcUrl), {});
      expect(check).to.include({ verdict: "valid", id: recordId });
      expect(receipt.trail?.index).to.equal(1n);
    });

    it("proves the record to examples/verify.py", async () => {
      const folder = await mkdtemp(join(tmpdir(), "anchord-receipt-"));
      const file = join(folder, "receipt.json");
      await writeFile(
        file,
        toJsonString(GetReceiptResponseSchema, await client.getReceipt({ recordId })),
      );
      const { code, stdout, stderr } = await run(PYTHON, [
        "examples/verify.py",
        file,
        "--rpc",
        daemon.rpcUrl,
        "--chain-id",
        "1337",
        "--contract",
        receipt.identity?.contract ?? "",
      ]);
      await rm(folder, { recursive: true });
      expect(code, stdout + stderr).to.equal(0);
      expect(stdout).to.include(recordId);
    });

    it("is what VerifyReceipt finds valid, and invalid once a byte of it is changed", async () => {
      const verdict = async (changed: Receipt) => {
        const { verdict, failedStep } = await client.verifyReceipt({ receipt: changed });
        return { verdict, failedStep };
      };
      expect(await verdict(receipt)).to.deep.equal({
        verdict: ReceiptVerdict.VALID,
        failedStep: "",
      });
      const entry = Uint8Array.from(receipt.entry);
      entry[2] = (entry[2] as number) ^ 1; // within the salt
      expect(await verdict(create(ReceiptSchema, { ...receipt, entry }))).to.deep.equal({
        verdict: ReceiptVerdict.INVALID,
        failedStep: "root",
      });
      expect(await verdict(create(ReceiptSchema, { entry: receipt.entry }))).to.deep.equal({
        verdict: ReceiptVerdict.NOT_ANCHORED,
        failedStep: "",
      });
      expect(await verdict(create(ReceiptSchema, {}))).to.deep.equal({
        verdict: ReceiptVerdict.INVALID,
        failedStep: "entry",
      });
    });
  });

  describe("GetBatch and ListBatches", () => {
    it("give a batch by its number, its root and its head", async () => {
      const { receipt } = await anchored({ subject: unique("user") });
      const { number, root } = receipt?.batch ?? {};
      const byNumber = await client.getBatch({
        batch: { case: "number", value: number as bigint },
      });
      const byRoot = await client.getBatch({ batch: { case: "root", value: root as Uint8Array } });
      expect(byRoot.batch?.sealed).to.deep.equal(byNumber.batch?.sealed);
      const head = byNumber.batch?.head as Uint8Array;
      const byHead = await client.getBatch({ batch: { case: "head", value: head } });
      expect(byHead.batch?.sealed).to.deep.equal(byNumber.batch?.sealed);
      expect(byNumber.batch?.sealed).to.deep.equal(receipt?.batch);
      expect(byNumber.batch?.anchor).to.deep.equal(receipt?.anchor);
      expect(byNumber.batch?.state).to.be.at.least(ANCHORED);
      expect(Number(byNumber.batch?.gasUsed)).to.be.within(21_000, 200_000);
    });

    it("list the batches from a number on, oldest first", async () => {
      for (let i = 0; i < 2; i++) await anchored({ subject: unique("user") });
      const [newest] = (await client.listBatches({ pageSize: 1 })).batches;
      const first = (newest?.sealed?.number ?? 0n) - 1n;
      const question = { firstBatch: first, order: ListOrder.OLDEST_FIRST, pageSize: 1 };
      const { batches, nextPageToken: pageToken } = await client.listBatches(question);
      const next = await client.listBatches({ ...question, pageToken });
      const numbers = [...batches, ...next.batches].map(({ sealed }) => sealed?.number);
      expect(numbers).to.deep.equal([first, first + 1n]);
      const call = client.listBatches({ ...question, firstBatch: 1n, pageToken });
      expect(await refusalOf(call)).to.include({ reason: "ERROR_REASON_INVALID_PAGE_TOKEN" });
    });

    it("list the batches, newest first, each on the head of the one before", async () => {
      for (let i = 0; i < 3; i++) await anchored({ subject: unique("user") });
      const numbers: number[] = [];
      const heads = new Map<number, { head: string; previous: string }>();
      for (let pageToken = "", pages = 0; pages === 0 || pageToken !== ""; pages++) {
        const page = await client.listBatches({ pageSize: 2, pageToken });
        expect(page.batches.length).to.be.at.most(2);
        for (const { sealed, head } of page.batches) {
          const number = Number(sealed?.number);
          numbers.push(number);
          heads.set(number, {
            head: hex(head),
            previous: hex(sealed?.previousHead ?? new Uint8Array()),
          });
        }
        pageToken = page.nextPageToken;
      }
      const newest = numbers[0] as number;
      expect(newest).to.be.at.least(3);
      expect(numbers).to.deep.equal(Array.from({ length: newest }, (_, i) => newest - i));
      for (let number = 2; number <= newest; number++) {
        expect(heads.get(number)?.previous).to.equal(heads.get(number - 1)?.head);
      }
    });
  });

  describe("VerifyLog", () => {
    async function verified(range: { firstBatch?: bigint; lastBatch?: bigint } = {}) {
      const all: VerifyLogResponse[] = [];
      for await (const progress of client.verifyLog(range)) all.push(progress);
      return all;
    }

    it("says how far it has come, and finds a log that holds", async () => {
      await anchored({ subject: unique("user") });
      const all = await verified();
      const last = all.at(-1) as VerifyLogResponse;
      expect(last).to.include({ done: true, problemsTotal: 0n });
      expect(all.filter(({ done }) => done)).to.have.lengthOf(1);
      expect(all.flatMap(({ problems }) => problems)).to.deep.equal([]);
      expect(last.recordsChecked).to.equal((await client.getStats({})).records);
      expect([last.recordsChecked, last.batchesChecked]).to.deep.equal([
        last.recordsTotal,
        last.batchesTotal,
      ]);
      for (const [i, { recordsChecked }] of all.entries()) {
        expect(Number(recordsChecked)).to.be.at.least(Number(all[i - 1]?.recordsChecked ?? 0n));
      }
    });

    it("checks the batches that it is asked for, and no others", async () => {
      const [last] = (await verified({ firstBatch: 1n, lastBatch: 2n })).slice(-1);
      expect(last).to.include({ done: true, batchesChecked: 2n, batchesTotal: 2n });
    });
  });

  it("SealNow answers once everything before it is on the chain", async () => {
    const ids = await Promise.all(
      Array.from({ length: 5 }, async () => (await recorded({ subject: unique("user") })).recordId),
    );
    const { pending, lastBatch } = await client.sealNow({});
    expect(pending).to.equal(0n);
    for (const id of ids) {
      const record = await get(id);
      expect(record.state).to.be.at.least(ANCHORED);
      expect(Number(record.batchNumber)).to.be.at.most(Number(lastBatch));
    }
  });

  it("GetStats counts records, types, batches and gas, and names the log", async () => {
    const type = unique("counted");
    const before = await client.getStats({});
    for (let i = 0; i < 3; i++) await recorded({ subject: unique("user"), body: custom(type) });
    const { lastBatch } = await client.sealNow({});
    const stats = await client.getStats({});
    expect(stats.records - before.records).to.equal(3n);
    expect(stats.pending).to.equal(0n);
    expect(stats.types.find((found) => found.type === type)?.count).to.equal(3n);
    expect(stats.types.reduce((sum, { count }) => sum + count, 0n)).to.equal(stats.records);
    expect(stats.batches).to.equal(lastBatch);
    expect(Number(stats.gasUsed)).to.be.above(21_000 * Number(stats.batches));
    expect(Number(stats.final)).to.be.below(Number(stats.records));
    expect(stats.sealer).to.match(/^0x[0-9a-fA-F]{40}$/);
    expect(stats.identity?.chainId).to.equal(1337n);
    expect(stats.identity?.contract).to.match(/^0x[0-9a-f]{40}$/);
    expect(stats.identity?.log).to.have.lengthOf(32);
    const batch = (await client.getBatch({ batch: { case: "number", value: lastBatch } })).batch;
    expect(stats.lastBlockTime).to.deep.equal(batch?.anchor?.blockTime);
    expect(Number(stats.blockNumber)).to.be.at.least(Number(batch?.anchor?.blockNumber));
    expect(timestampDate(stats.firstBlockTime as never)).to.be.at.most(
      timestampDate(stats.lastBlockTime as never),
    );
  });

  if (door.name === "gRPC") describe("RecordEvents", () => streams(() => client));
  else describe("RecordEvents and JSON", () => speaksJson(() => daemon));
}

/** What only a stream in both directions can do. */
function streams(running: () => AuditClient): void {
  let client: AuditClient;
  before(() => (client = running()));

  it("acknowledges message by message, in order, and keeps the order of the events", async () => {
    const subject = unique("stream");
    async function* messages() {
      for (let i = 0; i < 30; i++) {
        const events = Array.from({ length: (i % 5) + 1 }, (_, j) => ({
          subject,
          body: login(`${i}/${j}`),
        }));
        yield create(RecordEventsRequestSchema, { events });
      }
    }
    const sizes: number[] = [];
    const ids: string[] = [];
    for await (const { recordIds } of client.recordEvents(messages())) {
      sizes.push(recordIds.length);
      ids.push(...recordIds);
    }
    expect(sizes).to.deep.equal(Array.from({ length: 30 }, (_, i) => (i % 5) + 1));
    const { records, length } = await client.getTrail({ subject, pageSize: 1000 });
    expect(length).to.equal(90n);
    expect(records.map(({ id }) => id)).to.deep.equal(ids);
    const users = records.map(({ body }) => (body.case === "login" ? body.value.user : ""));
    expect(users.slice(0, 4)).to.deep.equal(["0/0", "1/0", "1/1", "2/0"]);
  });

  it("acknowledges a message while the stream stays open", async () => {
    let go: () => void = () => undefined;
    const acknowledged = new Promise<void>((resolve) => (go = resolve));
    const message = () =>
      create(RecordEventsRequestSchema, { events: [{ subject: "open", body: login() }] });
    async function* messages() {
      yield message();
      await acknowledged; // a server that answers only at the end would never let this go on
      yield message();
    }
    let count = 0;
    for await (const { recordIds } of client.recordEvents(messages())) {
      count += recordIds.length;
      go();
    }
    expect(count).to.equal(2);
  });

  it("makes one record of duplicates inside one message, and of a message sent again", async () => {
    const subject = unique("stream");
    const requestId = unique("r");
    const event = { subject, requestId, body: login() };
    const message = create(RecordEventsRequestSchema, {
      events: [event, { subject, body: login() }, event],
    });
    async function* messages() {
      yield message;
      yield create(RecordEventsRequestSchema, { events: [event] });
    }
    const all: string[][] = [];
    for await (const { recordIds } of client.recordEvents(messages())) all.push(recordIds);
    const [first, again] = all as [string[], string[]];
    expect(first).to.have.lengthOf(3);
    expect(first[2]).to.equal(first[0]);
    expect(again).to.deep.equal([first[0]]);
    expect((await client.getTrail({ subject })).length).to.equal(2n);
  });

  it("refuses a message whole in which a request_id has two bodies", async () => {
    const subject = unique("stream");
    const requestId = unique("r");
    async function* messages() {
      yield create(RecordEventsRequestSchema, {
        events: [
          { subject, body: login() },
          { subject, requestId, body: login("ada") },
          { subject, requestId, body: login("bob") },
        ],
      });
    }
    const answers = client.recordEvents(messages());
    const found = await refusalOf(answers[Symbol.asyncIterator]().next());
    expect(found).to.include({
      code: "AlreadyExists",
      reason: "ERROR_REASON_REQUEST_ID_REUSED",
    });
    expect((await client.getTrail({ subject })).length).to.equal(0n);
  });

  it("records 10000 events of one message", async () => {
    const subject = unique("stream");
    const events = Array.from({ length: 10_000 }, () => ({ subject, body: login() }));
    async function* messages() {
      yield create(RecordEventsRequestSchema, { events });
    }
    for await (const { recordIds } of client.recordEvents(messages())) {
      expect(new Set(recordIds).size).to.equal(10_000);
    }
    expect((await client.getTrail({ subject, pageSize: 1 })).length).to.equal(10_000n);
  });
}

/** What is of the HTTP door alone. */
function speaksJson(running: () => Daemon): void {
  let daemon: Daemon;
  before(() => (daemon = running()));

  const call = async (method: string, body: object) => {
    const response = await fetch(`${daemon.url}/anchord.v1.AuditService/${method}`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: "Bearer one" },
      body: JSON.stringify(body),
    });
    return (await response.json()) as Record<string, never>;
  };

  it("refuses RecordEvents with a status that says so", async () => {
    const response = await post(daemon.url, METHODS.recordEvents, "", "application/connect+json");
    expect(response.status).to.equal(505);
    const client = DOORS[1]?.client(daemon, "one") as AuditClient;
    async function* messages() {
      yield create(RecordEventsRequestSchema, { events: [{ subject: "a", body: login() }] });
    }
    try {
      for await (const _ of client.recordEvents(messages())) throw new Error("it was answered");
    } catch (error) {
      expect(error).to.be.instanceOf(ConnectError);
      expect(refusal(error as ConnectError).message).not.to.equal("");
    }
  });

  it("takes times with any offset", async () => {
    const subject = unique("zone");
    await call("RecordEvent", {
      subject,
      occurTime: "2026-03-01T01:30:00.5+02:00",
      login: { user: "ada" },
    });
    const within = async (startTime: string, endTime: string) =>
      (await call("CountRecords", { filter: { subject, startTime, endTime } }))["count"] ?? "0";
    expect(await within("2026-02-28T23:30:00.5Z", "2026-02-28T23:30:00.501Z")).to.equal("1");
    expect(await within("2026-02-28T18:30:00.5-05:00", "2026-03-01T05:00:00.501+05:30")).to.equal(
      "1",
    );
    expect(await within("2026-03-01T01:30:00.5Z", "2026-03-02T00:00:00Z")).to.equal("0");
  });
}
