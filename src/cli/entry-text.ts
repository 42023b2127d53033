import { create, toJson } from "@bufbuild/protobuf";
import { DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import type { Duration } from "@bufbuild/protobuf/wkt";
import { EntrySchema } from "../../gen/ts/anchord/v1/receipt_pb.js";
import type { Entry } from "../../gen/ts/anchord/v1/receipt_pb.js";
import { hex } from "../core/bytes.js";
import { printable } from "./printable.js";

/** An entry's fields, one a line, safe to show on a terminal. */
export function entryText(entry: Entry): string {
  return Object.entries(entryFields(entry))
    .map(([name, value]) => `${name}: ${printable(value)}`)
    .join("\n");
}

/** An entry's fields, as text by their names; those of its body with the body's name before them. */
export function entryFields(entry: Entry): Readonly<Record<string, string>> {
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
  const present = lines.filter(([, value]) => value !== "" && value !== undefined);
  return Object.fromEntries(present.map(([name, value]) => [name, String(value)]));
}

/** The body's fields by their proto names, enums by the names of their values. */
function bodyLines({ body }: Entry): [string, unknown][] {
  const field = EntrySchema.fields.find(({ localName }) => localName === body.case);
  if (body.case === undefined || field?.message === undefined) return [];
  const { message } = field;
  const values = body.value as unknown as Record<string, unknown>;
  return message.fields.map((inner) => {
    const name = `${field.name}.${inner.name}`;
    const value = values[inner.localName];
    if (inner.message?.typeName === TimestampSchema.typeName)
      return [name, timeText(value as never)];
    if (inner.message?.typeName === DurationSchema.typeName) {
      return [name, (value as Duration[]).map(durationText).join(", ")];
    }
    // One field at a time: a forged entry may hold times that JSON cannot say.
    const alone = create(message, { [inner.localName]: value });
    const json = toJson(message, alone, { useProtoFieldName: true }) as Record<string, unknown>;
    return [name, json[inner.name]];
  });
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

/** As long as any, since a forged entry may hold what no duration has. */
function durationText({ seconds, nanos }: Duration): string {
  return nanos === 0 ? `${seconds} s` : `${seconds} s ${nanos} ns`;
}
