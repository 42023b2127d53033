import { create } from "@bufbuild/protobuf";
import type {
  DescEnum,
  DescField,
  DescMessage,
  Message,
  MessageInitShape,
} from "@bufbuild/protobuf";
import { ScalarType } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { expect } from "chai";
import fc from "fast-check";
import type { Arbitrary } from "fast-check";
import {
  AuditService,
  CountRecordsRequestSchema,
  GetBatchRequestSchema,
  GetRecordRequestSchema,
  GetTrailRequestSchema,
  ListRecordsRequestSchema,
  RecordEventRequestSchema,
  RecordEventsRequestSchema,
} from "../../gen/ts/anchord/v1/audit_service_pb.js";
import {
  AnchorEvidenceRequestSchema,
  EvidenceService,
  UploadEvidenceRequestSchema,
} from "../../gen/ts/anchord/v1/evidence_service_pb.js";
import { RecordState, Side, ThreatScale } from "../../gen/ts/anchord/v1/record_pb.js";
import {
  BatchCheckAndEscalateRequestSchema,
  SetDeadlineRequestSchema,
  SLAService,
} from "../../gen/ts/anchord/v1/sla_service_pb.js";
import { surelyValid, violationsOf } from "../../src/api/validate.js";

/** Lengths on both sides of every limit in the proto files. */
const LENGTHS = [
  0, 1, 2, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 513, 4095, 4096, 4097,
];
const CHARACTERS = [
  "a",
  "A",
  "_",
  "0",
  "-",
  ".",
  " ",
  "é",
  "\u{1f600}",
  "\0",
  "\n",
  "\u001f",
  "\u007f",
  "\ud800",
  "\udc00",
];

/** Text that is mostly of one character, which is mostly a harmless one. */
const oddText: Arbitrary<string> = fc
  .tuple(
    fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom("a", "A", "0") },
      fc.constantFrom(...CHARACTERS),
    ),
    fc.constantFrom(...LENGTHS),
    fc.option(fc.constantFrom(...CHARACTERS), { freq: 2 }),
    fc.boolean(),
  )
  .map(([character, length, odd, first]) => {
    const rest = character.repeat(Math.max(0, length - (odd === null ? 0 : 1)));
    return first ? (odd ?? "") + rest : rest + (odd ?? "");
  });

/** Every other text and time is a good one, so that whole messages are. */
const text = fc.oneof(fc.constantFrom("a", "A", "user/42"), oddText);

const recordId = fc.constantFrom(
  "0".repeat(64),
  "f".repeat(64),
  "F".repeat(64),
  "0".repeat(63),
  `${"0".repeat(64)}\n`,
);

/** Fields whose text must have a form of its own. */
const texts: Readonly<Record<string, Arbitrary<string>>> = {
  record_id: recordId,
  id: recordId,
  sha256: recordId,
  derived_from: fc.oneof(fc.constant(""), recordId),
  file_name: fc.oneof(fc.constantFrom(".", "..", "a/b", "a\\b", "..."), text),
  media_type: fc.constantFrom(
    "",
    "text",
    "text/plain",
    "text/plain\n",
    "text/plain; charset=utf-8",
    'text/plain ;a="b c"',
    'a/b;c="\n"',
    `a/${"b".repeat(253)}`,
    `a/${"b".repeat(254)}`,
  ),
};

const double = fc.constantFrom(
  0,
  -0,
  1,
  1.5,
  100,
  100.00000000000001,
  -5e-324,
  NaN,
  Infinity,
  -Infinity,
  1e308,
);
const int32 = fc.constantFrom(0, 1, -1, 1000, 2 ** 31 - 1, -(2 ** 31));
const uint32 = fc.constantFrom(0, 1, 8, 9, 2 ** 32 - 1);
const uint64 = fc.constantFrom(0n, 1n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 64n - 1n);
const bytes = fc.constantFrom(0, 1, 31, 32, 33).map((length) => new Uint8Array(length));
const struct = fc.constantFrom<object>(
  {},
  { a: 1 },
  { a: NaN },
  { a: "\ud800" },
  { a: { b: [null] } },
);

const oddTime = fc.record({
  seconds: fc.constantFrom(
    0n,
    1n,
    -1n,
    7_258_118_399n,
    7_258_118_400n,
    253_402_300_799n,
    253_402_300_800n,
    -62_135_596_800n,
    -62_135_596_801n,
    2n ** 62n,
  ),
  nanos: fc.constantFrom(0, 1, -1, 999_999_999, 1_000_000_000, 2 ** 31 - 1),
});

const timestamp = fc.oneof(fc.constant({ seconds: 1_769_846_400n, nanos: 5 }), oddTime);

