import { expect } from "chai";
import type { Daemon } from "./daemon.js";
import { run } from "./run.js";

/** The access token of the daemons that Python's tests speak with. */
export const PYTHON_TOKEN = "correct-horse";

/** Runs a file of Python's unittest in test/examples/python against a daemon, and fails with what it printed. */
export async function runPythonTests(
  python: string,
  file: string,
  daemon: Daemon,
  ...args: readonly string[]
): Promise<void> {
  const { code, stdout, stderr } = await run("env", [
    "PYTHONDONTWRITEBYTECODE=1",
    `ANCHORD_SERVER=127.0.0.1:${daemon.grpcPort}`,
    `ANCHORD_TOKEN=${PYTHON_TOKEN}`,
    `ANCHORD_DATA=${daemon.dataDir}`,
    python,
    `test/examples/python/${file}`,
    ...args,
  ]);
  expect(code, `${stdout}${stderr}`).to.equal(0);
  const [, count] = /^Ran (\d+) tests? in/m.exec(stderr) ?? [];
  expect(Number(count), stderr).to.be.above(0);
}
