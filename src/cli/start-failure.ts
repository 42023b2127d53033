import type { Config } from "../config.js";
import { hiderOf } from "../config/secrets.js";
import { messageOf } from "../core/errors.js";
import { exitCodeOf } from "./exit-code.js";
import { printable } from "./printable.js";

/**
 * Says on standard error, without secrets, why a command that reads the settings did not get to its work, and
 * returns the exit code.
 */
export function reportStartFailure(error: unknown, config: Config | undefined): number {
  const message = messageOf(error);
  const shown = config === undefined ? message : hiderOf(config)(message);
  process.stderr.write(`anchord: ${printable(shown)}\n`);
  return exitCodeOf(error);
}
