import { toJson } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { Duration } from "@bufbuild/protobuf/wkt";
import { SLASchema, SLAState } from "../../gen/ts/anchord/v1/sla_pb.js";
import type { SLA } from "../../gen/ts/anchord/v1/sla_pb.js";
import { SLACheckOutcome, SLACheckSchema } from "../../gen/ts/anchord/v1/sla_service_pb.js";
import type { SLACheck } from "../../gen/ts/anchord/v1/sla_service_pb.js";
import type { Format } from "./arguments.js";
import { jsonLine, row } from "./columns.js";

const SLA_WIDTHS = [7, 24, 8, 8, 5, 5];
const CHECK_WIDTHS = [8, 5, 6];

/** Deadlines, each on a line. */
export function slaLines(slas: readonly SLA[], format: Format): string {
  if (format === "json") return slas.map((sla) => jsonLine(toJson(SLASchema, sla))).join("");
  const header = ["STATE", "DEADLINE", "LEFT", "BREACHED", "LEVEL", "CYCLE", "SUBJECT"];
  return [header, ...slas.map(slaCells)].map((cells) => row(SLA_WIDTHS, cells)).join("");
}

/** What was found of deadlines, each on a line. */
export function checkLines(checks: readonly SLACheck[], format: Format): string {
  if (format === "json")
    return checks.map((check) => jsonLine(toJson(SLACheckSchema, check))).join("");
  const header = ["OUTCOME", "LEVEL", "BEFORE", "SUBJECT"];
  return [header, ...checks.map(checkCells)].map((cells) => row(CHECK_WIDTHS, cells)).join("");
}

function slaCells({
  state,
  deadline,
  timeRemaining,
  breached,
  level,
  cycle,
  subject,
}: SLA): string[] {
  return [
    nameOf(SLAState[state], "SLA_STATE_"),
    deadline === undefined ? "" : timestampDate(deadline).toISOString(),
    timeRemaining === undefined ? "" : spanText(timeRemaining),
    breached ? "yes" : "",
    `${level}`,
    `${cycle}`,
    subject,
  ];
}

function checkCells({ outcome, level, previousLevel, subject }: SLACheck): string[] {
  const name = nameOf(SLACheckOutcome[outcome], "SLA_CHECK_OUTCOME_");
  return [name, `${level}`, `${previousLevel}`, subject];
}

/** The name of an enum's value as people read it: not_due becomes "not due". */
function nameOf(value: string | undefined, prefix: string): string {
  return (value ?? "").replace(prefix, "").toLowerCase().replaceAll("_", " ");
}

const UNITS = [
  ["d", 86_400],
  ["h", 3_600],
  ["m", 60],
  ["s", 1],
] as const;

/** A span in its two largest units, such as "1d 23h", with "-" before it where it has passed. */
function spanText({ seconds }: Duration): string {
  const span = Math.abs(Number(seconds));
  const parts = UNITS.map(([unit, size], i) => {
    const [, above = Infinity] = UNITS[i - 1] ?? [];
    return `${Math.floor((span % above) / size)}${unit}`;
  });
  const first = UNITS.findIndex(([, size]) => span >= size);
  const shown = first < 0 ? parts.slice(-1) : parts.slice(first, first + 2);
  return `${seconds < 0n ? "-" : ""}${shown.join(" ")}`;
}
