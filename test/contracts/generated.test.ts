import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { repositoryRoot } from "../support/repository.js";

const run = promisify(execFile);

describe("gen/contracts", function () {
  this.timeout(60_000);

  it("is what the compiler makes of contracts/ now", async () => {
    await run(process.execPath, ["scripts/gen-contracts.mjs", "--check"], { cwd: repositoryRoot });
  });
});
