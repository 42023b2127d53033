import { startDaemon } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { pythonWith } from "../support/python.js";
import { PYTHON_TOKEN, runPythonTests } from "../support/python-tests.js";

describe("examples/python/complaints", function () {
  this.timeout(120_000);

  let python: string | undefined;
  let daemon: Daemon | undefined;

  before(async function () {
    this.timeout(300_000);
    python = await pythonWith("django");
    if (python !== undefined) daemon = await startDaemon({ API_TOKENS: PYTHON_TOKEN });
  });

  after(() => daemon?.stop());

  it("records what is saved once, whatever anchord does, and no caller waits for it", async function () {
    if (python === undefined || daemon === undefined) return this.skip();
    await runPythonTests(python, "complaints_test.py", daemon);
  });
});
