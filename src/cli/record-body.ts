import { create, fromJson, ScalarType } from "@bufbuild/protobuf";
import type { DescField, DescMessage, JsonObject, JsonValue } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { InvalidArgumentError } from "commander";
import { RecordEventRequestSchema } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import type { RecordEventRequest } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { messageOf } from "../core/errors.js";
import { requireExact } from "./exact-json.js";
import { parseTime } from "./time.js";

/** A fact as the command line was given it. */
export interface Fact {
  readonly body: RecordEventRequest["body"];
  readonly subject: string;
  readonly actor: string | undefined;
  readonly occurTime: Timestamp | undefined;
}

/** What of a fact an option says, so that its data need not. */
export interface Told {
  readonly subject?: string;
  readonly actor?: string;
  readonly time?: Timestamp;
}

/** Other names that the data of a type may have for a field. */
const ALIASES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  trade: { id: "trade_id", type: "order_type", execution_details: "details" },
  order: { id: "order_id", type: "order_type", execution_details: "details" },
};

/** The field that names what a record of a type is about, and what stands before it. */
const SUBJECTS: Readonly<Record<string, readonly [prefix: string, field: string]>> = {
  trade: ["trade", "trade_id"],
  order: ["order", "order_id"],
  system_change: ["system", "component"],
  login: ["user", "user"],
  config_change: ["config", "key"],
};

/** The types whose `user` is who did it. */
const BY_USER: ReadonlySet<string> = new Set(["system_change", "config_change"]);

/** Numbers that may be left out, since 0 then says what is meant. */
const MAY_BE_ABSENT: ReadonlySet<string> = new Set(["order.price"]);

/** Types that nobody records by their names, and what does it. */
const NOT_BY_NAME: Readonly<Record<string, string>> = {
  custom: "name the type itself, such as door.opened",
  evidence_added: "use anchord evidence upload",
  evidence_checked: "the service records it when it has checked a file",
  deadline_set: "use anchord sla set",
  deadline_extended: "call SLAService.ExtendDeadline",
  deadline_paused: "call SLAService.PauseDeadline",
  deadline_resumed: "call SLAService.ResumeDeadline",
  deadline_met: "use anchord sla meet",
  level_raised: "use anchord check-sla",
  deadline_refused: "the service records it when the chain has refused a change",
};

/**
 * The fact that data of a type stands for: fields by their names in the trading bot's plugin or in the proto
 * files, and all others as details. Throws InvalidArgumentError.
 */
export function factOf(type: string, data: JsonValue, told: Told = {}): Fact {
  const instead = Object.hasOwn(NOT_BY_NAME, type) ? NOT_BY_NAME[type] : undefined;
  if (instead !== undefined) throw invalid(`${type} cannot be recorded by --type: ${instead}`);
  if (!isObject(data)) throw invalid("the data must be a JSON object");
  const message = builtIn(type);
  if (message === undefined) return customOf(type, data, told);
  const rest = new Map(Object.entries(data));
  const fields = takeFields(type, message, rest);
  const actor = told.actor ?? (BY_USER.has(type) ? takeText(rest, "user") : undefined);
  const occurTime = told.time ?? takeTime(rest);
  const details = detailsOf(fields["details"] as JsonObject | undefined, rest);
  const json = { ...fields, ...(Object.keys(details).length > 0 && { details }) };
  requireNumbers(type, message, json);
  const subject = told.subject ?? subjectOf(type, json);
  return { body: bodyOf(type, json), subject, actor, occurTime };
}

/** A custom fact is kept as it is. */
function customOf(type: string, data: JsonObject, told: Told): Fact {
  const { subject = type, actor, time: occurTime } = told;
  return { body: bodyOf("custom", { type, data }), subject, actor, occurTime };
}

/** The body of a type that callers may record by its name. */
function builtIn(type: string): DescMessage | undefined {
  if (type === "custom") return undefined;
  return RecordEventRequestSchema.fields.find(({ oneof, name }) => oneof && name === type)?.message;
}

/** Takes the fields of a message from data, by their proto, JSON or other names. */
function takeFields(type: string, message: DescMessage, rest: Map<string, JsonValue>): JsonObject {
  const aliases = Object.entries(ALIASES[type] ?? {});
  const fields: JsonObject = {};
  for (const field of message.fields) {
    const others = aliases.filter(([, name]) => name === field.name).map(([alias]) => alias);
    const name = [field.name, field.jsonName, ...others].find((each) => rest.has(each));
    if (name === undefined) continue;
    const value = rest.get(name) ?? null;
    if (field.name === "details" && value !== null && !isObject(value)) continue; // then it is one of them
    rest.delete(name);
    if (value !== null) fields[field.name] = valueOf(field, value);
  }
  return fields;
}

