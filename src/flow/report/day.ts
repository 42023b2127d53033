const DAY_MS = 86_400_000;

/** The last day that four digits of a year can say. */
const LAST_DAY = Date.UTC(9999, 11, 31) / DAY_MS;

/** A day in UTC, such as 2026-02-01, of days since 1970: what no record can have is brought within bounds. */
export function dayText(day: number): string {
  const bounded = Math.max(0, Math.min(LAST_DAY, day));
  return new Date(bounded * DAY_MS).toISOString().slice(0, 10);
}

/** Days since 1970 of a day or a time in UTC that begins with one. */
export function dayNumber(text: string): number {
  return Date.parse(text.slice(0, 10)) / DAY_MS;
}

/** A time of RFC 3339 in UTC, to the second, for people; empty where there is none. */
export function momentText(time: string): string {
  return time === "" ? "" : `${time.slice(0, 10)} ${time.slice(11, 19)} UTC`;
}
