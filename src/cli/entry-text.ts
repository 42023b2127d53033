import { toJson } from "@bufbuild/protobuf";
import { EntrySchema } from "../../gen/ts/anchord/v1/receipt_pb.js";
import type { Entry } from "../../gen/ts/anchord/v1/receipt_pb.js";
import { hex } from "../core/bytes.js";
import { printable } from "./printable.js";

/** An entry's fields, one a line, safe to show on a terminal. */
export function entryText(entry: Entry): string {
  const lines: [string, unknown][] = [
    ["subject", entry.subject],
    ["actor", entry.actor],
    ["occur_time", timeText(entry.occurTime)],
    ["accept_time", timeText(entry.acceptTime)],
    ["caller", entry.caller],
    ["request_id", entry.requestId],
    ...bodyLines(entry),
    ["details", entry.details],
    ["salt", hex(entry.salt)],
  ];
  return lines
    .filter(([, value]) => value !== "" && value !== undefined)
    .map(([name, value]) => `${name}: ${printable(String(value))}`)
    .join("\n");
}

/** The body's fields by their proto names, enums by the names of their values. */
function bodyLines({ body }: Entry): [string, unknown][] {
  const field = EntrySchema.fields.find(({ localName }) => localName === body.case);
  if (body.case === undefined || field?.message === undefined) return [];
  const json = toJson(field.message, body.value, { useProtoFieldName: true });
  return Object.entries(json as object).map(([name, value]) => [`${field.name}.${name}`, value]);
}

/** Seconds and nanoseconds where no calendar has the time, which a forged entry may hold. */
function timeText(time: Entry["occurTime"]): string {
  if (time === undefined) return "";
  const date = new Date(Number(time.seconds) * 1000);
  const { seconds, nanos } = time;
  if (Number.isNaN(date.getTime()) || nanos < 0 || nanos > 999_999_999)
    return `${seconds} s ${nanos} ns`;
  const fraction = nanos === 0 ? "" : `.${String(nanos).padStart(9, "0").replace(/0+$/, "")}`;
  return date.toISOString().replace(".000Z", `${fraction}Z`);
}
