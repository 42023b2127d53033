import type { Command } from "commander";
import { reporting, withServer } from "./server.js";
import type { ServerOptions } from "./server.js";
import { writeOutput } from "./write-output.js";
import type { Output } from "./write-output.js";

/** What a client command is told that may write to a file. */
export interface OutputOptions extends ServerOptions {
  readonly output?: string;
  readonly format: string;
}

/** Gives a client command the option of a file, and has it write there: JSON where no format was named. */
export function withOutput<T extends OutputOptions>(
  command: Command,
  write: (output: Output, options: T) => Promise<number>,
): Command {
  command.option(
    "--output <file>",
    "write to this file, in place of what it holds: JSON, unless --format is given",
  );
  return withServer(command).action(async (given: T) => {
    const isNamed = command.getOptionValueSource("format") === "cli";
    const options = given.output === undefined || isNamed ? given : { ...given, format: "json" };
    process.exitCode = await reporting(options, () =>
      writeOutput(options.output, { replace: true }, (output) => write(output, options)),
    );
  });
}
