import { connect as connectHttp2, constants } from "node:http2";
import type { ClientHttp2Session, ClientHttp2Stream } from "node:http2";
import { once } from "node:events";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescMethod, MessageInitShape } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { expect } from "chai";
import {
  RecordEventsRequestSchema,
  RecordEventsResponseSchema,
} from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { RecordState, ThreatScale, ThreatSeverity } from "../../gen/ts/anchord/v1/record_pb.js";
import { startDaemon } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import {
  DOORS,
  GRPC_DOOR,
  METHODS,
  post,
  refusalIn,
  refusalOf,
  sendJson,
} from "../support/doors.js";
import type { AuditClient, Outcome } from "../support/doors.js";
import { until } from "../support/until.js";

const INVALID_FIELD = { code: "InvalidArgument", reason: "INVALID_FIELD" } as const;
const MALFORMED = { code: "InvalidArgument", reason: "MALFORMED_MESSAGE" } as const;
const BAD_TOKEN = { code: "InvalidArgument", reason: "INVALID_PAGE_TOKEN" } as const;
const TOO_LARGE = { code: "ResourceExhausted", reason: "MESSAGE_TOO_LARGE" } as const;
const NO_RECORD = { code: "NotFound", reason: "RECORD_NOT_FOUND" } as const;
const NO_BATCH = { code: "NotFound", reason: "BATCH_NOT_FOUND" } as const;

/** A call that must be refused, and how. */
interface Row {
  readonly what: string;
  readonly method: DescMethod;
  readonly bytes: Uint8Array;
  readonly expected: { readonly code: string; readonly reason: string };
  /** The fields that the refusal names. */
  readonly fields: readonly string[];
}

function row<M extends DescMethod>(
  what: string,
  method: M,
  request: MessageInitShape<M["input"]>,
  expected: Row["expected"],
  ...fields: string[]
): Row {
  const bytes = toBinary(method.input, create(method.input, request));
  return { what, method, bytes, expected, fields };
}

const bytesRow = (
  what: string,
  bytes: Uint8Array,
  expected: Row["expected"],
  ...fields: string[]
): Row => ({
  what,
  method: METHODS.recordEvent,
  bytes,
  expected,
  fields,
});

type Event = MessageInitShape<typeof METHODS.recordEvent.input>;

const LOGIN = { case: "login", value: { user: "ada" } } as const;
const GOOD = { subject: "user/42", body: LOGIN } as const;

const event = (what: string, rest: Event, ...fields: string[]) =>
  row(what, METHODS.recordEvent, { ...GOOD, ...rest }, INVALID_FIELD, ...fields);

type ThreatInit = Extract<NonNullable<Event["body"]>, { case: "threat" }>["value"];

const threat = (what: string, value: ThreatInit, field: string) =>
  event(what, { body: { case: "threat", value } }, `threat.${field}`);

const time = (what: string, seconds: bigint, nanos = 0) =>
  event(`a time ${what}`, { occurTime: { seconds, nanos } }, "occur_time");

/** Protobuf by hand: what no honest encoder would write. */
const field = (number: number, value: Uint8Array) =>
  new BinaryWriter().tag(number, WireType.LengthDelimited).bytes(value).finish();
const textField = (number: number, text: string) => field(number, Buffer.from(text));
const concat = (...parts: Uint8Array[]) => Buffer.concat(parts);

/** A RecordEventRequest of a login whose details are these bytes of a Struct. */
const withDetails = (struct: Uint8Array, ...more: Uint8Array[]) =>
  concat(
    textField(1, "user/42"),
    field(20, concat(textField(1, "ada"), field(5, struct))),
    ...more,
  );
const structOf = (key: string, value: Uint8Array) =>
  field(1, concat(textField(1, key), field(2, value)));
const numberValue = (number: number) =>
  new BinaryWriter().tag(2, WireType.Bit64).double(number).finish();

function deepStruct(levels: number): Uint8Array {
  let struct: Uint8Array = new Uint8Array();
  for (let level = 1; level < levels; level++) struct = structOf("a", field(5, struct));
  return struct;
}

const REQUEST_ID = textField(4, "bad-input");
const nobody = "0".repeat(64);

