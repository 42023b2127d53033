import { startDaemon } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { pythonWithStubs } from "../support/python.js";
import { PYTHON_TOKEN, runPythonTests } from "../support/python-tests.js";

describe("examples/python/trading", function () {
  this.timeout(120_000);

  let python: string;
  let daemon: Daemon;

  before(async function () {
    this.timeout(300_000);
    python = await pythonWithStubs();
    daemon = await startDaemon({ API_TOKENS: PYTHON_TOKEN });
  });

  after(() => daemon?.stop());

  it("records each thing once, and gives it back with its block", async () => {
    await runPythonTests(python, "trading_test.py", daemon, "Trading");
  });

  it("finds the chain valid after a restart, and invalid once the database was altered", async () => {
    await daemon.stop();
    daemon = await startDaemon({ API_TOKENS: PYTHON_TOKEN, DATA_DIR: daemon.dataDir });
    await runPythonTests(python, "trading_test.py", daemon, "AfterARestart");
  });
});
