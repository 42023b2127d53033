import type { JsonObject } from "@bufbuild/protobuf";
import { Command } from "commander";
import type { LogProblem } from "../../gen/ts/anchord/v1/problem_pb.js";
import { formatOption } from "./arguments.js";
import type { Format } from "./arguments.js";
import { jsonLine, row } from "./columns.js";
import { ExitCode } from "./exit-code.js";
import { afterHelp, CLIENT_CODES } from "./help.js";
import { auditClient } from "./pages.js";
import { reporting, withServer } from "./server.js";
import type { ServerOptions } from "./server.js";
import { verification } from "./verification.js";
import type { Verification } from "./verification.js";

interface Options extends ServerOptions {
  readonly format: Format;
}

const HELP = afterHelp({
  notes: `Every record is hashed again and compared with the roots and heads that the contract keeps, proof of work
included; so are evidence and deadlines. The service does the work, and asks its own node: "anchord verify"
checks one record without trusting either.`,
  examples: ["anchord verify-chain", "anchord verify-chain --format json || notify-somebody"],
  codes: {
    ...CLIENT_CODES,
    ok: "everything holds",
    broken: "something does not hold",
    unreachable: "the service or its chain cannot be reached",
  },
});

/** `anchord verify-chain`: has the whole log compared with the chain. */
export function verifyChainCommand(): Command {
  const command = new Command("verify-chain")
    .description("Compare everything in the database with the chain, and name what does not hold.")
    .addOption(formatOption("a JSON object, or lines"))
    .addHelpText("after", HELP);
  return withServer(command).action(async (options: Options) => {
    process.exitCode = await reporting(options, () => verify(options));
  });
}

async function verify(options: Options): Promise<number> {
  const found = await verification(auditClient(options));
  process.stdout.write(options.format === "json" ? jsonLine(foundJson(found)) : foundText(found));
  return found.isValid ? ExitCode.ok : ExitCode.broken;
}

function foundJson({ isValid, batches, records, problems }: Verification): JsonObject {
  return {
    is_valid: isValid,
    blocks_checked: batches,
    transactions_checked: records,
    problems: problems.map(problemJson),
  };
}

function problemJson({ batchNumber, sequence, recordId, column, message }: LogProblem): JsonObject {
  return {
    block_index: Number(batchNumber),
    sequence: sequence === undefined ? null : Number(sequence),
    record_id: recordId,
    column,
    message,
  };
}

const WIDTHS = [7, 9, 26];

function foundText({ isValid, batches, records, problems }: Verification): string {
  const checked = `${batches} blocks with ${records} records`;
  if (isValid) return `VALID: ${checked} are as the chain has them\n`;
  const lines = problems.map(({ batchNumber, sequence, column, message }) =>
    row(WIDTHS, [`${batchNumber}`, `${sequence ?? ""}`, column, message]),
  );
  const header = row(WIDTHS, ["BLOCK", "RECORD", "COLUMN", "WHAT"]);
  return `BROKEN: ${problems.length} problems in ${checked}\n${header}${lines.join("")}`;
}
