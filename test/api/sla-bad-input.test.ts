import type { Message, MessageInitShape } from "@bufbuild/protobuf";
import { expect } from "chai";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import type { SLAState } from "../../gen/ts/anchord/v1/sla_pb.js";
import { SLAOrder, SLAService } from "../../gen/ts/anchord/v1/sla_service_pb.js";
import { startDaemon } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { DOORS, GRPC_DOOR, refusalOf } from "../support/doors.js";
import type { AuditClient } from "../support/doors.js";
import { setSla, slaClient, within } from "../support/sla.js";
import type { SlaClient } from "../support/sla.js";

type Methods = typeof SLAService.method;
type Request<M extends keyof Methods> = Exclude<MessageInitShape<Methods[M]["input"]>, Message>;

/** How a call must be refused. */
interface Expected {
  readonly code: string;
  readonly reason: string;
}

const INVALID_FIELD = { code: "InvalidArgument", reason: "INVALID_FIELD" } as const;
const NOT_FOUND = { code: "NotFound", reason: "SLA_NOT_FOUND" } as const;
const BAD_TOKEN = { code: "InvalidArgument", reason: "INVALID_PAGE_TOKEN" } as const;

const nobody = "0".repeat(64);
const KNOWN = { subject: "known" } as const;
const DAY = within(86_400);
const LATE = { case: "deadline" as const, value: { seconds: 7_000_000_000n } };
const at = (seconds: bigint, nanos = 0) => ({
  case: "deadline" as const,
  value: { seconds, nanos },
});
const lasting = (seconds: bigint, nanos = 0) => ({
  case: "within" as const,
  value: { seconds, nanos },
});
const by = (seconds: bigint, nanos = 0) => ({ case: "by" as const, value: { seconds, nanos } });
/** 100 years. */
const CENTURY = 3_155_760_000n;

function nested(levels: number): Record<string, never> {
  let inner = {};
  for (let level = 1; level < levels; level++) inner = { a: inner };
  return inner;
}

/** What no change may say, whichever it is. */
const BAD_CHANGES: readonly [
  what: string,
  request: { subject?: string; actor?: string; requestId?: string; waitFor?: RecordState },
  field: string,
][] = [
  ["no subject", { subject: "" }, "subject"],
  ["a subject over 256 characters", { subject: "x".repeat(257) }, "subject"],
  ["a line feed in the subject", { subject: "a\nb" }, "subject"],
  ["a DEL in the actor", { actor: "\u007f" }, "actor"],
  ["an actor over 256 characters", { actor: "x".repeat(257) }, "actor"],
  ["a tab in the request_id", { requestId: "a\tb" }, "request_id"],
  ["a request_id over 128 characters", { requestId: "x".repeat(129) }, "request_id"],
  ["an unknown state to wait for", { waitFor: 9 as RecordState }, "wait_for"],
];

const BAD_SETTINGS: readonly [string, Partial<Request<"setDeadline">>, ...string[]][] = [
  ["no time", { when: { case: undefined } }, "when"],
  ["a deadline before 1970", { when: at(-1n) }, "deadline"],
  ["a deadline in 2200", { when: at(7_258_118_400n) }, "deadline"],
  ["a span of nothing", { when: lasting(0n) }, "within"],
  ["a span below a second", { when: lasting(0n, 999_999_999) }, "within"],
  ["a negative span", { when: lasting(-1n) }, "within"],
  ["a span over 100 years", { when: lasting(CENTURY + 1n) }, "within"],
  ["a span that is just over 100 years", { when: lasting(CENTURY, 1) }, "within"],
  [
    "nine levels",
    { ladder: Array.from({ length: 9 }, (_, i) => ({ seconds: BigInt(i) })) },
    "ladder",
  ],
  ["a level before the deadline", { ladder: [{ seconds: -1n }] }, "ladder[0]"],
  [
    "a level after 100 years",
    { ladder: [{ seconds: 1n }, { seconds: CENTURY + 1n }] },
    "ladder[1]",
  ],
  ["the same level twice", { ladder: [{ seconds: 5n }, { seconds: 5n }] }, "ladder[1]"],
  [
    "levels that descend",
    { ladder: [{ seconds: 1n }, { seconds: 9n }, { seconds: 8n }] },
    "ladder[2]",
  ],
  [
    "levels within one second",
    { ladder: [{ seconds: 1n }, { seconds: 1n, nanos: 500_000_000 }] },
    "ladder[1]",
  ],
  ["details over 64 KiB", { details: { x: "x".repeat(65_536) } }, "details"],
  ["details 33 levels deep", { details: nested(33) }, "details"],
  ["two things at once", { subject: "", when: lasting(0n) }, "subject", "within"],
];

