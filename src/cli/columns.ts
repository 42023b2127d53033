import { printable } from "./printable.js";

/** A line of columns of these widths, safe to show on a terminal; the last one has no width. */
export function row(widths: readonly number[], cells: readonly string[]): string {
  return `${cells
    .map((cell, i) => printable(cell).padEnd(widths[i] ?? 0))
    .join(" ")
    .trimEnd()}\n`;
}
