// Generates everything anew and fails where that differs from what is committed.
import { execFileSync, spawnSync } from "node:child_process";

const installed = (command) => spawnSync(command, ["--version"]).error === undefined;
const run = (...args) => execFileSync(args[0], args.slice(1), { stdio: "inherit" });

run("npm", "run", "gen");
if (["protoc", "protoc-gen-mypy", "grpc_python_plugin"].every(installed))
  run("npm", "run", "gen:python");
else if (process.env.CI === "true")
  throw new Error("protoc and its Python plugins are not installed");
else console.error("SKIPPED: the Python stubs are not checked, as protoc or a plugin is missing");
run("node", "scripts/gen-vectors.mjs");
run("node", "scripts/gen-certificate-vectors.mjs");

const changed = execFileSync("git", ["status", "--porcelain", "gen", "docs"]).toString();
if (changed !== "") {
  console.error(`generated files are out of date: run npm run gen and commit\n${changed}`);
  process.exit(1);
}
