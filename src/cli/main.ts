import { Command } from "commander";
import type { CommanderError } from "commander";
import { messageOf } from "../core/errors.js";
import { checkSlaCommand } from "./check-sla.js";
import { ExitCode } from "./exit-code.js";
import { listenCommand } from "./listen.js";
import { printable } from "./printable.js";
import { rebuildCommand } from "./rebuild.js";
import { slaCommand } from "./sla.js";
import { start } from "./start.js";
import { syncCommand } from "./sync.js";
import { verifyCommand } from "./verify.js";

/** Commander ends for help and for wrong arguments: 1 would say that something does not hold. */
function endUsage({ exitCode }: CommanderError): never {
  process.exit(exitCode === 0 ? ExitCode.ok : ExitCode.usage);
}

const program = new Command("anchord")
  .description("An immutable audit trail on an EVM chain.")
  .showHelpAfterError()
  .exitOverride(endUsage);

program
  .command("start")
  .description("Run the service. Settings come from the environment: docs/configuration.md.")
  .action(start);

for (const command of [
  verifyCommand(),
  listenCommand(),
  slaCommand(),
  checkSlaCommand(),
  syncCommand(),
  rebuildCommand(),
]) {
  for (const each of [command, ...command.commands]) each.exitOverride(endUsage);
  program.addCommand(command);
}

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`anchord: ${printable(messageOf(error))}\n`);
  process.exit(ExitCode.failed);
}
