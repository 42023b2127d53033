import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { startDaemon } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { pythonWithStubs } from "../support/python.js";
import { repositoryRoot } from "../support/repository.js";
import { run } from "../support/run.js";

const TOKEN = "correct-horse";

describe("examples/python/backend.py", function () {
  this.timeout(60_000);

  let python: string;
  let daemon: Daemon;
  let folder: string;

  before(async function () {
    this.timeout(300_000);
    python = await pythonWithStubs();
    folder = await mkdtemp(join(tmpdir(), "anchord-python-example-"));
    daemon = await startDaemon({ API_TOKENS: TOKEN });
  });

  after(async () => {
    await daemon?.stop();
    await rm(folder, { recursive: true });
  });

  const backend = (...args: string[]) =>
    run(python, [
      "examples/python/backend.py",
      "--server",
      `localhost:${daemon.grpcPort}`,
      ...args,
    ]);

  it("records, waits for the receipt, and writes what every verifier accepts", async () => {
    const file = join(folder, "receipt.json");
    const { code, stdout, stderr } = await backend("--token", TOKEN, "--out", file);
    expect(code, stderr).to.equal(0);
    const [, recordId = ""] = /^accepted ([0-9a-f]{64}) in [0-9.]+ ms$/m.exec(stdout) ?? [];
    expect(recordId).to.have.lengthOf(64);
    const contract = /--contract (0x[0-9a-f]{40})/.exec(stdout)?.[1] ?? "";
    const trusted = ["--rpc", daemon.rpcUrl, "--chain-id", "1337", "--contract", contract];

    for (const [command, verifier] of [
      ["python3", "examples/verify.py"],
      [process.execPath, join(repositoryRoot, "bin/anchord.js")],
    ] as const) {
      const verb = command === process.execPath ? ["verify"] : [];
      const checked = await run(command, [verifier, ...verb, file, ...trusted]);
      expect(checked.code, checked.stdout + checked.stderr).to.equal(0);
      expect(checked.stdout).to.include(recordId).and.to.include("user/42");

      const text = await readFile(file, "utf8");
      const forged = text.replace(
        /"root": "./,
        (start) => start.slice(0, -1) + (start.endsWith("A") ? "B" : "A"),
      );
      expect(forged).not.to.equal(text);
      const refused = await run(command, [verifier, ...verb, "-", ...trusted], forged);
      expect(refused.code, refused.stdout + refused.stderr).to.equal(1);
    }
  });

  it("says what is wrong where its token is not known", async () => {
    const { code, stderr } = await backend("--token", "wrong", "--out", join(folder, "none.json"));
    expect(code).to.equal(1);
    expect(stderr).to.include("UNAUTHENTICATED").and.to.include("API_TOKENS");
  });
});
