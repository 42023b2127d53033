import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { Client, ConnectError } from "@connectrpc/connect";
import { Client as GrpcClient, credentials } from "@grpc/grpc-js";
import { expect } from "chai";
import { EventKind, Finality, OperationKind } from "../../gen/ts/anchord/v1/event_pb.js";
import type { Event } from "../../gen/ts/anchord/v1/event_pb.js";
import {
  EventService,
  StartPoint,
  SubscribeEventsRequestSchema,
  SubscribeEventsResponseSchema,
} from "../../gen/ts/anchord/v1/event_service_pb.js";
import type { SubscribeEventsResponse } from "../../gen/ts/anchord/v1/event_service_pb.js";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import { openDatabase } from "../../src/store/database.js";
import { appendFeed, pruneFeed } from "../../src/store/feed.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { DATABASES } from "../support/databases.js";
import { DOORS, refusal, refusalOf } from "../support/doors.js";
import type { Door, Refusal } from "../support/doors.js";
import { startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { sharedMysql, startMysql } from "../support/mysql.js";
import { until } from "../support/until.js";

type EventClient = Client<typeof EventService>;
type Request = MessageInitShape<typeof SubscribeEventsRequestSchema>;

const { ANCHORED, FINAL, ACCEPTED } = RecordState;
const FROM_START = { from: { case: "start", value: StartPoint.START } } as const;
const NO_SUCH = { code: "NotFound", reason: "ERROR_REASON_SUBSCRIPTION_NOT_FOUND" } as const;
const TAKEN = { code: "Aborted", reason: "ERROR_REASON_SUBSCRIPTION_TAKEN_OVER" } as const;
const CLOSING = { code: "Unavailable", reason: "ERROR_REASON_SHUTTING_DOWN" } as const;
const BAD_CURSOR = { code: "InvalidArgument", reason: "ERROR_REASON_INVALID_CURSOR" } as const;

/** A stream that is read as fast as it comes. */
class Subscriber {
  readonly answers: SubscribeEventsResponse[] = [];
  refused: Refusal | undefined;
  readonly #abort = new AbortController();
  readonly ended: Promise<void>;

  constructor(client: EventClient, request: Request) {
    this.ended = this.#read(client, request);
    open.add(this);
  }

  get events(): Event[] {
    return this.answers.flatMap(({ events }) => events);
  }

  get keys(): string[] {
    return this.events.map(({ key }) => key);
  }

  get cursor(): string {
    return this.answers.at(-1)?.cursor ?? "";
  }

  /** Waits until it has started: what happens from here on is told. */
  async started(): Promise<this> {
    await this.has("an answer", () => this.answers.length > 0);
    return this;
  }

  /** Waits until it was told so many events. */
  async told(count: number): Promise<Event[]> {
    await this.has(`${count} events`, () => this.events.length >= count);
    return this.events;
  }

  async has(what: string, condition: () => boolean): Promise<void> {
    await until(`${what}, after ${this.events.length} events`, () => {
      if (this.refused !== undefined) throw new Error(`it was ended: ${this.refused.message}`);
      return condition();
    });
  }

  async endsWith(expected: Partial<Refusal>): Promise<void> {
    await this.ended;
    expect(this.refused).to.include(expected);
  }

  async stop(): Promise<void> {
    open.delete(this);
    this.#abort.abort();
    await this.ended;
  }

  async #read(client: EventClient, request: Request): Promise<void> {
    try {
      const stream = client.subscribeEvents(request, { signal: this.#abort.signal });
      for await (const answer of stream) this.answers.push(answer);
    } catch (error) {
      if (!this.#abort.signal.aborted) this.refused = refusal(error as ConnectError);
    }
  }
}

const open = new Set<Subscriber>();

afterEach(async () => {
  await Promise.all([...open].map((subscriber) => subscriber.stop()));
});

let made = 0;
/** A name that no other test uses. */
const unique = (what: string) => `${what}-${made++}`;

const custom = (type: string) => ({ case: "custom" as const, value: { type } });

const record = ({ grpc }: Daemon, subject: string, type = "test", waitFor = FINAL) =>
  grpc.recordEvent({ subject, body: custom(type), waitFor });

/** Records so many events in one message, and so in one batch, and waits until that is final. */
async function recordMany(daemon: Daemon, subject: string, count: number): Promise<void> {
  async function* messages() {
    yield { events: Array.from({ length: count }, () => ({ subject, body: custom("many") })) };
  }
  for await (const _ of daemon.grpc.recordEvents(messages()));
  await record(daemon, subject);
}

const clientOf = (daemon: Daemon, { name }: Door): EventClient =>
  daemon.events[name === "gRPC" ? "grpc" : "http"];

const metric = async ({ url }: Daemon, name: string): Promise<number> => {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = text.split("\n").find((each) => each.startsWith(`${name} `));
  return Number(line?.split(" ")[1]);
};

/** The database of a daemon, for what only time would do. */
function databaseOf(daemon: Daemon, settings: Record<string, string>) {
  const { DATABASE_URL: mysqlUrl } = settings;
  return openDatabase(
    mysqlUrl === undefined ? { sqlitePath: join(daemon.dataDir, "anchord.db") } : { mysqlUrl },
  );
}

for (const database of DATABASES) {
  describe(`EventService on ${database.name}`, function () {
    this.timeout(60_000);

    let daemon: Daemon;
    let settings: Record<string, string>;

    before(async function () {
      this.timeout(300_000);
      const found = await database.settings();
      if (found === undefined) return this.skip();
      settings = found;
      daemon = await startDaemon(settings);
      await record(daemon, "before");
    });

    after(() => daemon?.stop());

    for (const door of DOORS) {
      describe(`through the ${door.name} door`, () => behaves(() => daemon, door));
    }

    describe("at last", () => {
      it("refuses a cursor behind which events are no longer kept, and names one that works", async () => {
        const { grpc } = daemon.events;
        const start = await new Subscriber(grpc, FROM_START).started();
        const { recordId } = await record(daemon, unique("user"));
        const isLast = ({ kind, payload }: Event) =>
          kind === EventKind.RECORD_FINAL &&
          payload.case === "record" &&
          payload.value.id === recordId;
        await start.has("the end", () => start.events.some(isLast));
        const opened = databaseOf(daemon, settings);
        await opened.transact((trx) => pruneFeed(trx, Number.MAX_SAFE_INTEGER, 4));
        await opened.close();
        for (const door of DOORS) {
          const cursor = start.answers[0]!.cursor;
          const late = new Subscriber(clientOf(daemon, door), {
            from: { case: "cursor", value: cursor },
          });
          await late.endsWith({ code: "OutOfRange", reason: "ERROR_REASON_CURSOR_EXPIRED" });
          const oldest = late.refused?.metadata["oldest_cursor"] ?? "";
          const again = new Subscriber(clientOf(daemon, door), {
            from: { case: "cursor", value: oldest },
          });
          await again.told(1);
          const all = await new Subscriber(clientOf(daemon, door), FROM_START).started();
          for (const each of [again, all])
            await each.has("the end", () => each.events.some(isLast));
          expect(again.keys).to.deep.equal(all.keys);
          expect(start.keys.slice(-all.keys.length)).to.deep.equal(all.keys);
        }
      });

      it("tells what belongs to no block at every finality, and not where records are asked for", async () => {
        const filters = [{}, { minimumFinality: Finality.FINAL }, { subject: "none" }];
        const [all, final, subject] = await Promise.all(
          filters.map((filter) => new Subscriber(daemon.events.grpc, { filter }).started()),
        );
        const opened = databaseOf(daemon, settings);
        const problem = { batchNumber: "1", sequence: "0", column: "records.entry", message: "x" };
        const failure = { transactionHash: `0x${"a".repeat(64)}`, reason: "out of gas" };
        const detail = JSON.stringify(failure);
        const group = (kind: string) => JSON.stringify({ ...failure, kind, number: 3 });
        await opened.transact((trx) =>
          appendFeed(
            trx,
            [
              { kind: "OPERATION_FAILED", batchNumber: 7, detail },
              { kind: "OPERATION_FAILED", batchNumber: 0, detail: group("EVIDENCE") },
              { kind: "OPERATION_FAILED", batchNumber: 0, detail: group("SLA") },
              { kind: "OPERATION_FAILED", batchNumber: 0, detail: group("ESCALATION") },
              { kind: "INTEGRITY_BROKEN", batchNumber: 0, detail: JSON.stringify(problem) },
            ],
            0,
          ),
        );
        await opened.close();
        const [failed, evidence, change, escalation, broken] = await all!.told(5);
        const { SEAL, EVIDENCE, SLA, ESCALATION } = OperationKind;
        expect(failed?.payload.value).to.include({ ...failure, kind: SEAL, batchNumber: 7n });
        for (const [event, kind] of [
          [evidence, EVIDENCE],
          [change, SLA],
          [escalation, ESCALATION],
        ] as const) {
          expect(event?.payload.value).to.include({ ...failure, kind, batchNumber: 0n });
        }
        expect(broken?.payload.value).to.include({ column: "records.entry", sequence: 0n });
        expect(failed?.finality).to.equal(Finality.UNSPECIFIED);
        expect(failed?.key).to.match(/^[0-9a-f]{16}-\d+$/);
        await final!.told(5);
        expect(final!.keys).to.deep.equal(all!.keys);
        await record(daemon, "none");
        await subject!.told(2);
        expect(subject!.events.every(({ payload }) => payload.case === "record")).to.equal(true);
      });

      it("names a record that was edited and cannot be read, until it is restored", async () => {
        const { recordId } = await record(daemon, unique("edited"));
        const { grpc } = daemon;
        const { record: whole } = await grpc.getRecord({ recordId });
        const filter = { subject: whole?.subject ?? "" };
        const opened = databaseOf(daemon, settings);
        const id = Buffer.from(recordId, "hex");
        const edit = (entry: Uint8Array) =>
          opened.transact((trx) =>
            trx.updateTable("records").set({ entry }).where("id", "=", id).execute(),
          );
        const { receipt } = await grpc.getReceipt({ recordId });
        await edit(Buffer.from("edited"));
        const altered = { code: "DataLoss", reason: "ERROR_REASON_DATABASE_ALTERED" } as const;
        for (const call of [
          () => grpc.getRecord({ recordId }),
          () => grpc.listRecords({ filter }),
          () => grpc.getTrail(filter),
          () => grpc.getReceipt({ recordId }),
        ]) {
          const error = await call().catch((thrown: unknown) => thrown as ConnectError);
          expect(refusal(error as ConnectError)).to.deep.include(altered);
          expect((error as ConnectError).message).to.include(recordId);
        }
        await new Subscriber(daemon.events.grpc, { filter, ...FROM_START }).endsWith(altered);
        await edit(receipt!.entry);
        await opened.close();
        const mended = await new Subscriber(daemon.events.grpc, {
          filter,
          ...FROM_START,
        }).started();
        await mended.told(2);
      });

      it("ends streams when the service stops, at once", async () => {
        const streams = await Promise.all(
          DOORS.map((door) => new Subscriber(clientOf(daemon, door), {}).started()),
        );
        const stopped = performance.now();
        const ended = daemon.stop();
        for (const stream of streams) await stream.endsWith(CLOSING);
        expect(await ended).to.equal(0);
        expect(performance.now() - stopped).to.be.below(8_000); // the grace is 10 s
      });
    });
  });
}

/** Everything that is promised, whatever door and database. */
function behaves(running: () => Daemon, door: Door): void {
  let daemon: Daemon;
  let client: EventClient;

  before(() => {
    daemon = running();
    client = clientOf(daemon, door);
  });

  const subscribe = (request: Request = {}) => new Subscriber(client, request).started();
  const resumed = (cursor: string, request: Request = {}) =>
    subscribe({ ...request, from: { case: "cursor", value: cursor } });

  it("tells the life of a record, in order, each event with its key", async () => {
    const stream = await subscribe();
    const { recordId } = await record(daemon, unique("user/€"));
    const events = await stream.told(4);
    const { record: found } = await daemon.grpc.getRecord({ recordId });
    const { batch } = await daemon.grpc.getBatch({
      batch: { case: "number", value: found!.batchNumber! },
    });
    const place = `${found!.anchor!.blockNumber}-${found!.anchor!.blockHash.slice(2, 18)}`;
    expect(events.map(({ key }) => key)).to.deep.equal([
      `${place}-batch.sealed-${found!.batchNumber}`,
      `${place}-record.anchored-${found!.sequence}`,
      `${place}-batch.final-${found!.batchNumber}`,
      `${place}-record.final-${found!.sequence}`,
    ]);
    expect(events.map(({ kind }) => EventKind[kind])).to.deep.equal([
      "BATCH_SEALED",
      "RECORD_ANCHORED",
      "BATCH_FINAL",
      "RECORD_FINAL",
    ]);
    expect(events.map(({ finality }) => finality)).to.deep.equal([
      Finality.PROVISIONAL,
      Finality.PROVISIONAL,
      Finality.FINAL,
      Finality.FINAL,
    ]);
    const [sealed, anchored, batchFinal, final] = events.map(({ payload }) => payload.value);
    expect(final).to.deep.equal(found);
    expect(anchored).to.deep.equal({ ...found, state: ANCHORED });
    expect(batchFinal).to.deep.equal(batch);
    expect(sealed).to.deep.equal({ ...batch, state: ANCHORED });
  });

  it("tells kinds, subjects and types as they are asked for", async () => {
    const [a, b] = [unique("a"), unique("b")];
    const type = unique("type");
    const { RECORD_FINAL, BATCH_FINAL } = EventKind;
    const filters = {
      kinds: { kinds: [RECORD_FINAL, BATCH_FINAL] },
      subject: { subject: a },
      type: { type },
      all: { kinds: [RECORD_FINAL], subject: b, type },
      batchOfSubject: { kinds: [BATCH_FINAL], subject: a },
    };
    const streams = Object.fromEntries(
      await Promise.all(
        Object.entries(filters).map(async ([name, filter]) => [name, await subscribe({ filter })]),
      ),
    ) as Record<keyof typeof filters, Subscriber>;
    await record(daemon, a, type);
    await record(daemon, a, "other");
    await record(daemon, b, "other");
    await record(daemon, b, type);
    const seen = ({ events }: Subscriber) =>
      events.map(({ kind, payload }) => {
        const { subject = "", body } = payload.case === "record" ? payload.value : {};
        const of = body?.case === "custom" ? ` ${subject} ${body.value.type}` : "";
        return EventKind[kind] + of;
      });
    await streams.kinds.told(8);
    expect(seen(streams.kinds)).to.deep.equal(
      [`${a} ${type}`, `${a} other`, `${b} other`, `${b} ${type}`].flatMap((which) => [
        "BATCH_FINAL",
        `RECORD_FINAL ${which}`,
      ]),
    );
    await streams.subject.told(4);
    expect(seen(streams.subject)).to.deep.equal([
      `RECORD_ANCHORED ${a} ${type}`,
      `RECORD_FINAL ${a} ${type}`,
      `RECORD_ANCHORED ${a} other`,
      `RECORD_FINAL ${a} other`,
    ]);
    await streams.type.told(4);
    expect(seen(streams.type)).to.deep.equal([
      `RECORD_ANCHORED ${a} ${type}`,
      `RECORD_FINAL ${a} ${type}`,
      `RECORD_ANCHORED ${b} ${type}`,
      `RECORD_FINAL ${b} ${type}`,
    ]);
    await streams.all.told(1);
    expect(seen(streams.all)).to.deep.equal([`RECORD_FINAL ${b} ${type}`]);
    expect(seen(streams.batchOfSubject)).to.deep.equal([]);
  });

  it("goes on behind the cursor of any answer, also in the middle of a batch", async () => {
    const first = await subscribe();
    await recordMany(daemon, unique("user"), 700);
    await record(daemon, unique("user"));
    const { length } = await first.told(2 * 702 + 4);
    const { cursor } = first.answers[0]!;
    const whole = await resumed(cursor);
    await whole.told(length);
    expect(whole.keys).to.deep.equal(first.keys);
    expect(new Set(whole.keys).size).to.equal(length);
    const sequences = whole.events.flatMap(({ kind, payload }) =>
      kind === EventKind.RECORD_FINAL && payload.case === "record" ? [payload.value.sequence] : [],
    );
    expect(sequences).to.deep.equal([...sequences].sort((a, b) => Number(a - b)));
    const cuts = whole.answers.map((answer) => answer.cursor);
    expect(cuts.length).to.be.above(5);
    for (const [i, cut] of cuts.entries()) {
      const rest = await resumed(cut);
      const expected = whole.answers.slice(i + 1).flatMap(({ events }) => events);
      await rest.told(expected.length);
      expect(rest.keys, `from answer ${i}`).to.deep.equal(expected.map(({ key }) => key));
      await rest.stop();
      // Another filter counts in the same offsets.
      const kinds = [EventKind.RECORD_FINAL];
      const final = await resumed(cut, { filter: { kinds } });
      const those = expected.filter(({ kind }) => kind === EventKind.RECORD_FINAL);
      await final.told(those.length);
      expect(final.keys).to.deep.equal(those.map(({ key }) => key));
      await final.stop();
    }
  });

  it("tells large records in answers that clients accept", async () => {
    const subject = unique("large");
    const stream = await subscribe({ filter: { subject } });
    const data = { text: "x".repeat(60_000) };
    async function* messages() {
      const body = { case: "custom" as const, value: { type: "large", data } };
      yield { events: Array.from({ length: 60 }, () => ({ subject, body })) };
    }
    for await (const _ of daemon.grpc.recordEvents(messages()));
    await stream.told(120);
    expect(new Set(stream.keys).size).to.equal(120);
    const most = Math.max(...stream.answers.map(({ events }) => events.length));
    expect(most).to.be.within(1, 36); // 2 MiB
  });

  it("starts with the oldest event or behind the newest", async () => {
    const subject = unique("user");
    await record(daemon, subject);
    const start = await subscribe({ ...FROM_START, filter: { subject } });
    const now = await subscribe({
      from: { case: "start", value: StartPoint.NOW },
      filter: { subject },
    });
    await record(daemon, subject);
    expect((await start.told(4)).length).to.equal(4);
    await now.told(2);
    expect(now.keys).to.deep.equal(start.keys.slice(2));
    expect(start.answers[0]?.events).to.deep.equal([]);
  });

  it("marks its progress past what the filter leaves out", async () => {
    const filter = { subject: "nobody" };
    const quiet = await subscribe({ filter, progressInterval: durationFromMs(100) });
    const from = quiet.cursor;
    const all = await subscribe();
    await record(daemon, unique("user"));
    await all.told(4);
    await quiet.has("a mark behind it", () => quiet.cursor === all.cursor);
    expect(quiet.cursor).to.not.equal(from);
    expect(quiet.events).to.deep.equal([]);
  });

  it("refuses cursors that are none, and those of another log", async () => {
    const bytes = Buffer.from((await subscribe()).cursor, "base64url");
    bytes[1] = (bytes[1] ?? 0) ^ 1;
    for (const value of ["x", "a".repeat(256), bytes.toString("base64url")]) {
      const call = new Subscriber(client, { from: { case: "cursor", value } });
      await call.endsWith(BAD_CURSOR);
      const acknowledging = client.acknowledgeEvents({ subscription: "any", cursor: value });
      expect(await refusalOf(acknowledging)).to.include(BAD_CURSOR);
    }
  });

  const bad: readonly [string, Request, string][] = [
    ["a kind twice", { filter: { kinds: [1, 1] } }, "filter.kinds"],
    ["a kind that is none", { filter: { kinds: [99 as EventKind] } }, "filter.kinds[0]"],
    ["the kind 0", { filter: { kinds: [0] } }, "filter.kinds[0]"],
    ["a subject that is too long", { filter: { subject: "x".repeat(257) } }, "filter.subject"],
    ["a type in capitals", { filter: { type: "Login" } }, "filter.type"],
    [
      "a finality that is none",
      { filter: { minimumFinality: 4 as Finality } },
      "filter.minimum_finality",
    ],
    ["a start that is none", { from: { case: "start", value: 3 as StartPoint } }, "start"],
    ["an empty cursor", { from: { case: "cursor", value: "" } }, "cursor"],
    ["a cursor that is too long", { from: { case: "cursor", value: "a".repeat(257) } }, "cursor"],
    ["a name with a space", { subscription: "a b" }, "subscription"],
    ["a name that is too long", { subscription: "a".repeat(129) }, "subscription"],
    ["an interval of 99 ms", { progressInterval: durationFromMs(99) }, "progress_interval"],
    [
      "an interval of more than an hour",
      { progressInterval: durationFromMs(3_600_001) },
      "progress_interval",
    ],
  ];
  for (const [what, request, field] of bad) {
    it(`refuses ${what}`, async () => {
      const bytes = toBinary(
        SubscribeEventsRequestSchema,
        create(SubscribeEventsRequestSchema, request),
      );
      if (door.name === "gRPC") {
        const outcome = await door.send(daemon, EventService.method.subscribeEvents, bytes);
        expect("refusal" in outcome && outcome.refusal.fields).to.deep.equal([field]);
        return;
      }
      const call = new Subscriber(client, request);
      await call.ended;
      if (/that is none|kind 0/.test(what) && call.refused?.fields.length === 0) return; // not in JSON
      expect(call.refused?.fields).to.deep.equal([field]);
    });
  }

  it("refuses names that are none in the calls about subscriptions", async () => {
    for (const name of ["", "a b", "a".repeat(129)]) {
      const { reason } = await refusalOf(client.deleteSubscription({ name }));
      expect(reason).to.equal("ERROR_REASON_INVALID_FIELD");
      const call = client.acknowledgeEvents({ subscription: name, cursor: "x" });
      expect((await refusalOf(call)).fields).to.deep.equal(["subscription"]);
    }
    const token = await refusalOf(client.listSubscriptions({ pageToken: "x" }));
    expect(token.reason).to.equal("ERROR_REASON_INVALID_PAGE_TOKEN");
    const size = await refusalOf(client.listSubscriptions({ pageSize: -1 }));
    expect(size.fields).to.deep.equal(["page_size"]);
  });

  describe("named subscriptions", () => {
    it("are told again what was not acknowledged, wherever a consumer asks to start", async () => {
      const subscription = unique("position");
      const first = await subscribe({ subscription });
      await record(daemon, unique("user"));
      await record(daemon, unique("user"));
      await first.told(8);
      await first.stop();
      const again = await subscribe({
        subscription,
        from: { case: "start", value: StartPoint.NOW },
      });
      await again.told(8);
      expect(again.keys).to.deep.equal(first.keys);
      await again.stop();
      const some = again.answers.findIndex(({ events }) => events.length > 0);
      const { cursor } = again.answers[some]!;
      await client.acknowledgeEvents({ subscription, cursor });
      // What lies behind the position changes nothing.
      await client.acknowledgeEvents({ subscription, cursor: first.answers[0]!.cursor });
      const rest = await subscribe({ subscription });
      const left = again.answers.slice(some + 1).flatMap(({ events }) => events);
      await rest.told(left.length);
      expect(rest.keys).to.deep.equal(left.map(({ key }) => key));
    });

    it("are listed by name, page by page, each with its position and what is pending", async () => {
      const prefix = unique("list");
      const names = [1, 2, 3].map((n) => `${prefix}/${n}`);
      for (const subscription of names) await (await subscribe({ subscription })).stop();
      const all = await subscribe();
      await record(daemon, unique("user"));
      await all.told(4);
      await client.acknowledgeEvents({ subscription: names[1]!, cursor: all.cursor });
      const listed = new Map<
        string,
        Awaited<ReturnType<EventClient["listSubscriptions"]>>["subscriptions"][0]
      >();
      let pageToken = "";
      do {
        const page = await client.listSubscriptions({ pageSize: 2, pageToken });
        expect(page.subscriptions.length).to.be.within(1, 2);
        for (const each of page.subscriptions) listed.set(each.name, each);
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      expect([...listed.keys()]).to.deep.equal([...listed.keys()].sort());
      const [waiting, done] = names.map((name) => listed.get(name)!);
      expect(waiting!.pendingSince).to.not.equal(undefined);
      expect(waiting!.acknowledgeTime).to.equal(undefined);
      expect(done!.pendingSince).to.equal(undefined);
      expect(done!.acknowledgeTime).to.not.equal(undefined);
      expect(done!.cursor).to.equal(all.cursor);
      const text = await (await fetch(`${daemon.url}/metrics`)).text();
      expect(text).to.match(
        new RegExp(`^anchord_subscription_lag_seconds\\{name="${names[0]}"\\} [0-9.]*[1-9]`, "m"),
      );
      expect(text).to.include(`anchord_subscription_lag_seconds{name="${names[1]}"} 0\n`);
    });

    it("have one consumer: a newcomer ends the one before", async () => {
      const subscription = unique("taken");
      const first = await subscribe({ subscription });
      const second = await subscribe({ subscription });
      await first.endsWith(TAKEN);
      await record(daemon, unique("user"));
      await second.told(4);
    });

    it("keep exactly one of many consumers that come at once", async () => {
      const subscription = unique("crowd");
      const crowd = Array.from({ length: 8 }, () => new Subscriber(client, { subscription }));
      const left = () => crowd.filter(({ refused }) => refused === undefined);
      await until("one is left", () => left().length === 1);
      await left()[0]!.started();
      await record(daemon, unique("user"));
      await left()[0]!.told(4);
      for (const { refused } of crowd) if (refused !== undefined) expect(refused).to.include(TAKEN);
    });

    it("end their consumer when they are deleted", async () => {
      const subscription = unique("deleted");
      const stream = await subscribe({ subscription });
      await client.deleteSubscription({ name: subscription });
      await stream.endsWith(NO_SUCH);
      expect(await refusalOf(client.deleteSubscription({ name: subscription }))).to.include(
        NO_SUCH,
      );
      const { cursor } = stream;
      const call = client.acknowledgeEvents({ subscription, cursor });
      expect(await refusalOf(call)).to.include(NO_SUCH);
    });
  });

  it("serves 200 subscribers, and frees everything when they go", async () => {
    await until("nobody is left", async () => (await metric(daemon, "anchord_subscribers")) === 0);
    const delivered = await metric(daemon, "anchord_events_delivered_total");
    const crowd = await Promise.all(Array.from({ length: 200 }, () => subscribe()));
    expect(await metric(daemon, "anchord_subscribers")).to.equal(200);
    await record(daemon, unique("user"));
    for (const stream of crowd) await stream.told(4);
    for (const { keys } of crowd) expect(keys).to.deep.equal(crowd[0]!.keys);
    expect(await metric(daemon, "anchord_events_delivered_total")).to.equal(delivered + 800);
    await Promise.all(crowd.map((stream) => stream.stop()));
    await until("nobody is left", async () => (await metric(daemon, "anchord_subscribers")) === 0);
  });
}

describe("A subscriber that does not read", function () {
  this.timeout(120_000);

  let daemon: Daemon;

  before(async () => {
    daemon = await startDaemon();
  });
  after(() => daemon.stop());

  it("holds nobody up, and misses nothing once it reads again", async () => {
    const request = toBinary(
      SubscribeEventsRequestSchema,
      create(SubscribeEventsRequestSchema, FROM_START),
    );
    const slow = new GrpcClient(`127.0.0.1:${daemon.grpcPort}`, credentials.createInsecure());
    const call = slow.makeServerStreamRequest(
      "/anchord.v1.EventService/SubscribeEvents",
      (bytes: Uint8Array) => Buffer.from(bytes),
      (bytes: Buffer) => fromBinary(SubscribeEventsResponseSchema, bytes),
      request,
    );
    await new Promise((resolve) => call.once("readable", resolve)); // and reads no further
    const fast = await new Subscriber(daemon.events.grpc, FROM_START).started();
    for (let i = 0; i < 6; i++) await recordMany(daemon, `slow/${i}`, 1_000);
    const { batches, records } = await daemon.grpc.getStats({});
    const total = 2 * Number(batches + records);
    await fast.told(total);
    const keys: string[] = [];
    for await (const { events } of call as AsyncIterable<SubscribeEventsResponse>) {
      keys.push(...events.map(({ key }) => key));
      if (keys.length >= total) break;
    }
    expect(keys).to.deep.equal(fast.keys);
    call.on("error", () => undefined); // it is cancelled
    call.cancel();
    slow.close();
    await fast.stop();
    await until("nobody is left", async () => (await metric(daemon, "anchord_subscribers")) === 0);
  });
});

describe("A caller that goes without a word", function () {
  this.timeout(120_000);

  it("is forgotten, though it has not read what was sent to it", async () => {
    const daemon = await startDaemon();
    for (let i = 0; i < 6; i++) await recordMany(daemon, `gone/${i}`, 1_000);
    const body = Buffer.from(JSON.stringify({ start: "START_POINT_START" }));
    const envelope = Buffer.alloc(5);
    envelope.writeUInt32BE(body.length, 1);
    const socket = connect(daemon.httpPort, "127.0.0.1");
    socket.write(
      "POST /anchord.v1.EventService/SubscribeEvents HTTP/1.1\r\nhost: localhost\r\n" +
        "content-type: application/connect+json\r\nconnect-protocol-version: 1\r\n" +
        `content-length: ${5 + body.length}\r\n\r\n`,
    );
    socket.write(Buffer.concat([envelope, body]));
    await once(socket, "readable"); // and reads nothing
    expect(await metric(daemon, "anchord_subscribers")).to.equal(1);
    socket.destroy();
    await until("nobody is left", async () => (await metric(daemon, "anchord_subscribers")) === 0);
    await daemon.stop();
  });
});

describe("A database that goes away", function () {
  this.timeout(120_000);

  it("ends streams with DATABASE_UNAVAILABLE, and they go on from their cursors", async function () {
    if ((await sharedMysql())?.kill === undefined) return this.skip();
    const mysql = await startMysql();
    const daemon = await startDaemon({ DATABASE_URL: await mysql.createDatabase() });
    const { grpc } = daemon.events;
    const stream = await new Subscriber(grpc, {}).started();
    await record(daemon, "user");
    await stream.told(4);
    await mysql.kill?.();
    await stream.endsWith({
      code: "Unavailable",
      reason: "ERROR_REASON_DATABASE_UNAVAILABLE",
    });
    await mysql.restart?.();
    let again = new Subscriber(grpc, { from: { case: "cursor", value: stream.cursor } });
    await until("it goes on", () => {
      if (again.refused !== undefined) {
        again = new Subscriber(grpc, { from: { case: "cursor", value: stream.cursor } });
      }
      return again.answers.length > 0;
    });
    await record(daemon, "user");
    await again.told(4);
    expect(again.keys.filter((key) => stream.keys.includes(key))).to.deep.equal([]);
    await again.stop();
    await daemon.stop();
    await mysql.kill?.();
  });
});

describe("Events of a chain that is reorganised", function () {
  this.timeout(120_000);

  let chain: ExternalChain;
  let daemon: Daemon;

  before(async () => {
    chain = await startExternalChain();
    daemon = await startDaemon({
      ...chain.environment,
      DATA_DIR: temporaryFolder(),
      CONFIRMATIONS: "3",
    });
  });
  after(async () => {
    await daemon?.stop();
    await chain?.stop();
  });

  const seen = ({ events }: Subscriber) =>
    events.map(({ kind, finality, payload }) => {
      const { state } = payload.value as { state: RecordState };
      return `${EventKind[kind]} ${Finality[finality]} ${RecordState[state]}`;
    });
  const life = (told: string, state = "ANCHORED") => [
    `BATCH_SEALED ${told} ${state}`,
    `RECORD_ANCHORED ${told} ${state}`,
    "BATCH_FINAL FINAL FINAL",
    "RECORD_FINAL FINAL FINAL",
  ];

  it("are told at the finality that was asked for; a retraction to those who had been told", async () => {
    const levels = [Finality.PROVISIONAL, Finality.CONFIRMED, Finality.FINAL];
    const [provisional, confirmed, final] = (await Promise.all(
      levels.map((minimumFinality) =>
        new Subscriber(daemon.events.grpc, { filter: { minimumFinality } }).started(),
      ),
    )) as [Subscriber, Subscriber, Subscriber];

    const snapshot = await chain.rpc<string>("evm_snapshot");
    await record(daemon, "user", "test", ANCHORED);
    await provisional.told(2);
    await chain.rpc("miner_stop");
    await chain.rpc("evm_revert", snapshot);
    await chain.rpc("evm_mine", { blocks: 2 });
    await provisional.told(4);
    await chain.rpc("miner_start");
    await provisional.told(6);
    await chain.mine(3);
    await provisional.told(8);
    await Promise.all([confirmed.told(4), final.told(4)]);

    expect(seen(provisional)).to.deep.equal([
      ...life("PROVISIONAL").slice(0, 2),
      "BATCH_RETRACTED PROVISIONAL ACCEPTED",
      "RECORD_RETRACTED PROVISIONAL ACCEPTED",
      ...life("PROVISIONAL"),
    ]);
    expect(seen(confirmed)).to.deep.equal(life("CONFIRMED"));
    expect(seen(final)).to.deep.equal(life("FINAL", "FINAL"));
    expect(new Set(provisional.keys).size).to.equal(8);
    // The same happening has the same key, whenever a subscriber is told.
    expect(confirmed.keys).to.deep.equal(provisional.keys.slice(4));
    expect(final.keys).to.deep.equal(confirmed.keys);
    const retracted = provisional.events[3]!.payload.value as {
      anchor?: unknown;
      state: RecordState;
    };
    expect(retracted.anchor).to.equal(undefined);
    expect(retracted.state).to.equal(ACCEPTED);

    // Whoever comes later is told the same, with the state that was.
    const later = await new Subscriber(daemon.events.http, FROM_START).started();
    await later.told(8);
    expect(later.events).to.deep.equal(provisional.events);
  });
});

describe("Named subscriptions of two replicas", function () {
  this.timeout(120_000);

  it("have one consumer among both, and one position", async function () {
    const mysql = await sharedMysql();
    if (mysql === undefined) return this.skip();
    const chain = await startExternalChain();
    const settings = {
      ...chain.environment,
      CONFIRMATIONS: "0",
      DATABASE_URL: await mysql.createDatabase(),
    };
    const daemons = [
      await startDaemon({ ...settings, DATA_DIR: temporaryFolder() }),
      await startDaemon({ ...settings, DATA_DIR: temporaryFolder() }),
    ] as const;
    try {
      const [one, two] = daemons.map(({ events }) => events.grpc) as [EventClient, EventClient];
      const subscription = "shared";
      const first = await new Subscriber(one, { subscription }).started();
      await record(daemons[0], "user");
      await first.told(4);
      const second = await new Subscriber(two, { subscription }).started();
      await first.endsWith(TAKEN);
      await second.told(4);
      expect(second.keys).to.deep.equal(first.keys);
      await one.acknowledgeEvents({ subscription, cursor: second.cursor });
      await record(daemons[1], "user");
      await second.told(8);
      const third = await new Subscriber(one, { subscription }).started();
      await second.endsWith(TAKEN);
      await third.told(4);
      expect(third.keys).to.deep.equal(second.keys.slice(4));
      await two.deleteSubscription({ name: subscription });
      await third.endsWith(NO_SUCH);
    } finally {
      for (const daemon of daemons) await daemon.stop();
      await chain.stop();
    }
  });
});
