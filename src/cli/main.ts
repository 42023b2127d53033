import { readFileSync } from "node:fs";
import { Command } from "commander";
import type { CommanderError } from "commander";
import { messageOf } from "../core/errors.js";
import { COMMANDS } from "./commands.js";
import { ExitCode, exitCodeOf } from "./exit-code.js";
import { afterHelp } from "./help.js";
import { printable } from "./printable.js";

const HELP = afterHelp({
  notes: `Most talk to a running service, which they find by --server and --token, or by ANCHORD_SERVER and
ANCHORD_TOKEN. docs/cli.md says more.`,
  examples: [
    "anchord start",
    `anchord record-event --type door.opened --data '{"door":4}'`,
    "anchord get-audit-trail --limit 20",
    "anchord verify receipt.json --rpc http://127.0.0.1:8545",
  ],
  codes: {
    ok: "done, and what was checked holds",
    broken: "what was checked does not hold",
    usage: "usage or settings",
    notAnchored: "not anchored yet",
    unreachable: "the chain or the service cannot be reached",
    failed: "refused or failed",
  },
});

/** Commander ends for help and for wrong arguments: 1 would say that something does not hold. */
function endUsage({ exitCode }: CommanderError): never {
  process.exit(exitCode === 0 ? ExitCode.ok : ExitCode.usage);
}

/** Adds the command of this name, or all where there is none, to help or to suggest one. */
async function addCommands(program: Command, called: string): Promise<void> {
  const isKnown = Object.values(COMMANDS).some((group) => Object.hasOwn(group, called));
  for (const [heading, group] of Object.entries(COMMANDS)) {
    for (const [name, load] of Object.entries(group)) {
      if (name === called || !isKnown) program.addCommand((await load()).helpGroup(heading));
    }
  }
}

/** Gives commands what they do not inherit by themselves where their parent has not made them. */
function adopt(parent: Command): void {
  for (const command of parent.commands) {
    adopt(command.copyInheritedSettings(parent).helpCommand(false));
  }
}

function version(): string {
  const file = new URL("../../../package.json", import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}

/** What was typed; `help` before the name of a command, or within it, is that command with --help. */
function typed(): string[] {
  const at = words.indexOf("help");
  const names = words.filter((_, i) => i !== at);
  if (at === 0 ? names.length === 0 : at !== 1 || !hasCommands(words[0])) return words;
  return isCommand(names) ? [...names, "--help"] : names;
}

function hasCommands(name: string | undefined): boolean {
  return program.commands.some((each) => each.name() === name && each.commands.length > 0);
}

/** Whether there is a command of these names; one that has no others below it is not asked about its arguments. */
function isCommand(names: readonly string[]): boolean {
  let command: Command | undefined = program;
  for (const name of names) {
    if (command.commands.length === 0) return true;
    command = command.commands.find((each) => each.name() === name);
    if (command === undefined) return false;
  }
  return true;
}

const words = process.argv.slice(2);
const program = new Command("anchord")
  .description("An immutable audit trail on an EVM chain.")
  .version(version())
  .configureHelp({ subcommandTerm: (command) => command.name() })
  .addHelpCommand(
    new Command("help")
      .argument("[command...]")
      .description("Show this, or the help of a command."),
  )
  .showHelpAfterError("(add --help to see what it takes)")
  .addHelpText("after", HELP)
  .exitOverride(endUsage);
await addCommands(program, words.find((word) => word !== "help") ?? "");
adopt(program);

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // Whoever read has gone, as `head` does: that is no failure.
  if (error.code === "EPIPE") process.exit(process.exitCode ?? ExitCode.ok);
  process.stderr.write(`anchord: ${messageOf(error)}\n`);
  process.exit(ExitCode.failed);
});

try {
  await program.parseAsync(typed(), { from: "user" });
} catch (error) {
  process.stderr.write(`anchord: ${printable(messageOf(error))}\n`);
  process.exit(exitCodeOf(error));
}
