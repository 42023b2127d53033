import type { JsonValue } from "@bufbuild/protobuf";
import type { ReportFacts, ReportRecord } from "./facts.js";
import { RECORD_FIELDS } from "./record-fields.js";

/** A report as of RFC 4180: a row a record where it is detailed, else a row a day and type. */
export async function* csvReport(
  facts: ReportFacts,
  records: AsyncIterable<readonly ReportRecord[]>,
): AsyncGenerator<string> {
  if (!facts.detailed) {
    yield csvRow(["day", "type", "count"]);
    for (const { day, type, count } of facts.days) yield csvRow([day, type, count]);
    return;
  }
  const fields = Object.values(RECORD_FIELDS);
  yield csvRow(Object.keys(RECORD_FIELDS));
  for await (const page of records) {
    for (const record of page) yield csvRow(fields.map((valueOf) => valueOf(record)));
  }
}

/** A line of cells; null is an empty one, and what has parts is JSON. */
export function csvRow(cells: readonly JsonValue[]): string {
  return `${cells.map(csvCell).join(",")}\r\n`;
}

/** What a spreadsheet would run as a formula gets an apostrophe in front, which makes it text. */
function csvCell(value: JsonValue): string {
  const cell = typeof value === "object" && value !== null ? JSON.stringify(value) : value;
  if (typeof cell !== "string") return String(cell ?? "");
  const inert = /^[=+\-@\t\r\n]/.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]/.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert;
}
