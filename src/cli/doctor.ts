import { Command } from "commander";
import type { Finding } from "../checkup/finding.js";
import { loadConfig } from "../config.js";
import type { Config } from "../config.js";
import { messageOf } from "../core/errors.js";
import { configOption, formatOption } from "./arguments.js";
import type { ConfigFileOption, Format } from "./arguments.js";
import { jsonLine, row } from "./columns.js";
import { ExitCode } from "./exit-code.js";
import { afterHelp } from "./help.js";

interface Options extends ConfigFileOption {
  readonly format: Format;
}

const WIDTHS = [8, 16];

/** What to do about settings that cannot be used. */
const ADVICE = "correct them: docs/configuration.md says what each of them may be";

/** `anchord doctor`: looks at an installation, with or without a running service. */
export function doctorCommand(): Command {
  return new Command("doctor")
    .description("Check chain, contracts, roles, database, content store, clock, disk and ports.")
    .addHelpText(
      "after",
      afterHelp({
        notes: `Reads the settings of the service and changes no data. The service may run or not; an embedded
chain that does not run is not started. Each check is OK, WARN, FAIL or SKIPPED, and says what was found and
what to do.`,
        examples: [
          "anchord doctor",
          "anchord doctor --config /etc/anchord/config.yaml --format json",
        ],
        codes: {
          ok: "nothing fails",
          broken: "something fails",
          usage: "usage or settings",
          unreachable: "only the chain cannot be reached",
        },
      }),
    )
    .addOption(configOption())
    .addOption(formatOption())
    .action(async (options: Options) => {
      process.exit(await doctor(options));
    });
}

async function doctor({ config: file, format }: Options): Promise<number> {
  let config: Config;
  try {
    config = loadConfig(undefined, { file });
  } catch (error) {
    print({ check: "settings", outcome: "FAIL", found: messageOf(error), advice: ADVICE }, format);
    return ExitCode.usage;
  }
  const { CHAIN_CHECK } = await import("../checkup/chain.js");
  const { checkUp } = await import("../checkup/checkup.js");
  const failed: string[] = [];
  for await (const finding of checkUp(config)) {
    print(finding, format);
    if (finding.outcome === "FAIL") failed.push(finding.check);
  }
  if (failed.length === 0) return ExitCode.ok;
  return failed.every((check) => check === CHAIN_CHECK) ? ExitCode.unreachable : ExitCode.broken;
}

/** Each finding at once: a node that does not answer takes its time. */
function print(finding: Finding, format: Format): void {
  if (format === "json") {
    process.stdout.write(jsonLine(finding));
    return;
  }
  const { outcome, check, found, advice } = finding;
  process.stdout.write(row(WIDTHS, [outcome, check, found]));
  if (advice !== "") process.stdout.write(row(WIDTHS, ["", "", `-> ${advice}`]));
}
