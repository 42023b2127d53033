import { create, fromJson } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import { utils } from "web3";
import { RecordFilterSchema } from "../../../gen/ts/anchord/v1/audit_service_pb.js";
import type { AuditService } from "../../../gen/ts/anchord/v1/audit_service_pb.js";
import { RecordState } from "../../../gen/ts/anchord/v1/record_pb.js";
import type { Record as RecordMessage } from "../../../gen/ts/anchord/v1/record_pb.js";
import { isDay, isoSeconds } from "../../core/calendar.js";
import { hex } from "../../core/bytes.js";
import { canonicalHash } from "../../core/record.js";
import { callOptions, RestError } from "./router.js";
import type { RestAnswer, RestRequest, Route } from "./router.js";

/**
 * The threat bridge that Python backends post to (docs/threat-bridge.md): a client of RecordEvent that
 * waits for ANCHORED. Its callers give up after 5 s and take anything but 200 as "not logged".
 */

const TIMEOUT_MS = 4_500;
const SUBJECT = "user/";
const MISSING = "Missing required fields: user_id, threat_score, duration_minutes, timestamp";
const NOT_NUMBERS = "threat_score and duration_minutes must be numbers";
const NOT_YET =
  "The threat is stored and will be sealed, but it is not on the blockchain yet; posting it again is safe";

/** A threat as it is posted, checked. */
interface PostedThreat {
  readonly userId: string;
  readonly score: number;
  readonly durationMinutes: number;
  /** As posted: part of what makes two posts the same. */
  readonly timestamp: string;
  readonly occurTime: Timestamp;
}

/** The bridge's routes, as a client of the audit service. */
export function threatBridge(audit: Client<typeof AuditService>): Route[] {
  return [
    { method: "POST", path: "/log-threat", handle: (request) => logThreat(audit, request) },
    { method: "GET", path: "/threat-count", handle: (request) => threatCount(audit, request) },
    { method: "GET", path: "/threat/:id", handle: (request) => threat(audit, request) },
  ];
}

async function logThreat(
  audit: Client<typeof AuditService>,
  request: RestRequest,
): Promise<RestAnswer> {
  const posted = parseThreat(await request.json());
  const { userId, score, durationMinutes, occurTime } = posted;
  const { recordId, receipt } = await audit.recordEvent(
    {
      subject: SUBJECT + userId,
      occurTime,
      requestId: requestIdOf(posted),
      waitFor: RecordState.ANCHORED,
      body: { case: "threat", value: { score, durationMinutes } },
    },
    { ...callOptions(request), timeoutMs: TIMEOUT_MS },
  );
  const threatId = `0x${recordId}`;
  if (receipt?.anchor === undefined) {
    return { status: 503, body: { success: false, error: NOT_YET, threatId } };
  }
  return {
    status: 200,
    body: {
      success: true,
      message: "Threat logged to blockchain successfully",
      txHash: receipt.anchor.transactionHash,
      userHashId: userHashId(userId),
      threatId,
    },
  };
}

async function threatCount(
  audit: Client<typeof AuditService>,
  request: RestRequest,
): Promise<RestAnswer> {
  const count = async (state: RecordState) => {
    const filter = create(RecordFilterSchema, { type: "threat", state });
    return (await audit.countRecords({ filter }, callOptions(request))).count;
  };
  const all = await count(RecordState.UNSPECIFIED);
  const waiting = await count(RecordState.ACCEPTED);
  return { status: 200, body: { success: true, count: String(all - waiting) } };
}

async function threat(
  audit: Client<typeof AuditService>,
  request: RestRequest,
): Promise<RestAnswer> {
  const recordId = request.parameter.toLowerCase().replace(/^0x/, "");
  if (!/^[0-9a-f]{64}$/.test(recordId)) {
    throw new RestError(400, "the threat id must be 64 hex digits, with or without 0x");
  }
  const { record } = await audit.getRecord({ recordId }, callOptions(request));
  if (record?.body.case !== "threat") throw new RestError(404, "Threat not found");
  return { status: 200, body: { success: true, data: threatData(record) } };
}

function threatData(record: RecordMessage) {
  const { id, subject, occurTime, state, anchor, body } = record;
  const severity = body.case === "threat" ? body.value.severity - 1 : 0;
  return {
    threatId: `0x${id}`,
    threatHash: `0x${id}`,
    userHashId: userHashId(subject.slice(SUBJECT.length)),
    timestamp: isoSeconds(occurTime?.seconds ?? 0n),
    severity,
    severityName: ["LOW", "MEDIUM", "HIGH", "CRITICAL"][severity],
    state: RecordState[state],
    blockNumber: anchor === undefined ? null : Number(anchor.blockNumber),
    txHash: anchor?.transactionHash ?? null,
  };
}

/** Reads a posted threat, under the newer or the older names of its fields. */
function parseThreat(body: unknown): PostedThreat {
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new RestError(400, "the body must be a JSON object");
  }
  const fields = body as Record<string, unknown>;
  const userId = fields["user_id"];
  const score = fields["threat_score"] ?? fields["hybrid_score"];
  const durationMinutes = fields["duration_minutes"] ?? fields["duration_mins"];
  const timestamp = fields["timestamp"];
  const all = [userId, score, durationMinutes, timestamp];
  if (all.some((field) => field === undefined || field === null || field === "")) {
    throw new RestError(400, MISSING);
  }
  // JSON may have a number that is too great for a double, and reads as Infinity.
  if (!isFiniteNumber(score) || !isFiniteNumber(durationMinutes)) {
    throw new RestError(400, NOT_NUMBERS);
  }
  if (typeof userId !== "string") throw new RestError(400, "user_id must be a string");
  if (!userId.isWellFormed()) throw new RestError(400, "user_id must not have unpaired surrogates");
  const occurTime = parseTime(timestamp);
  return { userId, score, durationMinutes, timestamp: String(timestamp), occurTime };
}

function isFiniteNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

function parseTime(timestamp: unknown): Timestamp {
  try {
    const time = fromJson(TimestampSchema, timestamp as string);
    if (isDay(String(timestamp).slice(0, 10))) return time;
  } catch {
    // as for a day that the calendar has not
  }
  throw new RestError(
    400,
    "timestamp must be ISO 8601 with seconds and a time zone, such as 2025-01-31T08:00:00Z",
  );
}

/** The same user, score, duration and timestamp are the same threat, however often it is posted. */
function requestIdOf({ userId, score, durationMinutes, timestamp }: PostedThreat): string {
  return `threat/${hex(canonicalHash([userId, score, durationMinutes, timestamp]))}`;
}

function userHashId(userId: string): string {
  return utils.keccak256(Buffer.from(userId, "utf8"));
}