const ROWS: readonly Row[] = [
  event("no subject", { subject: "" }, "subject"),
  event("a subject over 256 characters", { subject: "x".repeat(257) }, "subject"),
  event(
    "a subject over 256 characters of four bytes",
    { subject: "\u{1f600}".repeat(257) },
    "subject",
  ),
  event("a line feed in the subject", { subject: "a\nb" }, "subject"),
  event("a NUL in the subject", { subject: "a\0b" }, "subject"),
  event("a DEL in the actor", { actor: "\u007f" }, "actor"),
  event("an actor over 256 characters", { actor: "x".repeat(257) }, "actor"),
  event("a request_id over 128 characters", { requestId: "x".repeat(129) }, "request_id"),
  event("a tab in the request_id", { requestId: "a\tb" }, "request_id"),
  event("an unknown state to wait for", { waitFor: 9 as RecordState }, "wait_for"),
  event("several bad fields", { subject: "", actor: "\n" }, "subject", "actor"),
  row("no body", METHODS.recordEvent, { subject: "a" }, INVALID_FIELD, "body"),
  threat("a score that is not a number", { score: NaN }, "score"),
  threat("an infinite score", { score: Infinity }, "score"),
  threat("a negative infinite score", { score: -Infinity }, "score"),
  threat("a negative score", { score: -0.1 }, "score"),
  threat("a score over 100", { score: 100.1 }, "score"),
  threat("a score over 1 on the unit scale", { score: 1.5, scale: ThreatScale.UNIT }, "score"),
  threat("an infinite duration", { score: 1, durationMinutes: Infinity }, "duration_minutes"),
  threat("a negative duration", { score: 1, durationMinutes: -1 }, "duration_minutes"),
  threat("an unknown scale", { score: 1, scale: 3 as ThreatScale }, "scale"),
  threat("a severity set by the caller", { score: 1, severity: ThreatSeverity.LOW }, "severity"),
  event(
    "a price that is not a number",
    { body: { case: "trade", value: { tradeId: "t", symbol: "s", price: NaN } } },
    "trade.price",
  ),
  event(
    "a trade without its identifiers",
    { body: { case: "trade", value: {} } },
    "trade.trade_id",
    "trade.symbol",
  ),
  event("a login without a user", { body: { case: "login", value: {} } }, "login.user"),
  event(
    "a complaint's event in lower case",
    { body: { case: "complaint", value: { eventType: "created" } } },
    "complaint.event_type",
  ),
  event("a custom body without a type", { body: { case: "custom", value: {} } }, "custom.type"),
  ...["login", "threat", "system_change", "custom"].map((type) =>
    event(
      `the built-in type ${type} as a custom type`,
      { body: { case: "custom", value: { type } } },
      "custom.type",
    ),
  ),
  event(
    "a custom type in upper case",
    { body: { case: "custom", value: { type: "Door" } } },
    "custom.type",
  ),
  event(
    "a setting's value over 4096 characters",
    { body: { case: "configChange", value: { key: "k", newValue: "x".repeat(4097) } } },
    "config_change.new_value",
  ),
  time("in 1969", -1n),
  time("in 2200", 7_258_118_400n),
  time("in the year 300 000", 9_223_372_036_854n),
  time("with a negative fraction", 0n, -1),
  time("with a fraction of a second and more", 0n, 1_000_000_000),
  event(
    "details over 64 KiB",
    { body: { case: "login", value: { user: "a", details: { x: "x".repeat(65_536) } } } },
    "login.details",
  ),
  bytesRow("details 33 levels deep", withDetails(deepStruct(33)), INVALID_FIELD, "login.details"),
  bytesRow(
    "a number in details that is not one",
    withDetails(structOf("a", numberValue(NaN))),
    INVALID_FIELD,
    "login.details",
  ),
  bytesRow(
    "a number in details that is not one, with a request_id",
    withDetails(structOf("a", numberValue(NaN)), REQUEST_ID),
    INVALID_FIELD,
    "login.details",
  ),
  bytesRow(
    "an infinite number in details, with a request_id",
    withDetails(structOf("a", numberValue(-Infinity)), REQUEST_ID),
    INVALID_FIELD,
    "login.details",
  ),
  bytesRow(
    "a request_id with a body that misses what it must have",
    concat(textField(1, "a"), REQUEST_ID),
    INVALID_FIELD,
    "body",
  ),
  bytesRow("details 100 levels deep", withDetails(deepStruct(100)), MALFORMED),
  bytesRow("details 5000 levels deep", withDetails(deepStruct(5_000)), MALFORMED),
  bytesRow(
    "text that is not UTF-8",
    concat(field(1, Buffer.of(0xc3, 0x28)), field(20, textField(1, "a"))),
    MALFORMED,
  ),
  bytesRow("bytes that are no message", Buffer.of(0xff, 0xff, 0xff, 0xff, 0x0f, 0x01), MALFORMED),
  bytesRow(
    "a message that was cut",
    toBinary(METHODS.recordEvent.input, create(METHODS.recordEvent.input, GOOD)).subarray(0, 5),
    MALFORMED,
  ),
  bytesRow(
    "a message of 10 MB",
    concat(textField(1, "user/42"), textField(20, "x".repeat(10_000_000))),
    TOO_LARGE,
  ),
  row("a malformed record id", METHODS.getRecord, { recordId: "42" }, INVALID_FIELD, "record_id"),
  row(
    "a record id in upper case",
    METHODS.getRecord,
    { recordId: "A".repeat(64) },
    INVALID_FIELD,
    "record_id",
  ),
  row("an unknown record", METHODS.getRecord, { recordId: nobody }, NO_RECORD),
  row("a malformed record id", METHODS.getReceipt, { recordId: "" }, INVALID_FIELD, "record_id"),
  row("an unknown record", METHODS.getReceipt, { recordId: nobody }, NO_RECORD),
  row(
    "an unknown batch",
    METHODS.getBatch,
    { batch: { case: "number", value: 999_999n } },
    NO_BATCH,
  ),
  row("batch 0", METHODS.getBatch, { batch: { case: "number", value: 0n } }, NO_BATCH),
  row(
    "the greatest batch number",
    METHODS.getBatch,
    { batch: { case: "number", value: 2n ** 64n - 1n } },
    NO_BATCH,
  ),
  row(
    "an unknown root",
    METHODS.getBatch,
    { batch: { case: "root", value: new Uint8Array(32) } },
    NO_BATCH,
  ),
  row(
    "a root of 31 bytes",
    METHODS.getBatch,
    { batch: { case: "root", value: new Uint8Array(31) } },
    INVALID_FIELD,
    "root",
  ),
  row(
    "an unknown head",
    METHODS.getBatch,
    { batch: { case: "head", value: new Uint8Array(32) } },
    NO_BATCH,
  ),
  row(
    "a head of 33 bytes",
    METHODS.getBatch,
    { batch: { case: "head", value: new Uint8Array(33) } },
    INVALID_FIELD,
    "head",
  ),
  row("no batch", METHODS.getBatch, {}, INVALID_FIELD, "batch"),
  row("no receipt", METHODS.verifyReceipt, {}, INVALID_FIELD, "receipt"),
  row("a trail without a subject", METHODS.getTrail, {}, INVALID_FIELD, "subject"),
  row(
    "a negative page size",
    METHODS.getTrail,
    { subject: "a", pageSize: -1 },
    INVALID_FIELD,
    "page_size",
  ),
  row("a negative page size", METHODS.listRecords, { pageSize: -1 }, INVALID_FIELD, "page_size"),
  row("a negative page size", METHODS.listBatches, { pageSize: -1 }, INVALID_FIELD, "page_size"),
  row("an unknown order", METHODS.listRecords, { order: 7 as never }, INVALID_FIELD, "order"),
  row("an unknown order", METHODS.listBatches, { order: 7 as never }, INVALID_FIELD, "order"),
  row(
    "a type that no record can have",
    METHODS.listRecords,
    { filter: { type: "Threat!" } },
    INVALID_FIELD,
    "filter.type",
  ),
  row(
    "an unknown state",
    METHODS.countRecords,
    { filter: { state: 9 as RecordState } },
    INVALID_FIELD,
    "filter.state",
  ),
  row(
    "a subject over 256 characters",
    METHODS.countRecords,
    { filter: { subject: "x".repeat(257) } },
    INVALID_FIELD,
    "filter.subject",
  ),
  row(
    "a malformed time",
    METHODS.listRecords,
    { filter: { startTime: { seconds: 0n, nanos: -1 } } },
    INVALID_FIELD,
    "filter.start_time",
  ),
  row(
    "a time beyond the year 9999",
    METHODS.listRecords,
    { filter: { endTime: { seconds: 2n ** 62n } } },
    INVALID_FIELD,
    "filter.end_time",
  ),
  row(
    "a time beyond the year 9999",
    METHODS.countRecords,
    { filter: { endTime: { seconds: -(2n ** 62n) } } },
    INVALID_FIELD,
    "filter.end_time",
  ),
  row("a malformed page token", METHODS.listRecords, { pageToken: "next" }, BAD_TOKEN),
  row("a malformed page token", METHODS.getTrail, { subject: "a", pageToken: "AAAA" }, BAD_TOKEN),
  row("a malformed page token", METHODS.listBatches, { pageToken: "*" }, BAD_TOKEN),
];

