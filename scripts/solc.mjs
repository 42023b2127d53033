#!/usr/bin/env node
/**
 * The solc package behind the command line of the native compiler, as far as forge and
 * compile-contracts.mjs need it: `--version`, and `--standard-json` from stdin to stdout.
 *
 * A process of its own on purpose: the compiler, once loaded, throws on any unhandled rejection.
 */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(import.meta.url);
const root = join(import.meta.dirname, "..");

function main(args) {
  if (args.includes("--version")) return printVersion();
  if (args.includes("--standard-json")) return compile();
  console.error("usage: solc.mjs --version | --standard-json < input.json > output.json");
  process.exitCode = 2;
}

function printVersion() {
  console.log("solc, the solidity compiler commandline interface");
  console.log(`Version: ${require("solc").version()}`);
}

function compile() {
  const input = readFileSync(0, "utf8");
  process.stdout.write(require("solc").compile(input, { import: readImport }));
}

/** Looks for what the input does not have in this package and among its dependencies. */
function readImport(path) {
  const file = [join(root, path), join(root, "node_modules", path)].find((it) => existsSync(it));
  return file ? { contents: readFileSync(file, "utf8") } : { error: `${path} was not found` };
}

main(process.argv.slice(2));
