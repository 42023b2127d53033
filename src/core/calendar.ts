import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Timestamp } from "@bufbuild/protobuf/wkt";

/** The years 1 to 9999, in seconds since 1970: what google.protobuf.Timestamp and its JSON can express. */
const FIRST_SECOND = -62_135_596_800;
const LAST_SECOND = 253_402_300_799;

/** Whether a time is one that JSON can express. */
export function isWellFormedTime({ seconds, nanos }: Timestamp): boolean {
  const isInRange = seconds >= FIRST_SECOND && seconds <= LAST_SECOND;
  return isInRange && nanos >= 0 && nanos < 1_000_000_000;
}

/** Whether the calendar has a day such as 2026-02-01: JavaScript takes 30 February for 2 March. */
export function isDay(date: string): boolean {
  const time = new Date(`${date}T00:00:00Z`);
  return !Number.isNaN(time.getTime()) && time.toISOString().startsWith(date);
}

/** A time of an entry; undefined where no calendar has it, which an edit may leave. */
export function knownTime(time: Timestamp | undefined): Timestamp | undefined {
  return time !== undefined && isWellFormedTime(time) ? time : undefined;
}

/** Undefined where there is no time. */
type TimeOf<T> = T extends number ? Timestamp : undefined;

/** A stored time, in milliseconds since 1970: one that no calendar has, as after an edit, is brought within bounds. */
export function timeOfMs<T extends number | undefined>(ms: T): TimeOf<T>;
export function timeOfMs(ms: number | undefined): Timestamp | undefined {
  if (ms === undefined) return undefined;
  return timestampFromMs(Math.max(FIRST_SECOND * 1_000, Math.min(LAST_SECOND * 1_000, ms)));
}

/** A stored time, in seconds since 1970, brought within bounds. */
export function timeOfSeconds<T extends number | undefined>(seconds: T): TimeOf<T>;
export function timeOfSeconds(seconds: number | undefined): Timestamp | undefined {
  return timeOfMs(seconds === undefined ? undefined : seconds * 1_000);
}

/** A stored time, in seconds since 1970, in ISO 8601, brought within bounds. */
export function isoSeconds(seconds: number | bigint): string {
  const bounded = Math.max(FIRST_SECOND, Math.min(LAST_SECOND, Number(seconds)));
  return new Date(bounded * 1_000).toISOString();
}
