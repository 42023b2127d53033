import { Command } from "commander";
import { messageOf } from "../core/errors.js";
import { ExitCode } from "./exit-code.js";
import { start } from "./start.js";
import { verifyCommand } from "./verify.js";

const program = new Command("anchord")
  .description("An immutable audit trail on an EVM chain.")
  .showHelpAfterError()
  .exitOverride((error) => process.exit(error.exitCode === 0 ? ExitCode.ok : ExitCode.usage));

program
  .command("start")
  .description("Run the service. Settings come from the environment: docs/configuration.md.")
  .action(start);

program.addCommand(verifyCommand());

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`anchord: ${messageOf(error)}\n`);
  process.exit(ExitCode.failed);
}