const oddDuration = fc.record({
  seconds: fc.constantFrom(
    0n,
    1n,
    -1n,
    3_155_760_000n,
    3_155_760_001n,
    315_576_000_000n,
    315_576_000_001n,
    -(2n ** 62n),
  ),
  nanos: fc.constantFrom(0, 1, -1, 999_999_999, 1_000_000_000, -(2 ** 31)),
});

const duration = fc.oneof(fc.constant({ seconds: 86_400n, nanos: 5 }), oddDuration);

function scalar(field: { readonly name: string; readonly scalar: ScalarType }): Arbitrary<unknown> {
  switch (field.scalar) {
    case ScalarType.STRING:
      return texts[field.name] ?? text;
    case ScalarType.DOUBLE:
      return double;
    case ScalarType.BOOL:
      return fc.boolean();
    case ScalarType.INT32:
      return int32;
    case ScalarType.UINT32:
      return uint32;
    case ScalarType.UINT64:
      return uint64;
    case ScalarType.BYTES:
      return bytes;
    default:
      throw new Error(`no values for ${field.name}`);
  }
}

function enumValue(desc: DescEnum): Arbitrary<number> {
  return fc.constantFrom(...desc.values.map(({ number }) => number), desc.values.length, -1);
}

/** Values of a field near the limits of its rules. */
function valueOf(field: DescField): Arbitrary<unknown> {
  switch (field.fieldKind) {
    case "scalar":
      return scalar(field);
    case "enum":
      return enumValue(field.enum);
    case "message":
      return messageOf(field.message);
    case "list": {
      if (field.listKind === "message") return fc.array(messageOf(field.message), { maxLength: 3 });
      if (field.listKind === "enum") return fc.array(enumValue(field.enum), { maxLength: 3 });
      return fc.array(scalar(field), { maxLength: 3 });
    }
    case "map":
      throw new Error(`no values for ${field.toString()}`);
  }
}

/** Messages of a type near the limits of its rules; each field is left out now and then. */
function messageOf(schema: DescMessage): Arbitrary<unknown> {
  if (schema.typeName === "google.protobuf.Timestamp") return timestamp;
  if (schema.typeName === "google.protobuf.Duration") return duration;
  if (schema.typeName === "google.protobuf.Struct") return struct;
  const members = schema.members.map((member): [string, Arbitrary<unknown>] => [
    member.localName,
    member.kind === "oneof"
      ? fc.oneof(
          { weight: 1, arbitrary: fc.constant({ case: undefined }) },
          ...member.fields.map((field) => ({
            weight: 2,
            arbitrary: valueOf(field).map((value) => ({ case: field.localName, value })),
          })),
        )
      : valueOf(member),
  ]);
  return fc
    .record(Object.fromEntries(members), { requiredKeys: [] })
    .map((fields) => create(schema, fields as never));
}

