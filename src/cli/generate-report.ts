import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { Command, Option } from "commander";
import type { GenerateReportResponse } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { IntegrityVerdict, ReportFormat } from "../../gen/ts/anchord/v1/report_pb.js";
import type { ReportSummary } from "../../gen/ts/anchord/v1/report_pb.js";
import { ExitCode } from "./exit-code.js";
import { afterHelp, CLIENT_CODES } from "./help.js";
import { auditClient } from "./pages.js";
import { withProgress } from "./progress-bar.js";
import { reporting, withServer } from "./server.js";
import type { ServerOptions } from "./server.js";
import { parseTime, requirePeriod } from "./time.js";
import { writeOutput } from "./write-output.js";
import type { Output } from "./write-output.js";

interface Options extends ServerOptions {
  readonly type?: string;
  readonly startTime?: Timestamp;
  readonly endTime?: Timestamp;
  readonly detailed?: boolean;
  readonly verify: boolean;
  readonly format?: keyof typeof FORMATS;
  readonly output?: string;
}

const FORMATS = {
  json: ReportFormat.JSON,
  csv: ReportFormat.CSV,
  html: ReportFormat.HTML,
} as const;

/** `anchord generate-report`: has the service write a report. */
export function generateReportCommand(): Command {
  const command = new Command("generate-report")
    .description(
      "Write a report: counts, gas spent, whether database and chain agree, the records.",
    )
    .option("--type <type>", "only records of this type")
    .option("--start-time <time>", "only records that happened then or later", parseTime)
    .option("--end-time <time>", "only records that happened before", parseTime)
    .option("--detailed", "with each record, and the counts of each day")
    .option("--no-verify", "leave out the comparison with the chain, which takes the longest")
    .addOption(
      new Option(
        "--format <format>",
        "what it is written as; default: by the name of --output",
      ).choices(Object.keys(FORMATS)),
    )
    .option("--output <file>", "where it is written, once it is whole; default: standard output")
    .addHelpText(
      "after",
      afterHelp({
        notes: `A time is a day (its start), or an ISO 8601 time; without a zone it is in UTC. JSON is written where
neither --format nor the name of --output says otherwise. docs/reports.md has the fields.`,
        examples: [
          "anchord generate-report --format html --output report.html",
          "anchord generate-report --type trade --start-time 2026-01-01 --detailed",
        ],
        codes: {
          ...CLIENT_CODES,
          ok: "written",
          broken: "written, and database and chain do not agree",
          unreachable: "the service or its chain cannot be reached",
        },
      }),
    );
  return withServer(command).action(async (options: Options) => {
    process.exitCode = await reporting(options, () => generateReport(options));
  });
}

async function generateReport(options: Options): Promise<number> {
  requirePeriod(options);
  const summary = await writeOutput(options.output, { replace: true }, async (output) => {
    const ended = new AbortController(); // what nobody reads to its end would keep the process alive
    try {
      const { signal } = ended;
      return await written(
        auditClient(options).generateReport(requestOf(options), { signal }),
        output,
      );
    } finally {
      ended.abort();
    }
  });
  return report(summary);
}

/** Writes a report as it comes; returns what it comes to. */
async function written(
  answer: AsyncIterable<GenerateReportResponse>,
  output: Output,
): Promise<ReportSummary | undefined> {
  const parts = answer[Symbol.asyncIterator]();
  let summary: ReportSummary | undefined;
  for (let next = await checked(parts); next.done !== true; next = await parts.next()) {
    const { part } = next.value;
    if (part.case === "summary") summary = part.value;
    if (part.case === "chunk") await output.write(part.value);
  }
  return summary;
}

/** Shows how far the check comes, until there is something else. */
function checked(
  parts: AsyncIterator<GenerateReportResponse>,
): Promise<IteratorResult<GenerateReportResponse, unknown>> {
  return withProgress("checked against the chain", "pieces", async (bar) => {
    for (;;) {
      const next = await parts.next();
      if (next.done === true || next.value.part.case !== "progress") return next;
      const { recordsChecked, recordsTotal } = next.value.part.value;
      bar.show(Number(recordsChecked), Number(recordsTotal));
    }
  });
}

function requestOf({ type = "", startTime, endTime, detailed = false, ...options }: Options) {
  return {
    type,
    startTime,
    endTime,
    detailed,
    format: FORMATS[options.format ?? formatOf(options.output)],
    skipIntegrityCheck: !options.verify,
  };
}

/** What the name of a file calls for. */
function formatOf(file = ""): keyof typeof FORMATS {
  const [, extension = "json"] = /\.(csv|html)$/i.exec(file) ?? [];
  return extension.toLowerCase() as keyof typeof FORMATS;
}

/** Says what the report comes to where it is bad news, and returns the exit code. */
function report(summary: ReportSummary | undefined): number {
  if (summary?.verdict !== IntegrityVerdict.BROKEN) return ExitCode.ok;
  const count = summary.problemsTotal;
  process.stderr.write(
    `BROKEN: database and chain do not agree, ${count} problem${count === 1n ? "" : "s"}: see the report\n`,
  );
  return ExitCode.broken;
}
