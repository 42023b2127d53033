import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { anchoring } from "./anchoring.js";
import { escalation } from "./escalation.js";
import { evidence } from "./evidence.js";
import { events } from "./events.js";
import { ingest } from "./ingest.js";
import { latency } from "./latency.js";
import { memory } from "./memory.js";
import type { Measurement, Row } from "./row.js";
import { isReached } from "./row.js";
import { unary } from "./unary.js";

/** Measures the daemon against its ceilings and rivals; docs/benchmarks.md says how. */
const MEASUREMENTS: Readonly<Record<string, Measurement>> = {
  unary,
  ingest,
  anchoring,
  latency,
  events,
  memory,
  evidence,
  escalation,
};

const { values: options } = parseArgs({
  options: {
    json: { type: "string" },
    only: { type: "string", multiple: true },
    quick: { type: "boolean", default: false },
    records: { type: "string" },
  },
});
const extent = {
  quick: options.quick,
  records: Number(options.records ?? (options.quick ? 200_000 : 1_000_000)),
};

const names = options.only ?? Object.keys(MEASUREMENTS);
const rows: Row[] = [];
for (const name of names) {
  const measurement = MEASUREMENTS[name];
  if (measurement === undefined) {
    throw new Error(`there is no ${name}: choose of ${Object.keys(MEASUREMENTS).join(", ")}`);
  }
  process.stderr.write(`measuring ${name} ...\n`);
  rows.push(...(await measurement(extent)));
}
process.stdout.write(table(rows));
if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(rows, null, 2)}\n`);
process.exit(0); // connections that are kept alive need not be waited for

function table(measured: readonly Row[]): string {
  const header = ["", "value", "against", "unit", "ratio", "reach", ""];
  const lines = [header, ...measured.map(cells)];
  const widths = header.map((_, column) =>
    Math.max(...lines.map((line) => (line[column] as string).length)),
  );
  const padded = (line: readonly string[]) =>
    line.map((cell, i) =>
      i === 0 || i === 3 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number),
    );
  return `\n${lines.map((line) => padded(line).join("  ").trimEnd()).join("\n")}\n\n`;
}

function cells(measured: Row): string[] {
  const { name, value, against, unit, ratio, reach, better } = measured;
  return [
    name,
    short(value),
    short(against),
    unit,
    short(ratio),
    `${better === "higher" ? "≥" : "≤"} ${reach}`,
    isReached(measured) ? "reached" : "MISSED",
  ];
}

/** Three digits that count, or all before the point. */
function short(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString("en") : value.toPrecision(3);
}
