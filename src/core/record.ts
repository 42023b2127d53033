import { randomBytes } from "node:crypto";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescField, JsonObject, JsonValue } from "@bufbuild/protobuf";
import { StructSchema, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import canonicalize from "canonicalize";
import { EntrySchema } from "../../gen/ts/anchord/v1/receipt_pb.js";
import type { Entry } from "../../gen/ts/anchord/v1/receipt_pb.js";
import { ThreatScale, ThreatSeverity } from "../../gen/ts/anchord/v1/record_pb.js";
import { sameBytes, sha256 } from "./bytes.js";
import { invalidFields } from "./errors.js";

/** A record's body, as the API and the entry share it; never absent. */
export type Body = Exclude<Entry["body"], { case: undefined }>;

/** The scales that a score can be on. */
export type Scale = ThreatScale.HUNDRED | ThreatScale.UNIT;

/** A fact as a caller hands it over, already valid by the rules of the proto files. */
export interface RecordDraft {
  /** The credential that records it. */
  readonly caller: string;
  readonly subject: string;
  readonly actor: string;
  /** When it happened; undefined means at acceptance. */
  readonly occurTime: Timestamp | undefined;
  readonly body: Body;
  /** The caller's idempotency key with the hash of the request. */
  readonly request: { readonly id: string; readonly hash: Uint8Array } | undefined;
}

/** A fact encoded for good: its entry, and what the store needs to find it. */
export interface EncodedRecord {
  /** SHA-256 of the entry. */
  readonly id: Uint8Array;
  readonly entry: Uint8Array;
  readonly caller: string;
  readonly request: RecordDraft["request"];
  readonly columns: RecordColumns;
}

/** What of an entry the store can search. Derived from the entry alone. */
export interface RecordColumns {
  readonly subject: string;
  readonly type: string;
  readonly actor: string;
  /** Microseconds since 1970, rounded down. */
  readonly occurTime: number;
}

/** The built-in record types, by the name of their body's field. */
const TYPE_NAMES = {
  threat: "threat",
  trade: "trade",
  order: "order",
  systemChange: "system_change",
  login: "login",
  configChange: "config_change",
  complaint: "complaint",
  evidenceAdded: "evidence_added",
  evidenceChecked: "evidence_checked",
  deadlineSet: "deadline_set",
  deadlineExtended: "deadline_extended",
  deadlinePaused: "deadline_paused",
  deadlineResumed: "deadline_resumed",
  deadlineMet: "deadline_met",
  levelRaised: "level_raised",
  deadlineRefused: "deadline_refused",
} as const satisfies Record<Exclude<Body["case"], "custom">, string>;

const BUILT_IN: ReadonlySet<string> = new Set([...Object.values(TYPE_NAMES), "custom"]);

/** The bodies that have no free part. */
const WITHOUT_DETAILS: ReadonlySet<string> = new Set(
  EntrySchema.fields
    .filter(({ oneof, message }) => oneof && !message?.fields.some(isFreePart))
    .map(({ localName }) => localName),
);

const NO_BYTES = new Uint8Array();

/** Bounds of a body's free part. */
const MAX_DETAILS_BYTES = 64 * 1024;
const MAX_DETAILS_DEPTH = 32;

/** Encodes a draft: fills what the server derives, and adds the salt. Throws INVALID_FIELD. */
export function encodeRecord(
  draft: RecordDraft,
  options: {
    /** The scale of threats that do not name theirs. Default: 0 to 100. */
    readonly scale?: Scale;
    readonly now?: Date;
    readonly salt?: Uint8Array;
  } = {},
): EncodedRecord {
  const acceptTime = timestampFromMs((options.now ?? new Date()).getTime());
  const occurTime = draft.occurTime ?? acceptTime;
  const { body, details } = detach(deriveBody(draft.body, options.scale ?? ThreatScale.HUNDRED));
  const entry = toBinary(EntrySchema, {
    $typeName: EntrySchema.typeName,
    salt: options.salt ?? salt(),
    acceptTime,
    caller: draft.caller,
    requestId: draft.request?.id ?? "",
    requestHash: draft.request?.hash ?? NO_BYTES,
    subject: draft.subject,
    actor: draft.actor,
    occurTime,
    details,
    body,
  });
  return {
    id: sha256(entry),
    entry,
    caller: draft.caller,
    request: draft.request,
    columns: {
      subject: draft.subject,
      type: typeOf(body),
      actor: draft.actor,
      occurTime: micros(occurTime),
    },
  };
}

/** Refuses a body whose free part JSON cannot say, or that nests too deep. Throws INVALID_FIELD. */
export function requireJsonBody(body: Body): void {
  const { path, struct } = freePart(body);
  if (struct !== undefined) requireSayable(struct, path);
}

/** Refuses details that a record cannot keep, by the path of their field. Throws INVALID_FIELD. */
export function requireDetails(details: JsonObject | undefined, field: string): void {
  if (details !== undefined) detailsText(details, field);
}

/** The columns that an entry calls for. */
export function columnsOf(entry: Entry): RecordColumns {
  return {
    subject: entry.subject,
    type: typeOf(entry.body as Body),
    actor: entry.actor,
    occurTime: micros(entry.occurTime as Timestamp),
  };
}

/**
 * Decodes an entry and insists on canonical form, so that no two decoders can read different facts
 * out of the same bytes. Throws an Error that says what is not canonical.
 */
export function decodeEntry(bytes: Uint8Array): Entry {
  const entry = fromBinary(EntrySchema, bytes, { readUnknownFields: false });
  if (!sameBytes(toBinary(EntrySchema, entry), bytes)) throw new Error("encoding is not canonical");
  if (entry.salt.length !== 16) throw new Error("salt is not 16 bytes");
  if (!entry.acceptTime || !entry.occurTime) throw new Error("a time is missing");
  if (entry.requestHash.length !== (entry.requestId === "" ? 0 : 32)) {
    throw new Error("request_id and request_hash do not go together");
  }
  if (entry.body.case === undefined) throw new Error("body is missing");
  const values: unknown[] = Object.values(entry.body.value);
  if (values.some((value) => typeof value === "number" && !Number.isFinite(value))) {
    throw new Error("a number is not finite");
  }
  if (detach(entry.body).details !== "") throw new Error("the body has details of its own");
  if (entry.details !== "" && !isCanonicalObject(entry.details)) {
    throw new Error("details are not a canonical JSON object");
  }
  if (entry.details !== "" && WITHOUT_DETAILS.has(entry.body.case)) {
    throw new Error(`the type "${typeOf(entry.body)}" has no details`);
  }
  return entry;
}

/** The body of an entry as callers know it, its details back in place. */
export function bodyOf(entry: Entry): Body {
  const body = entry.body as Body;
  if (entry.details === "") return body;
  const struct = JSON.parse(entry.details) as JsonObject;
  return body.case === "custom"
    ? { case: "custom", value: { ...body.value, data: struct } }
    : ({ case: body.case, value: { ...body.value, details: struct } } as Body);
}

/** Microseconds since 1970, rounded down. */
export function micros(time: Timestamp): number {
  return Number(time.seconds) * 1_000_000 + Math.floor(time.nanos / 1000);
}

/** SHA-256 of a JSON value's RFC 8785 form. */
export function canonicalHash(value: JsonValue): Buffer {
  return sha256(Buffer.from(canonicalize(value) as string, "utf8"));
}

/** How grave a score is: ≥ 80 % critical, ≥ 60 % high, ≥ 40 % medium. */
export function severityOf(score: number, scale: Scale): Exclude<ThreatSeverity, 0> {
  const full = scale === ThreatScale.UNIT ? 1 : 100;
  if (score >= 0.8 * full) return ThreatSeverity.CRITICAL;
  if (score >= 0.6 * full) return ThreatSeverity.HIGH;
  if (score >= 0.4 * full) return ThreatSeverity.MEDIUM;
  return ThreatSeverity.LOW;
}

/** The record type of a body. */
export function typeOf(body: Body): string {
  return body.case === "custom" ? body.value.type : TYPE_NAMES[body.case];
}

/** Fills what follows from the rest, and refuses what a single field's rule cannot express. */
function deriveBody(body: Body, defaultScale: Scale): Body {
  if (body.case === "custom" && BUILT_IN.has(body.value.type)) {
    throw invalidFields([
      {
        field: "custom.type",
        description: `"${body.value.type}" is a built-in type; use its own body`,
      },
    ]);
  }
  if (body.case !== "threat") return body;
  const scale = body.value.scale === ThreatScale.UNSPECIFIED ? defaultScale : body.value.scale;
  if (scale === ThreatScale.UNIT && body.value.score > 1) {
    throw invalidFields([
      {
        field: "threat.score",
        description: "must be at most 1 on the unit scale; set threat.scale if it is on 0 to 100",
      },
    ]);
  }
  const severity = severityOf(body.value.score, scale);
  return { case: "threat", value: { ...body.value, scale, severity } };
}

/** Takes the free part out of a body, as RFC 8785 JSON; empty where it has none. */
function detach(body: Body): { body: Body; details: string } {
  const { name, path, struct } = freePart(body);
  if (struct === undefined) return { body, details: "" };
  const { [name as never]: _, ...rest } = body.value;
  return {
    body: { case: body.case, value: rest } as Body,
    details: detailsText(struct, path),
  };
}

/** The free part of a body: the name of its field, its path in a request, and what it has. */
function freePart(body: Body) {
  const name = body.case === "custom" ? "data" : "details";
  const struct = body.case === "custom" ? body.value.data : detailsOf(body.value);
  return { name, path: `${protoName(body.case)}.${name}`, struct };
}

function isFreePart({ message }: DescField): boolean {
  return message?.typeName === StructSchema.typeName;
}

function detailsOf(value: Exclude<Body, { case: "custom" }>["value"]): JsonObject | undefined {
  return "details" in value ? value.details : undefined;
}

function protoName(name: Body["case"]): string {
  return name === "custom" ? name : TYPE_NAMES[name];
}

/** The free part as RFC 8785 JSON, or a refusal of what JSON cannot say or we do not keep. */
function detailsText(struct: JsonObject, field: string): string {
  requireSayable(struct, field);
  const text = canonicalize(struct) as string;
  if (Buffer.byteLength(text) > MAX_DETAILS_BYTES) {
    throw invalidFields([
      { field, description: `must be at most ${MAX_DETAILS_BYTES} bytes as JSON` },
    ]);
  }
  return text;
}

function requireSayable(struct: JsonObject, field: string): void {
  const description = problemOf(struct, MAX_DETAILS_DEPTH);
  if (description !== undefined) throw invalidFields([{ field, description }]);
}

/** What is wrong with a JSON value, its nesting counted no further than one over the limit. */
function problemOf(value: JsonValue | undefined, limit: number): string | undefined {
  if (typeof value === "number" && !Number.isFinite(value)) return "numbers must be finite";
  if (typeof value === "string" && !value.isWellFormed()) {
    return "must not have unpaired surrogates";
  }
  if (typeof value !== "object" || value === null) return undefined;
  if (limit === 0) return `must nest at most ${MAX_DETAILS_DEPTH} levels deep`;
  for (const [key, inner] of Object.entries(value)) {
    const problem = problemOf(key, limit) ?? problemOf(inner, limit - 1);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function isCanonicalObject(text: string): boolean {
  try {
    const value = JSON.parse(text) as JsonValue;
    return (
      typeof value === "object" &&
      value !== null &&
      !Array.isArray(value) &&
      problemOf(value, MAX_DETAILS_DEPTH) === undefined &&
      canonicalize(value) === text
    );
  } catch {
    return false;
  }
}

/** Sixteen random bytes, cut from a block: one system call for 256 records. */
let pool = Buffer.alloc(0);
function salt(): Uint8Array {
  if (pool.length < 16) pool = randomBytes(4096);
  const bytes = pool.subarray(0, 16);
  pool = pool.subarray(16);
  return bytes;
}
