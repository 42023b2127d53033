import { isChainAway } from "../core/errors.js";

/** How the command line ends; the same for every verb. */
export const ExitCode = {
  /** Done, and what was checked holds. */
  ok: 0,
  /** What was checked does not hold. */
  broken: 1,
  /** The command was not called as it should be, or a setting is wrong. */
  usage: 2,
  /** It holds so far, but the chain does not have it yet. */
  notAnchored: 3,
  /** The chain or the service cannot be reached. */
  unreachable: 4,
  /** It was refused, or failed for another reason. */
  failed: 5,
} as const;

/** The exit code of a command that runs in this process and ended with an error. */
export function exitCodeOf(error: unknown): number {
  const { name } = error as Error;
  if (name === "ConfigError" || name === "Misconfigured") return ExitCode.usage;
  return isChainAway(error) ? ExitCode.unreachable : ExitCode.failed;
}
