import { dayNumber, dayText } from "./day.js";
import type { MonthGas, ReportFacts } from "./facts.js";
import { GAS_PURPOSES } from "./facts.js";

/** Values of several series in a period. */
export interface Period {
  /** When it begins, such as 2026-02-01, 2026-02 or 2026. */
  readonly label: string;
  /** One for each series, in their order. */
  readonly values: readonly number[];
}

/** Values over time, in periods without gaps. */
export interface Timeline {
  /** How long a period is. */
  readonly unit: "day" | "week" | "month" | "year";
  readonly series: readonly string[];
  readonly periods: readonly Period[];
}

/** Types that are told apart; the others are shown as one. */
const MOST_TYPES = 7;

/** Most periods of a timeline: as many bars can be told apart. */
const MOST_DAYS = 93;
const MOST_WEEKS = 105;
const MOST_MONTHS = 120;

/** The records by day and type; by week, month or year where those are too many. */
export function countsOverTime(facts: ReportFacts): Timeline {
  const [first, last] = shownDays(facts);
  const unit = unitOf(last - first + 1);
  const days: number[] = [];
  for (let day = first; day < last; day += unit === "day" ? 1 : 7) days.push(day);
  const labels = [...days, last].map((day) => periodOf(day, unit));
  return { unit, ...countsIn(facts, labels, (day) => periodOf(dayNumber(day), unit)) };
}

/** The records by day and type; days without records are left out. */
export function countsByDay(facts: ReportFacts): Timeline {
  const days = facts.days.map(({ day }) => day);
  return { unit: "day", ...countsIn(facts, days, (day) => day) };
}

function countsIn(
  { types, days }: ReportFacts,
  labels: readonly string[],
  labelOf: (day: string) => string,
): Omit<Timeline, "unit"> {
  const named = types.slice(0, MOST_TYPES).map(({ type }) => type);
  const series = types.length > MOST_TYPES ? [...named, "other types"] : named;
  const sums = new Map(labels.map((label) => [label, series.map(() => 0)]));
  for (const { day, type, count } of days) {
    const at = named.indexOf(type);
    add(sums.get(labelOf(day)), at === -1 ? MOST_TYPES : at, count);
  }
  return { series, periods: periodsOf(sums) };
}

/** The gas by month and purpose; by year where months are too many. */
export function gasOverTime(months: readonly MonthGas[]): Timeline {
  const [first, last] = [months[0]?.month ?? "", months.at(-1)?.month ?? ""];
  const spent = monthsBetween(first, last);
  const unit = spent.length > MOST_MONTHS ? "year" : "month";
  const label = (month: string) => (unit === "year" ? month.slice(0, 4) : month);
  const sums = new Map(spent.map((month) => [label(month), GAS_PURPOSES.map(() => 0)]));
  for (const gas of months) {
    const values = sums.get(label(gas.month));
    GAS_PURPOSES.forEach((purpose, i) => add(values, i, gas[purpose]));
  }
  return { unit, series: GAS_PURPOSES, periods: periodsOf(sums) };
}

/** The days from the first to the last that is asked for, or that has records. Requires records. */
function shownDays({ days, start, end, generatedAt }: ReportFacts): [number, number] {
  const recorded = days.map(({ day }) => dayNumber(day));
  const [first, last] = [recorded[0] ?? 0, recorded.at(-1) ?? 0];
  // The end of the range is not in it; what lies in the future is shown as far as there are records.
  const lastAsked = end === undefined ? last : dayNumber(timeBefore(end));
  const today = dayNumber(generatedAt.toISOString());
  return [
    start === undefined ? first : Math.min(first, dayNumber(start)),
    Math.max(last, Math.min(lastAsked, today)),
  ];
}

function timeBefore(time: string): string {
  return new Date(Date.parse(time) - 1).toISOString();
}

function unitOf(days: number): Timeline["unit"] {
  if (days <= MOST_DAYS) return "day";
  if (days <= MOST_WEEKS * 7) return "week";
  return days <= MOST_MONTHS * 31 ? "month" : "year";
}

function periodOf(day: number, unit: Timeline["unit"]): string {
  switch (unit) {
    case "day":
      return dayText(day);
    case "week":
      return dayText(day - ((day + 3) % 7)); // 1970-01-01 was a Thursday
    case "month":
      return dayText(day).slice(0, 7);
    case "year":
      return dayText(day).slice(0, 4);
  }
}

/** Requires that the first is empty, or not behind the last. */
function monthsBetween(first: string, last: string): string[] {
  if (first === "") return [];
  const [from, to] = [monthNumber(first), monthNumber(last)];
  return Array.from({ length: to - from + 1 }, (_, i) => monthText(from + i));
}

/** Months since the year 0. */
function monthNumber(month: string): number {
  return Number(month.slice(0, 4)) * 12 + Number(month.slice(5)) - 1;
}

function monthText(number: number): string {
  const [year, month] = [Math.floor(number / 12), (number % 12) + 1];
  return `${String(year).padStart(4, "0")}-${String(month).padStart(2, "0")}`;
}

function add(values: number[] | undefined, at: number, value: number): void {
  if (values !== undefined) values[at] = (values[at] ?? 0) + value;
}

function periodsOf(sums: ReadonlyMap<string, readonly number[]>): Period[] {
  return [...sums].map(([label, values]) => ({ label, values }));
}
