import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { repositoryRoot } from "../support/repository.js";

const run = promisify(execFile);
const require = createRequire(import.meta.url);

/** The platforms that forge is a dependency for, by Node's name for them and by forge's. */
const PACKAGES: Readonly<Record<string, string>> = {
  "linux-x64": "@foundry-rs/forge-linux-amd64",
};

describe("the contracts under forge", function () {
  this.timeout(120_000);

  it("hold their fuzz and invariant tests", async function () {
    const forge = findForge();
    if (forge === undefined) {
      console.warn("      SKIPPED: forge is not installed, the contracts were not fuzzed");
      expect(mustHaveForge(), "CI must have forge").to.equal(false);
      return this.skip();
    }
    const { stdout } = await run(forge, ["test", "--offline", "--color", "never"], {
      cwd: repositoryRoot,
    }).catch((error: { stdout?: string; stderr?: string }) => {
      throw new Error(`forge test failed\n${error.stdout ?? ""}\n${error.stderr ?? ""}`);
    });
    const [, passed, failed, skipped] = summaryIn(stdout);
    console.log(`      forge: ${passed} tests passed`);
    expect(Number(passed)).to.be.greaterThan(0);
    expect([failed, skipped]).to.deep.equal(["0", "0"]);
  });

  function summaryIn(stdout: string): readonly string[] {
    return /(\d+) tests passed, (\d+) failed, (\d+) skipped \(\d+ total tests\)/.exec(stdout) ?? [];
  }

  function findForge(): string | undefined {
    const name = PACKAGES[platform()];
    if (name === undefined) return undefined;
    try {
      return join(dirname(require.resolve(`${name}/package.json`)), "bin", "forge");
    } catch {
      return undefined;
    }
  }

  function mustHaveForge(): boolean {
    return process.env["CI"] === "true" && platform() in PACKAGES;
  }

  function platform(): string {
    return `${process.platform}-${process.arch}`;
  }
});
