import { statSync } from "node:fs";

/*
 * Loaded first by each of mocha's processes, which are ended by a signal: what tests have started is stopped
 * when a process exits, which it then does.
 */
process.once("SIGTERM", () => process.exit(1));

/*
 * The programs that tests start are bundled. One that is older than what was compiled would have tests pass,
 * or fail, for code that is not there any more.
 */
const bundled = statSync("dist/bundle/anchord/main.js", { throwIfNoEntry: false });
if ((bundled?.mtimeMs ?? 0) < statSync("dist/.tsbuildinfo").mtimeMs) {
  throw new Error("dist/bundle is older than dist/src: npm run build");
}
