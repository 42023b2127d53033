import { Command } from "commander";
import { objectFormatOption } from "./arguments.js";
import type { Format } from "./arguments.js";
import { fieldLines, jsonLine } from "./columns.js";
import { ExitCode } from "./exit-code.js";
import { afterHelp, CLIENT_CODES } from "./help.js";
import { auditClient } from "./pages.js";
import { reporting, withServer } from "./server.js";
import type { ServerOptions } from "./server.js";

interface Options extends ServerOptions {
  readonly format: Format;
}

const HELP = afterHelp({
  notes: `Sealing happens by itself unless AUTO_MINE is false; this has it happen now, and waits up to a minute
until the chain has everything that was recorded before.`,
  examples: ["anchord force-mine"],
  codes: { ...CLIENT_CODES, notAnchored: "some records are still pending" },
});

/** `anchord force-mine`: has what is pending sealed now. */
export function forceMineCommand(): Command {
  const command = new Command("force-mine")
    .description("Have what is pending sealed now, and wait until it is on the chain.")
    .addOption(objectFormatOption())
    .addHelpText("after", HELP);
  return withServer(command).action(async (options: Options) => {
    process.exitCode = await reporting(options, () => seal(options));
  });
}

async function seal(options: Options): Promise<number> {
  const { lastBatch, pending } = await auditClient(options).sealNow({});
  const printed = { index: Number(lastBatch), pending_transactions: Number(pending) };
  process.stdout.write(options.format === "json" ? jsonLine(printed) : fieldLines(printed));
  return pending > 0n ? ExitCode.notAnchored : ExitCode.ok;
}
