import { create, fromBinary, toBinary, toJson } from "@bufbuild/protobuf";
import { expect } from "chai";
import { SubscribeEventsResponseSchema } from "../../gen/ts/anchord/v1/event_service_pb.js";
import {
  ContentState,
  DeadlineExtendedSchema,
  DeadlineMetSchema,
  DeadlinePausedSchema,
  DeadlineRefusedSchema,
  DeadlineResumedSchema,
  DeadlineSetSchema,
  EvidenceAddedSchema,
  EvidenceCheckedSchema,
  LevelRaisedSchema,
  RecordSchema,
  RecordState,
} from "../../gen/ts/anchord/v1/record_pb.js";
import { recordOf } from "../../src/api/convert.js";
import { encodeAnswer } from "../../src/api/events/encode.js";
import { hex, ZERO32 } from "../../src/core/bytes.js";
import { encodeRecord } from "../../src/core/record.js";
import type { Body } from "../../src/core/record.js";
import { Level } from "../../src/store/feed.js";
import type { RecordRow } from "../../src/store/records.js";
import type { BatchTelling } from "../../src/stream/chunk.js";

const FILE = { sha256: "ab".repeat(32), cid: "bafkrei" };

function added(size: bigint | undefined): Body {
  return {
    case: "evidenceAdded",
    value: create(EvidenceAddedSchema, {
      ...FILE,
      ...(size === undefined ? {} : { size }),
      fileName: "scän.pdf",
      contentKept: true,
      details: { pages: 12 },
    }),
  };
}

const CHECKED: Body = {
  case: "evidenceChecked",
  value: create(EvidenceCheckedSchema, {
    ...FILE,
    evidenceId: "cd".repeat(32),
    state: ContentState.ALTERED,
    previousState: ContentState.INTACT,
    size: 2n ** 63n,
  }),
};

/** A time in whole seconds, and how JSON says it. */
const NOON = { seconds: 1_769_860_800n, nanos: 0 };
const NOON_JSON = "2026-01-31T12:00:00Z";
const CAUSE = "ef".repeat(32);

/** Bodies of deadlines, with their JSON. */
const DEADLINES: readonly (readonly [string, Body, object])[] = [
  [
    "a deadline that was set",
    {
      case: "deadlineSet",
      value: create(DeadlineSetSchema, {
        deadline: NOON,
        ladder: [{ seconds: 0n }, { seconds: 2n ** 31n }],
        cause: CAUSE,
        details: { priority: 1 },
      }),
    },
    {
      deadlineSet: {
        deadline: NOON_JSON,
        ladder: ["0s", "2147483648s"],
        cause: CAUSE,
        details: { priority: 1 },
      },
    },
  ],
  [
    "a deadline that was moved",
    {
      case: "deadlineExtended",
      value: create(DeadlineExtendedSchema, { deadline: NOON, reason: "ill" }),
    },
    { deadlineExtended: { deadline: NOON_JSON, reason: "ill" } },
  ],
  [
    "a deadline that was paused",
    { case: "deadlinePaused", value: create(DeadlinePausedSchema, { reason: "their turn" }) },
    { deadlinePaused: { reason: "their turn" } },
  ],
  [
    "a deadline that goes on, without a reason",
    { case: "deadlineResumed", value: create(DeadlineResumedSchema) },
    { deadlineResumed: {} },
  ],
  [
    "a deadline that was met",
    { case: "deadlineMet", value: create(DeadlineMetSchema, { cause: CAUSE }) },
    { deadlineMet: { cause: CAUSE } },
  ],
  [
    "a level that was raised",
    {
      case: "levelRaised",
      value: create(LevelRaisedSchema, {
        cycle: 2,
        level: 8,
        dueTime: NOON,
        raiseTime: { ...NOON, seconds: NOON.seconds + 1n },
      }),
    },
    {
      levelRaised: {
        cycle: 2,
        level: 8,
        dueTime: NOON_JSON,
        raiseTime: "2026-01-31T12:00:01Z",
      },
    },
  ],
  [
    "a change that was refused",
    {
      case: "deadlineRefused",
      value: create(DeadlineRefusedSchema, { recordId: CAUSE, reason: "AlreadyMet(1)" }),
    },
    { deadlineRefused: { recordId: CAUSE, reason: "AlreadyMet(1)" } },
  ],
];

/** Bodies that only the service makes, with their JSON. */
const BODIES: readonly (readonly [string, Body, object])[] = [
  [
    "evidence",
    added(5n * 2n ** 30n),
    {
      evidenceAdded: {
        ...FILE,
        size: "5368709120",
        fileName: "scän.pdf",
        contentKept: true,
        details: { pages: 12 },
      },
    },
  ],
  [
    "evidence of an empty file",
    added(0n),
    {
      evidenceAdded: {
        ...FILE,
        size: "0",
        fileName: "scän.pdf",
        contentKept: true,
        details: { pages: 12 },
      },
    },
  ],
  [
    "evidence of unknown size",
    added(undefined),
    {
      evidenceAdded: { ...FILE, fileName: "scän.pdf", contentKept: true, details: { pages: 12 } },
    },
  ],
  [
    "a file in another state",
    CHECKED,
    {
      evidenceChecked: {
        ...FILE,
        evidenceId: "cd".repeat(32),
        state: "CONTENT_STATE_ALTERED",
        previousState: "CONTENT_STATE_INTACT",
        size: "9223372036854775808",
      },
    },
  ],
  ...DEADLINES,
];

function rowOf(body: Body): RecordRow {
  const { id, entry, columns } = encodeRecord({
    caller: "service",
    subject: "case/7",
    actor: "",
    occurTime: undefined,
    request: undefined,
    body,
  });
  return { seq: 6, id, entry, trailIndex: 0, leaf: ZERO32, ...columns };
}

/** What is told of a record when its batch is sealed. */
function tellingOf(record: RecordRow): BatchTelling {
  const anchor = { transactionHash: ZERO32, blockNumber: 7, blockHash: ZERO32, blockTime: 0 };
  const seal = { number: 1n, root: ZERO32, size: 1n, manifestDigest: ZERO32 };
  return {
    kind: "RECORD_ANCHORED",
    row: {
      number: 1,
      kind: "SEALED",
      level: Level.Provisional,
      occurrence: 0,
      batchNumber: 1,
      createTime: 0,
      anchor,
    } as unknown as BatchTelling["row"],
    finality: Level.Provisional,
    state: "ANCHORED",
    batch: {
      seal: { ...seal, trailsRoot: ZERO32, nonce: 0n },
      previousHead: ZERO32,
      head: ZERO32,
      firstSeq: 6,
      createTime: 0,
      anchor: { ...anchor, gasUsed: 1 },
    },
    record,
  };
}

describe("records that the service makes, as callers see them", () => {
  for (const [what, body, json] of BODIES) {
    it(`give out ${what} as it was recorded`, () => {
      const row = rowOf(body);
      const record = create(RecordSchema, recordOf(row, undefined, RecordState.ACCEPTED));
      expect(record.body).to.deep.equal(body);
      expect(fromBinary(RecordSchema, toBinary(RecordSchema, record)).body).to.deep.equal(body);
      expect(toJson(RecordSchema, record)).to.deep.include({ ...json, id: hex(row.id) });
    });

    it(`tell ${what} in an event`, () => {
      const bytes = encodeAnswer([tellingOf(rowOf(body))], "cursor", "epoch");
      const { events } = fromBinary(SubscribeEventsResponseSchema, bytes);
      const payload = events[0]?.payload;
      expect(payload?.case === "record" && payload.value.body).to.deep.equal(body);
    });
  }
});