/** A value as proto3 JSON has it: enums by their full names, and what is no text where text belongs as JSON. */
function valueOf(field: DescField, value: JsonValue): JsonValue {
  if (field.fieldKind === "enum" && typeof value === "string") {
    const found = field.enum.values.find(({ name, localName }) =>
      [name, localName].includes(value.toUpperCase()),
    );
    if (found !== undefined) return found.name;
    const words = field.enum.values.filter(({ number }) => number !== 0);
    const choices = words.map(({ localName }) => localName.toLowerCase()).join(", ");
    throw invalid(`${field.name} must be one of ${choices}, and is ${JSON.stringify(value)}`);
  }
  if (isNumber(field) && typeof value === "string" && Number.isFinite(Number(value))) {
    requireExact(value);
  }
  if (isText(field) && typeof value !== "string") return JSON.stringify(value);
  return value;
}

/** Details with what else the data has. */
function detailsOf(details: JsonObject = {}, rest: ReadonlyMap<string, JsonValue>): JsonObject {
  const twice = [...rest.keys()].find((name) => Object.hasOwn(details, name));
  if (twice !== undefined) throw invalid(`${twice} is there twice: in the data and in its details`);
  return Object.fromEntries([...Object.entries(details), ...rest]);
}

function takeText(rest: Map<string, JsonValue>, name: string): string | undefined {
  const value = rest.get(name);
  if (typeof value !== "string") return undefined;
  rest.delete(name);
  return value;
}

/** When it happened: ISO 8601, or seconds since 1970. */
function takeTime(rest: Map<string, JsonValue>): Timestamp | undefined {
  const value = rest.get("timestamp");
  rest.delete("timestamp");
  if (value === undefined || value === null) return undefined;
  if (typeof value === "number" && value >= 0 && value < LAST_SECOND) {
    const micros = Math.round(value * 1_000_000);
    const seconds = Math.floor(micros / 1_000_000);
    const nanos = (micros % 1_000_000) * 1_000;
    return create(TimestampSchema, { seconds: BigInt(seconds), nanos });
  }
  if (typeof value === "string") {
    try {
      return parseTime(value);
    } catch (error) {
      throw invalid(`timestamp ${messageOf(error)}`);
    }
  }
  throw invalid(
    "timestamp must be ISO 8601 text, or seconds since 1970 (milliseconds divided by 1000)",
  );
}

/** 1 January 2200. */
const LAST_SECOND = 7_258_118_400;

/** A number or a truth that is not there would be kept as 0 or false, which the caller has not said. */
function requireNumbers(type: string, message: DescMessage, json: JsonObject): void {
  const absent = message.fields.filter(
    (field) =>
      (isNumber(field) || isTruth(field)) &&
      !MAY_BE_ABSENT.has(`${type}.${field.name}`) &&
      (json[field.name] ?? null) === null,
  );
  if (absent.length === 0) return;
  throw invalid(`a ${type} needs ${absent.map(({ name }) => name).join(" and ")}`);
}

function bodyOf(field: string, json: JsonObject): RecordEventRequest["body"] {
  try {
    return fromJson(RecordEventRequestSchema, { [field]: json }).body;
  } catch (error) {
    throw invalid(messageOf(error));
  }
}

function subjectOf(type: string, json: JsonObject): string {
  const [prefix, field] = SUBJECTS[type] ?? [];
  const value = field === undefined ? undefined : json[field];
  if (typeof value === "string" && value !== "") return `${prefix}/${value}`;
  const or = field === undefined ? "" : `, or ${field} in the data`;
  throw invalid(`give --subject${or}: what the ${type} is about`);
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isNumber({ fieldKind, scalar }: DescField): boolean {
  return fieldKind === "scalar" && scalar === ScalarType.DOUBLE;
}

function isTruth({ fieldKind, scalar }: DescField): boolean {
  return fieldKind === "scalar" && scalar === ScalarType.BOOL;
}

function isText({ fieldKind, scalar }: DescField): boolean {
  return fieldKind === "scalar" && scalar === ScalarType.STRING;
}

function invalid(message: string): InvalidArgumentError {
  return new InvalidArgumentError(message);
}
