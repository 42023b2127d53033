import { Command } from "commander";
import { loadSettings } from "../config.js";
import type { LoadedConfig } from "../config.js";
import { derivedSettings } from "../config/derived.js";
import { REFERENCE } from "../config/reference.js";
import { masked } from "../config/secrets.js";
import { configOption, formatOption } from "./arguments.js";
import type { ConfigFileOption, Format } from "./arguments.js";
import { jsonLine, row } from "./columns.js";
import { ExitCode } from "./exit-code.js";
import { afterHelp } from "./help.js";
import { reportStartFailure } from "./start-failure.js";

interface Options extends ConfigFileOption {
  readonly format: Format;
}

/** A setting in force, as it is printed. */
interface Line {
  readonly setting: string;
  /** Masked; empty where nothing is set. */
  readonly value: string;
  /** `default`, `environment`, `--config`, or a file and perhaps a line in it. */
  readonly source: string;
}

const HELP = afterHelp({
  notes: `Secrets are masked, and the paths of node addresses, which may hold keys. A default that depends on
what is found at the start, such as a free port, is empty.`,
  examples: ["anchord config print", "anchord config print --config /etc/anchord/config.yaml"],
  codes: { ok: "done", usage: "usage, or settings that cannot be used" },
});

/** `anchord config`: what the settings are. */
export function configCommand(): Command {
  const print = new Command("print")
    .description("Print every setting in force, its value and where it comes from.")
    .addOption(configOption())
    .addOption(formatOption())
    .addHelpText("after", HELP)
    .action((options: Options) => {
      process.exitCode = printConfig(options);
    });
  return new Command("config")
    .description("Print the settings that are in force.")
    .addCommand(print)
    .addHelpText("after", HELP);
}

function printConfig({ config: file, format }: Options): number {
  try {
    const lines = linesOf(loadSettings(undefined, { file, needsKey: false }));
    const text = format === "json" ? lines.map(jsonLine) : table(lines);
    process.stdout.write(text.join(""));
    return ExitCode.ok;
  } catch (error) {
    return reportStartFailure(error, undefined);
  }
}

function linesOf({ config, given }: LoadedConfig): Line[] {
  const derived = derivedSettings(config);
  return (Object.keys(REFERENCE) as (keyof typeof REFERENCE)[]).map((setting) => {
    const written = given.get(setting)?.text ?? REFERENCE[setting].fallback;
    const found = config[setting] ?? derived[setting] ?? "";
    const value = typeof found === "object" ? written : String(found); // lists stand as they were written
    return {
      setting,
      value: masked(setting, value),
      source: given.get(setting)?.from ?? "default",
    };
  });
}

function table(lines: readonly Line[]): string[] {
  const all = [{ setting: "SETTING", value: "VALUE", source: "SOURCE" }, ...lines];
  const widest = (key: keyof Line) => Math.max(...all.map((line) => line[key].length)) + 1;
  const widths = [widest("setting"), widest("source")];
  return all.map(({ setting, value, source }) => row(widths, [setting, source, value]));
}
