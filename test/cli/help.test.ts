import { expect } from "chai";
import { CommanderError } from "commander";
import type { Command } from "commander";
import { COMMANDS } from "../../src/cli/commands.js";
import { run } from "../support/run.js";

/** What a command prints when it is called with --help, and its exit code. */
async function help(command: Command): Promise<{ readonly code: number; readonly text: string }> {
  let text = "";
  command.exitOverride().configureOutput({ writeOut: (piece) => (text += piece) });
  try {
    await command.parseAsync(["--help"], { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) return { code: error.exitCode, text };
    throw error;
  }
  throw new Error(`${command.name()} --help has run the command`);
}

describe("the help of the command line", () => {
  it("has all commands, each by a line", async () => {
    const { code, stdout, stderr } = await run(process.execPath, ["bin/anchord.js", "--help"]);
    expect([code, stderr]).to.deep.equal([0, ""]);
    expect(stdout).to.match(/Examples:[^]*Exit codes:\n {2}0 {2}done/);
    for (const name of Object.values(COMMANDS).flatMap((group) => Object.keys(group))) {
      expect(stdout).to.match(new RegExp(`^  ${name} +[A-Z]`, "m"));
    }
  });

  it("of a command is asked for by help, before its name or within it", async () => {
    const anchord = (...args: string[]) => run(process.execPath, ["bin/anchord.js", ...args]);
    const upload = await anchord("help", "evidence", "upload");
    expect(upload.stdout).to.match(/^Usage: anchord evidence upload/);
    expect(await anchord("evidence", "help", "upload")).to.deep.equal(upload);
    for (const names of [["nosuch"], ["evidence", "nosuch"]]) {
      const { code, stdout, stderr } = await anchord("help", ...names);
      expect([code, stdout]).to.deep.equal([2, ""]);
      expect(stderr).to.include("unknown command 'nosuch'");
    }
  });

  for (const [name, load] of Object.values(COMMANDS).flatMap((group) => Object.entries(group))) {
    it(`of ${name} has examples, and what each exit code means`, async () => {
      const command = await load();
      for (const each of [command, ...command.commands]) {
        const { code, text } = await help(each);
        expect(code).to.equal(0);
        expect(text, each.name()).to.match(/\nExamples:\n {2}\S[^]*\nExit codes:\n {2}0 {2}\S/);
      }
    });
  }
});
