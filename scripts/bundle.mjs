// Puts what bin/anchord.js runs, with the packages that it uses, into a few files: dist/bundle.
import { rmSync, statSync } from "node:fs";
import { build } from "esbuild";

const BUNDLE = "dist/bundle/anchord"; // as deep as the folders of dist/src, for paths to the repository
const COMPILED = "dist/.tsbuildinfo";

/** The programs: the command line, and what it starts in threads and processes of their own. */
const ENTRIES = ["cli/main", "store/sqlite-worker", "flow/nonce-worker", "chain/ganache-process"];

/** Packages that read files of their own, are native, or may be absent. */
const APART = ["@grpc/*", "grpc-health-check", "libsql", "ganache", "truffle"];

/** CommonJS packages expect it; under a name that no package has. */
const REQUIRE =
  'import { createRequire as $createRequire } from "node:module"; const require = $createRequire(import.meta.url);';

const changedAt = (file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;

if (
  changedAt(`${BUNDLE}/main.js`) < Math.max(changedAt(COMPILED), changedAt("package-lock.json"))
) {
  rmSync(BUNDLE, { recursive: true, force: true }); // names of chunks change with their content
  await build({
    entryPoints: ENTRIES.map((path) => ({ in: `dist/src/${path}.js`, out: path.split("/")[1] })),
    outdir: BUNDLE,
    bundle: true,
    splitting: true,
    platform: "node",
    format: "esm",
    target: "node20",
    external: APART,
    banner: { js: REQUIRE },
    logLevel: "warning",
  });
}