describe("bad input", function () {
  this.timeout(60_000);

  let daemon: Daemon;
  let client: AuditClient;

  before(async function () {
    this.timeout(120_000);
    daemon = await startDaemon();
    client = GRPC_DOOR.client(daemon);
    await client.recordEvent({ ...GOOD, subject: "sentinel" });
  });

  after(() => daemon.stop());

  const recordsNow = async () => (await client.getStats({})).records;

  async function expectRefused(
    call: () => Promise<Outcome>,
    { expected, fields }: Pick<Row, "expected" | "fields">,
  ) {
    const before = await recordsNow();
    const outcome = await call();
    if ("answer" in outcome) throw new Error("it was not refused");
    const { code, reason, domain, message } = outcome.refusal;
    expect({ code, reason, domain }, message).to.deep.equal({
      code: expected.code,
      reason: `ERROR_REASON_${expected.reason}`,
      domain: "anchord",
    });
    expect([...new Set(outcome.refusal.fields)].sort()).to.deep.equal([...fields].sort());
    expect(message).not.to.equal("");
    expect(await recordsNow(), "records").to.equal(before);
  }

  for (const door of DOORS) {
    describe(`through the ${door.name} door`, () => {
      for (const { what, method, bytes, expected, fields } of ROWS) {
        it(`${method.name} refuses ${what}`, () =>
          expectRefused(() => door.send(daemon, method, bytes), { expected, fields }));
      }

      it("refuses a page token with another filter, order or call", async () => {
        for (let i = 0; i < 3; i++) await client.recordEvent({ ...GOOD, subject: "paged" });
        const filter = { subject: "paged" };
        const { nextPageToken: pageToken } = await client.listRecords({ filter, pageSize: 1 });
        expect(pageToken).not.to.equal("");
        const rows = [
          row("", METHODS.listRecords, { pageToken }, BAD_TOKEN),
          row("", METHODS.listRecords, { filter, order: 2, pageToken }, BAD_TOKEN),
          row("", METHODS.getTrail, { subject: "paged", pageToken }, BAD_TOKEN),
          row("", METHODS.listBatches, { pageToken }, BAD_TOKEN),
        ];
        for (const { method, bytes, ...found } of rows) {
          await expectRefused(() => door.send(daemon, method, bytes), found);
        }
      });
    });
  }

  describe("in JSON", () => {
    const json = (text: string | Uint8Array, expected: Row["expected"], ...fields: string[]) =>
      expectRefused(() => sendJson(daemon, METHODS.recordEvent, text), { expected, fields });
    const loginJson = (details: string) =>
      `{"subject":"a","login":{"user":"b","details":${details}}}`;

    const malformed: Readonly<Record<string, string>> = {
      "text that is not JSON": "{",
      nothing: "",
      "a list": "[]",
      "a field of the wrong type": '{"subject":7,"login":{"user":"a"}}',
      "an unknown field": '{"subject":"a","login":{"user":"a"},"ocurTime":"2026-01-01T00:00:00Z"}',
      "an unknown field in the body": '{"subject":"a","login":{"user":"a","sucess":true}}',
      "two bodies": '{"subject":"a","login":{"user":"a"},"custom":{"type":"a"}}',
      "an unknown enum value": '{"subject":"a","login":{"user":"a"},"waitFor":"SOON"}',
      "a time without a zone":
        '{"subject":"a","login":{"user":"a"},"occurTime":"2026-01-01T00:00:00"}',
      "details that are no object": '{"subject":"a","login":{"user":"a","details":7}}',
      "details 5000 levels deep": loginJson('{"a":'.repeat(5_000) + "1" + "}".repeat(5_000)),
      "lists 100 000 levels deep": loginJson(
        '{"a":' + "[".repeat(100_000) + "]".repeat(100_000) + "}",
      ),
    };
    for (const [what, text] of Object.entries(malformed)) {
      it(`refuses ${what}`, () => json(text, MALFORMED));
    }

    it("refuses unpaired surrogates, wherever they are", async () => {
      await json('{"subject":"a\\ud800","login":{"user":"b"}}', MALFORMED);
      await json('{"subject":"a","login":{"user":"\\udc00"}}', MALFORMED);
      await json('{"subject":"a","requestId":"\\ud800","login":{"user":"b"}}', MALFORMED);
      await json(loginJson('{"a":"\\ud800"}'), INVALID_FIELD, "login.details");
      await json(loginJson('{"\\ud800":1}'), INVALID_FIELD, "login.details");
      const withId = loginJson('{"a":"\\ud800"}').replace("{", '{"requestId":"surrogate",');
      await json(withId, INVALID_FIELD, "login.details");
    });

    it("refuses text that is not UTF-8, and does not mend it", () => {
      const text = Buffer.from('{"subject":"aX","login":{"user":"b"}}');
      text[text.indexOf("X")] = 0xff;
      return json(text, MALFORMED);
    });

    it("refuses numbers that JSON has no word for", async () => {
      await json('{"subject":"a","threat":{"score":"NaN"}}', INVALID_FIELD, "threat.score");
      await json('{"subject":"a","threat":{"score":"Infinity"}}', INVALID_FIELD, "threat.score");
      await json('{"subject":"a","threat":{"score":NaN}}', MALFORMED);
    });

    it("refuses details that are too deep", () =>
      json(loginJson('{"a":'.repeat(33) + "1" + "}".repeat(33)), INVALID_FIELD, "login.details"));

    it("refuses a body that is too large", () =>
      json(loginJson(`{"a":"${"x".repeat(10_000_000)}"}`), TOO_LARGE));

    it("refuses a content type that it does not know", async () => {
      const response = await post(daemon.url, METHODS.recordEvent, "{}", "text/plain");
      expect(response.status).to.equal(415);
    });

    it("refuses an unknown encoding", async () => {
      const response = await fetch(`${daemon.url}/anchord.v1.AuditService/RecordEvent`, {
        method: "POST",
        headers: { "content-type": "application/json", "content-encoding": "snappy" },
        body: "{}",
      });
      expect(response.ok).to.equal(false);
      expect(refusalIn(await response.text()).code).to.equal("Unimplemented");
    });
  });

  describe("on a stream", () => {
    type Message = MessageInitShape<typeof RecordEventsRequestSchema>;
    let subjects = 0;
    const newSubject = () => `stream/${subjects++}`;
    const good = (subject: string): Message => ({ events: [{ subject, body: LOGIN }] });

    /** Sends messages; gives the acknowledgements, and the refusal that ended the stream. */
    async function stream(messages: readonly Message[]) {
      async function* requests() {
        for (const message of messages) yield create(RecordEventsRequestSchema, message);
      }
      let acknowledged = 0;
      const refused = await refusalOf(
        (async () => {
          for await (const { recordIds } of client.recordEvents(requests()))
            acknowledged += recordIds.length;
        })(),
      );
      return { acknowledged, refused };
    }

    const trailLength = async (subject: string) => (await client.getTrail({ subject })).length;

    const cases: Readonly<
      Record<string, { message: (subject: string) => Message; fields: string[] }>
    > = {
      "a message without events": { message: () => ({ events: [] }), fields: ["events"] },
      "a message with an event that is not valid": {
        message: (subject) => ({
          events: [
            { subject, body: LOGIN },
            { subject: "", body: LOGIN },
          ],
        }),
        fields: ["events[1].subject"],
      },
      "an event that asks to wait": {
        message: (subject) => ({ events: [{ subject, body: LOGIN, waitFor: RecordState.FINAL }] }),
        fields: ["events[0].wait_for"],
      },
      "an event with a built-in type as its own": {
        message: (subject) => ({
          events: [
            { subject, body: LOGIN },
            { subject, body: { case: "custom", value: { type: "login" } } },
          ],
        }),
        fields: ["events[1].custom.type"],
      },
    };
    for (const [what, { message, fields }] of Object.entries(cases)) {
      it(`${what} ends it; what was before is acknowledged, nothing of it or behind it is recorded`, async () => {
        const subject = newSubject();
        const { acknowledged, refused } = await stream([
          good(subject),
          good(subject),
          message(subject),
          good(subject),
          good(subject),
        ]);
        expect(acknowledged).to.equal(2);
        expect(refused).to.include({
          code: "InvalidArgument",
          reason: "ERROR_REASON_INVALID_FIELD",
          domain: "anchord",
        });
        expect(refused.fields).to.deep.equal(fields);
        expect(await trailLength(subject)).to.equal(2n);
      });
    }

    it("a message of more than 4 MiB ends it, after the acknowledgements before it", async () => {
      const subject = newSubject();
      const user = "x".repeat(250);
      const events = Array.from({ length: 9_999 }, () => ({
        subject: subject.padEnd(256, "-"),
        body: { case: "login" as const, value: { user } },
      }));
      const { acknowledged, refused } = await stream([good(subject), { events }, good(subject)]);
      expect(acknowledged).to.equal(1);
      expect(refused).to.include({
        code: "ResourceExhausted",
        reason: "ERROR_REASON_MESSAGE_TOO_LARGE",
      });
      expect(await trailLength(subject)).to.equal(1n);
      expect(await trailLength(subject.padEnd(256, "-"))).to.equal(0n);
    });
  });

  describe("a stream that is cut in the middle of a message", () => {
    const ends: Readonly<
      Record<string, (session: ClientHttp2Session, stream: ClientHttp2Stream) => void>
    > = {
      "by a reset": (_, stream) => stream.close(constants.NGHTTP2_CANCEL),
      "by an end": (_, stream) => stream.end(),
      "by a lost connection": (session) => session.destroy(),
    };

    for (const [how, end] of Object.entries(ends)) {
      it(`${how} records nothing of it, and harms nobody`, async () => {
        const subject = `cut/${how}`;
        const frame = frameOf({ events: [{ subject, body: LOGIN }] });
        const session = connectHttp2(`http://127.0.0.1:${daemon.grpcPort}`);
        const stream = openStream(session);
        stream.write(frame);
        const [first] = (await once(stream, "data")) as [Buffer];
        expect(
          fromBinary(RecordEventsResponseSchema, first.subarray(5)).recordIds,
        ).to.have.lengthOf(1);
        stream.write(frame.subarray(0, frame.length - 4));
        await sentAll(session);
        const closed = once(stream, "close");
        end(session, stream);
        stream.resume();
        await closed;
        session.destroy();
        const { records } = await client.getTrail({ subject });
        expect(records).to.have.lengthOf(1);
        const { recordId } = await client.recordEvent({ subject, body: LOGIN });
        const after = await client.getTrail({ subject });
        expect(after.records.map(({ id }) => id)).to.deep.equal([records[0]?.id, recordId]);
      });
    }

    it("bytes that are no gRPC frame harm nobody either", async () => {
      const session = connectHttp2(`http://127.0.0.1:${daemon.grpcPort}`);
      const stream = openStream(session);
      stream.end(Buffer.from("GET / HTTP/1.1\r\n\r\n"));
      stream.resume();
      await once(stream, "close");
      session.destroy();
      await client.getStats({});
    });

    function openStream(session: ClientHttp2Session): ClientHttp2Stream {
      session.on("error", () => undefined);
      const stream = session.request({
        ":method": "POST",
        ":path": "/anchord.v1.AuditService/RecordEvents",
        "content-type": "application/grpc",
        te: "trailers",
      });
      stream.on("error", () => undefined);
      return stream;
    }

    /** A ping comes back only after the server has read everything before it. */
    function sentAll(session: ClientHttp2Session): Promise<void> {
      return new Promise((resolve, reject) => {
        session.ping((error) => (error === null ? resolve() : reject(error)));
      });
    }

    function frameOf(message: MessageInitShape<typeof RecordEventsRequestSchema>): Buffer {
      const bytes = toBinary(RecordEventsRequestSchema, create(RecordEventsRequestSchema, message));
      const head = Buffer.alloc(5);
      head.writeUInt32BE(bytes.length, 1);
      return Buffer.concat([head, bytes]);
    }
  });

  it("has harmed nothing: the log seals and holds", async () => {
    const { pending } = await client.sealNow({});
    expect(pending).to.equal(0n);
    let last;
    for await (const progress of client.verifyLog({})) last = progress;
    expect(last).to.include({ done: true, problemsTotal: 0n });
    await until("healthy", async () => (await fetch(`${daemon.url}/health`)).status === 200);
  });
});