const BAD_EXTENSIONS: readonly [string, Partial<Request<"extendDeadline">>, string][] = [
  ["no time", { when: { case: undefined } }, "when"],
  ["a deadline in 2200", { when: at(7_258_118_400n) }, "deadline"],
  ["an extension by nothing", { when: by(0n) }, "by"],
  ["a negative extension", { when: by(-86_400n) }, "by"],
  ["an extension by over 100 years", { when: by(CENTURY + 1n) }, "by"],
  ["no reason", { reason: "" }, "reason"],
  ["a reason over 1024 characters", { reason: "x".repeat(1025) }, "reason"],
];

describe("bad input of SLAService", function () {
  this.timeout(60_000);

  let daemon: Daemon;
  let audit: AuditClient;

  before(async function () {
    this.timeout(120_000);
    daemon = await startDaemon();
    audit = GRPC_DOOR.client(daemon);
    const client = slaClient(GRPC_DOOR, daemon);
    const waitFor = RecordState.ANCHORED;
    for (let i = 0; i < 2; i++) {
      await setSla(client, { ...KNOWN, when: DAY, waitFor });
      if (i === 0) await client.meetDeadline({ ...KNOWN, waitFor });
    }
  });

  after(() => daemon.stop());

  const recordsNow = async () => (await audit.getStats({})).records;

  /** Nothing of a call that was refused may stay. */
  async function expectRefused(
    call: () => Promise<unknown>,
    { code, reason }: Expected,
    ...fields: string[]
  ) {
    const before = await recordsNow();
    const refusal = await refusalOf(call());
    expect(await recordsNow(), "records").to.equal(before);
    expect(refusal, refusal.message).to.include({ code, reason: `ERROR_REASON_${reason}` });
    expect(refusal.domain).to.equal("anchord");
    expect([...new Set(refusal.fields)].sort()).to.deep.equal([...fields].sort());
    return refusal;
  }

  for (const door of DOORS) {
    describe(`through the ${door.name} door`, () => {
      let client: SlaClient;

      before(() => (client = slaClient(door, daemon)));

      describe("every change refuses", () => {
        for (const [what, request, field] of BAD_CHANGES) {
          it(what, async () => {
            const given = { ...KNOWN, ...request };
            for (const call of [
              () => client.setDeadline({ ...given, when: DAY }),
              () => client.extendDeadline({ ...given, when: LATE, reason: "x" }),
              () => client.pauseDeadline(given),
              () => client.resumeDeadline(given),
              () => client.meetDeadline(given),
            ]) {
              await expectRefused(call, INVALID_FIELD, field);
            }
          });
        }

        it("a reason over 1024 characters", async () => {
          const given = { ...KNOWN, reason: "x".repeat(1025) };
          for (const call of [
            () => client.pauseDeadline(given),
            () => client.resumeDeadline(given),
            () => client.meetDeadline(given),
          ]) {
            await expectRefused(call, INVALID_FIELD, "reason");
          }
        });
      });

      describe("SetDeadline refuses", () => {
        for (const [what, request, ...fields] of BAD_SETTINGS) {
          it(what, () =>
            expectRefused(
              () => client.setDeadline({ subject: "a", when: DAY, ...request }),
              INVALID_FIELD,
              ...fields,
            ),
          );
        }
      });

      describe("ExtendDeadline refuses", () => {
        for (const [what, request, field] of BAD_EXTENSIONS) {
          it(what, () =>
            expectRefused(
              () => client.extendDeadline({ ...KNOWN, when: LATE, reason: "x", ...request }),
              INVALID_FIELD,
              field,
            ),
          );
        }
      });

      describe("refuses", () => {
        const get = (request: Request<"getSLA">) => () => client.getSLA(request);
        const certify = (request: Request<"getCertificate">) => () =>
          client.getCertificate(request);
        const list = (request: Request<"listSLAs">) => () => client.listSLAs(request);
        const check = (request: Request<"checkAndEscalate">) => () =>
          client.checkAndEscalate(request);
        const checkAll = (request: Request<"batchCheckAndEscalate">) => () =>
          client.batchCheckAndEscalate(request);
        const many = Array.from({ length: 1001 }, (_, i) => `${i}`);
        const rows: readonly [what: string, () => Promise<unknown>, Expected, ...string[]][] = [
          ["to get nothing", get({}), INVALID_FIELD, "subject"],
          ["to get a cycle of nothing", get({ cycle: 1 }), INVALID_FIELD, "subject"],
          ["to get a malformed id", get({ id: "42" }), INVALID_FIELD, "id"],
          [
            "to get a subject over 256",
            get({ subject: "x".repeat(257) }),
            INVALID_FIELD,
            "subject",
          ],
          ["to get an id and a subject", get({ id: nobody, ...KNOWN }), INVALID_FIELD, "id"],
          ["to get an id and a cycle", get({ id: nobody, cycle: 1 }), INVALID_FIELD, "id"],
          ["to get an unknown id", get({ id: nobody }), NOT_FOUND],
          ["to get an unknown subject", get({ subject: "?" }), NOT_FOUND],
          ["to get an unknown cycle", get({ ...KNOWN, cycle: 3 }), NOT_FOUND],
          ["to get the last cycle of all", get({ ...KNOWN, cycle: 2 ** 32 - 1 }), NOT_FOUND],
          ["to certify nothing", certify({}), INVALID_FIELD, "subject"],
          ["to certify a malformed id", certify({ id: "g".repeat(64) }), INVALID_FIELD, "id"],
          [
            "to certify an id and a subject",
            certify({ id: nobody, ...KNOWN }),
            INVALID_FIELD,
            "id",
          ],
          ["to certify an unknown id", certify({ id: nobody }), NOT_FOUND],
          ["to certify an unknown cycle", certify({ ...KNOWN, cycle: 3 }), NOT_FOUND],
          [
            "to list a subject over 256",
            list({ subject: "x".repeat(257) }),
            INVALID_FIELD,
            "subject",
          ],
          ["to list an unknown state", list({ state: 9 as SLAState }), INVALID_FIELD, "state"],
          ["an unknown order", list({ order: 9 as SLAOrder }), INVALID_FIELD, "order"],
          ["to list level 9", list({ minLevel: 9 }), INVALID_FIELD, "min_level"],
          ["a negative page size", list({ pageSize: -1 }), INVALID_FIELD, "page_size"],
          ["a page token that is none", list({ pageToken: "next" }), BAD_TOKEN],
          ["to check nothing", check({}), INVALID_FIELD, "subject"],
          ["to check a line feed", check({ subject: "a\n" }), INVALID_FIELD, "subject"],
          ["to check an unknown subject", check({ subject: "?" }), NOT_FOUND],
          [
            "to check an empty subject",
            checkAll({ subjects: ["a", ""] }),
            INVALID_FIELD,
            "subjects[1]",
          ],
          ["to check over 1000", checkAll({ subjects: many }), INVALID_FIELD, "subjects"],
          ["a negative limit", checkAll({ limit: -1 }), INVALID_FIELD, "limit"],
        ];
        for (const [what, call, expected, ...fields] of rows) {
          it(what, () => expectRefused(call, expected, ...fields));
        }

        it("a page token with another filter or order", async () => {
          const request = { ...KNOWN, pageSize: 1 };
          const { nextPageToken: pageToken } = await client.listSLAs(request);
          expect(pageToken).not.to.equal("");
          for (const other of [
            { pageToken },
            { ...request, order: SLAOrder.SLA_ORDER_DEADLINE, pageToken },
            { ...request, breached: false, pageToken },
            { ...request, dueBefore: { seconds: 1n }, pageToken },
          ]) {
            await expectRefused(list(other), BAD_TOKEN);
          }
          const rest = await client.listSLAs({ ...request, pageSize: 7, pageToken });
          expect(rest.slas.map(({ cycle }) => cycle)).to.deep.equal([1]);
        });
      });

      it("is answered with what may be, at the limits", async () => {
        const subject = `${door.name}/`.padEnd(256, "x");
        const ladder = Array.from({ length: 8 }, (_, i) => ({
          seconds: (CENTURY * BigInt(i)) / 7n,
        }));
        const sla = await setSla(client, {
          subject,
          actor: "x".repeat(256),
          requestId: `${door.name}`.padEnd(128, "x"),
          when: lasting(CENTURY),
          ladder,
          details: nested(31),
          waitFor: RecordState.ANCHORED,
        });
        expect(sla.ladder.map(({ seconds }) => seconds)).to.deep.equal(
          ladder.map(({ seconds }) => seconds),
        );
        const reason = "x".repeat(1024);
        const moved = await client.extendDeadline({
          subject,
          reason,
          when: by(CENTURY),
          waitFor: RecordState.ANCHORED,
        });
        expect(moved.sla?.changes.at(-1)).to.include({ reason, failure: "" });
      });
    });
  }

  it("is told of malformed JSON and of durations that no JSON can say", async () => {
    const post = (body: string) =>
      fetch(`${daemon.url}/${SLAService.typeName}/SetDeadline`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
      });
    for (const span of ['"1 day"', '"-"', "86400", '"315576000001s"']) {
      const answer = await post(`{"subject":"a","within":${span}}`);
      expect(answer.status, span).to.equal(400);
      expect(await answer.text(), span).to.include('"invalid_argument"');
    }
    const client = slaClient(GRPC_DOOR, daemon);
    const call = () => client.setDeadline({ subject: "a", when: lasting(5n, -1) });
    await expectRefused(call, INVALID_FIELD, "within");
  });
});
