import { fromJson } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import { InvalidArgumentError } from "commander";
import { isDay } from "../core/calendar.js";
import { micros } from "../core/record.js";

const DATE = "(?<date>[0-9]{4}-[0-9]{2}-[0-9]{2})";
const CLOCK = "(?<minutes>[0-9]{2}:[0-9]{2})(?<seconds>:[0-9]{2}(?:[.,][0-9]{1,9})?)?";
const ZONE = "(?<zone>[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?";
const ISO = new RegExp(`^${DATE}(?:[Tt ]${CLOCK} ?${ZONE})?$`);

/**
 * A moment in ISO 8601: a date, or a date and a time, with a zone or in UTC. Throws InvalidArgumentError
 * where the text is none, or the calendar has no such day.
 */
export function parseTime(text: string): Timestamp {
  const parts = ISO.exec(text.trim())?.groups;
  if (parts === undefined || !isDay(parts["date"] ?? "")) throw notATime();
  const { date, minutes = "00:00", seconds = ":00" } = parts;
  try {
    const clock = `${minutes}${seconds.replace(",", ".")}`;
    return fromJson(TimestampSchema, `${date}T${clock}${zoneOf(parts["zone"])}`);
  } catch {
    throw notATime();
  }
}

/** Throws InvalidArgumentError where a period ends before it has begun. */
export function requirePeriod(period: {
  readonly startTime?: Timestamp;
  readonly endTime?: Timestamp;
}): void {
  const { startTime, endTime } = period;
  if (startTime === undefined || endTime === undefined) return;
  if (micros(endTime) > micros(startTime)) return;
  throw new InvalidArgumentError("--end-time must be after --start-time");
}

/** RFC 3339 has a zone of hours and minutes. */
function zoneOf(zone = "Z"): string {
  if (/^z$/i.test(zone)) return "Z";
  const digits = zone.replace(":", "").padEnd(5, "0");
  return `${digits.slice(0, 3)}:${digits.slice(3)}`;
}

function notATime(): InvalidArgumentError {
  return new InvalidArgumentError(
    "must be a time such as 2026-02-01T12:00:00+01:00, or a date; without a zone it is taken as UTC",
  );
}
