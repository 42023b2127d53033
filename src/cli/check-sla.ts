import { createClient } from "@connectrpc/connect";
import { Command } from "commander";
import { SLAService } from "../../gen/ts/anchord/v1/sla_service_pb.js";
import { formatOption, positive } from "./arguments.js";
import type { Format } from "./arguments.js";
import { ExitCode } from "./exit-code.js";
import { afterHelp, CLIENT_CODES } from "./help.js";
import { connectServer, reporting, withServer } from "./server.js";
import type { ServerOptions } from "./server.js";
import { checkLines } from "./sla-line.js";

interface Options extends ServerOptions {
  readonly dryRun?: boolean;
  readonly limit: number;
  readonly format: Format;
}

/** `anchord check-sla`: has what is due escalated, which the service does by itself as well. */
export function checkSlaCommand(): Command {
  const command = new Command("check-sla")
    .description("Have every level raised that is due by the clock of the chain, and say which.")
    .argument("[subjects...]", "only the deadlines for these; else those that are due")
    .option("--dry-run", "only say what is due")
    .option(
      "--limit <count>",
      "at most so many, up to 1000, where no subjects are named",
      positive,
      100,
    )
    .addOption(formatOption())
    .addHelpText(
      "after",
      afterHelp({
        notes: `The service raises levels by itself: "pending" are those that it has not come to within a minute.`,
        examples: [
          "anchord check-sla --dry-run --limit 50",
          "anchord check-sla complaint/ABC12345",
        ],
        codes: { ...CLIENT_CODES, unreachable: "the service or its chain cannot be reached" },
      }),
    );
  return withServer(command).action(async (subjects: string[], options: Options) => {
    process.exitCode = await reporting(options, () => check(subjects, options));
  });
}

async function check(subjects: string[], options: Options): Promise<number> {
  const client = createClient(SLAService, connectServer(options));
  const { dryRun = false, limit, format } = options;
  const { checks } = await client.batchCheckAndEscalate({ subjects, limit, dryRun });
  process.stdout.write(checkLines(checks, format));
  return ExitCode.ok;
}