describe("validation", () => {
  const validator = createValidator();
  const seed = Date.now() % 2 ** 31;

  before(() => console.log(`      seed ${seed}`));

  const fast = (schema: DescMessage, message: Message) =>
    surelyValid(schema)(message as unknown as Record<string, unknown>);

  for (const method of [
    ...AuditService.methods,
    ...EvidenceService.methods,
    ...SLAService.methods,
  ]) {
    it(`takes no ${method.input.name} for surely valid that breaks a rule`, function () {
      this.timeout(60_000);
      let taken = 0;
      fc.assert(
        fc.property(messageOf(method.input), (message) => {
          if (!fast(method.input, message as Message)) return;
          taken += 1;
          expect(violationsOf(validator, method.input, message as Message)).to.deep.equal([]);
          expect(validator.validate(method.input, message as never).kind).to.equal("valid");
        }),
        { seed, numRuns: method.name.startsWith("RecordEvent") ? 20_000 : 2_000 },
      );
      expect(taken, "messages that took the fast path").to.be.above(0);
    });
  }

  it("names each value that no rule can express, by its path", () => {
    const message = create(SetDeadlineRequestSchema, {
      subject: "a",
      when: { case: "within", value: { seconds: 5n, nanos: -1 } },
      ladder: [{ seconds: 1n }, { seconds: 2n, nanos: 1_000_000_000 }],
    });
    const fieldsOf = (schema: DescMessage, value: Message) =>
      violationsOf(validator, schema, value).map(({ field }) => field);
    expect(fieldsOf(SetDeadlineRequestSchema, message)).to.deep.equal(["within", "ladder[1]"]);
    const subjects = ["a", "\ud800"];
    const batch = create(BatchCheckAndEscalateRequestSchema, { subjects });
    expect(fieldsOf(BatchCheckAndEscalateRequestSchema, batch)).to.deep.equal(["subjects[1]"]);
  });

  it("counts the events of a message on both sides of the limit", () => {
    const event = create(RecordEventRequestSchema, {
      subject: "a",
      body: { case: "login", value: { user: "a" } },
    });
    for (const [count, valid] of [
      [0, false],
      [1, true],
      [10_000, true],
      [10_001, false],
    ] as const) {
      const message = create(RecordEventsRequestSchema);
      message.events = Array.from({ length: count }, () => event);
      expect(fast(RecordEventsRequestSchema, message), String(count)).to.equal(valid);
    }
  });

  describe("is quick for", () => {
    type Event = MessageInitShape<typeof RecordEventRequestSchema>;
    const occurTime = { seconds: 1_769_846_400n, nanos: 123_456_789 };
    const common = {
      subject: "user/42",
      actor: "Zoë",
      requestId: "r-1",
      occurTime,
      waitFor: RecordState.FINAL,
    };
    const details = { ip: "::1", tries: 3 };
    const bodies: readonly NonNullable<Event["body"]>[] = [
      {
        case: "threat",
        value: { score: 92.5, durationMinutes: 18.7, scale: ThreatScale.HUNDRED, details },
      },
      {
        case: "trade",
        value: {
          tradeId: "t",
          symbol: "BTC/USDT",
          side: Side.BUY,
          quantity: 1,
          price: -37.6,
          details,
        },
      },
      {
        case: "order",
        value: {
          orderId: "o",
          symbol: "BTC/USDT",
          quantity: 1,
          price: 5,
          status: "filled",
          details,
        },
      },
      { case: "systemChange", value: { component: "engine", changeType: "deploy", details } },
      {
        case: "login",
        value: { user: "ada", success: true, source: "::1", method: "password", details },
      },
      { case: "configChange", value: { key: "limit", oldValue: "1", newValue: "2", details } },
      {
        case: "complaint",
        value: { eventType: "STATUS_UPDATED", assignee: "bob", status: "open", details },
      },
      { case: "custom", value: { type: "door.opened", data: details } },
    ];
    const typical: readonly [string, DescMessage, Message][] = [
      ...bodies.map((body): [string, DescMessage, Message] => [
        `a ${body.case} event`,
        RecordEventRequestSchema,
        create(RecordEventRequestSchema, { ...common, body }),
      ]),
      [
        "a message of events",
        RecordEventsRequestSchema,
        create(RecordEventsRequestSchema, {
          events: bodies.map((body) => ({ subject: "user/42", body })),
        }),
      ],
      [
        "a record id",
        GetRecordRequestSchema,
        create(GetRecordRequestSchema, { recordId: "0a".repeat(32) }),
      ],
      [
        "a trail",
        GetTrailRequestSchema,
        create(GetTrailRequestSchema, { subject: "user/42", pageSize: 50 }),
      ],
      ["everything", ListRecordsRequestSchema, create(ListRecordsRequestSchema)],
      [
        "a filter",
        ListRecordsRequestSchema,
        create(ListRecordsRequestSchema, {
          filter: { subject: "user/42", type: "threat", startTime: occurTime, endTime: occurTime },
        }),
      ],
      [
        "a count",
        CountRecordsRequestSchema,
        create(CountRecordsRequestSchema, { filter: { actor: "a" } }),
      ],
      [
        "a hash of evidence",
        AnchorEvidenceRequestSchema,
        create(AnchorEvidenceRequestSchema, {
          ...common,
          fileName: "photo.jpg",
          mediaType: "image/jpeg",
          sha256: "0a".repeat(32),
          size: 5n,
          details,
        }),
      ],
      [
        "the metadata of an upload",
        UploadEvidenceRequestSchema,
        create(UploadEvidenceRequestSchema, {
          part: { case: "metadata", value: { ...common, fileName: "photo.jpg", details } },
        }),
      ],
      [
        "a chunk of an upload",
        UploadEvidenceRequestSchema,
        create(UploadEvidenceRequestSchema, {
          part: { case: "chunk", value: new Uint8Array(262_144) },
        }),
      ],
      [
        "a deadline",
        SetDeadlineRequestSchema,
        create(SetDeadlineRequestSchema, {
          ...common,
          when: { case: "within", value: { seconds: 172_800n } },
          ladder: [{ seconds: 0n }, { seconds: 86_400n }],
          details,
        }),
      ],
      [
        "subjects to check",
        BatchCheckAndEscalateRequestSchema,
        create(BatchCheckAndEscalateRequestSchema, {
          subjects: ["complaint/1", "complaint/2"],
          limit: 5,
        }),
      ],
      [
        "a root",
        GetBatchRequestSchema,
        create(GetBatchRequestSchema, { batch: { case: "root", value: new Uint8Array(32) } }),
      ],
    ];
    for (const [what, schema, message] of typical) {
      it(what, () => expect(fast(schema, message)).to.equal(true));
    }
  });
});
