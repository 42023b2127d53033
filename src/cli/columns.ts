import type { JsonValue } from "@bufbuild/protobuf";
import { printable } from "./printable.js";

/** A line of columns of these widths, safe to show on a terminal; the last one has no width. */
export function row(widths: readonly number[], cells: readonly string[]): string {
  return `${lineOf(widths, cells)}\n`;
}

/** Such a line whose last column is a sample of what JSON has in full: it is cut at the edge of the terminal. */
export function cutRow(widths: readonly number[], cells: readonly string[]): string {
  const line = lineOf(widths, cells);
  const width = process.stdout.columns ?? Infinity;
  return `${line.length <= width ? line : `${line.slice(0, width - 1)}…`}\n`;
}

function lineOf(widths: readonly number[], cells: readonly string[]): string {
  return cells
    .map((cell, i) => printable(cell).padEnd(widths[i] ?? 0))
    .join(" ")
    .trimEnd();
}

/** The members of an object, each on a line, safe to show on a terminal. */
export function fieldLines(fields: Readonly<Record<string, JsonValue | undefined>>): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined && value !== null && value !== "")
    .map(([name, value]) => `${name}: ${printable(textOf(value))}\n`)
    .join("");
}

/** JSON on one line. */
export function jsonLine(json: unknown): string {
  return `${safeJson(json)}\n`;
}

/** JSON in which nothing can rewrite a screen: the same values, with such characters escaped. */
export function safeJson(json: unknown): string {
  return JSON.stringify(json).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
    Array.from({ length: character.length }, (_, i) => unicodeEscape(character.charCodeAt(i))).join(
      "",
    ),
  );
}

function unicodeEscape(unit: number): string {
  return `\\u${unit.toString(16).padStart(4, "0")}`;
}

function textOf(value: JsonValue | undefined): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
