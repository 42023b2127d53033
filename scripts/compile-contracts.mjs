/**
 * Compiles contracts/ with the settings of truffle-config.js, without Truffle's artifacts.
 * Run by itself it prints `{ "AuditLog": { "abi": […], "bytecode": "0x…" }, … }`.
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import config from "../truffle-config.js";

const root = join(import.meta.dirname, "..");

/** Every contract and interface of ours by name. Throws where the compiler finds anything to say. */
export function compileContracts() {
  const { contracts } = runSolc(standardInput(sourceFiles()));
  const compiled = {};
  for (const [file, byName] of Object.entries(contracts)) {
    if (!file.startsWith("contracts/")) continue;
    for (const [name, { abi, evm }] of Object.entries(byName)) {
      compiled[name] = { abi, bytecode: `0x${evm.bytecode.object}` };
    }
  }
  return compiled;
}

function sourceFiles() {
  const files = readdirSync(join(root, "contracts"), { recursive: true });
  return files.filter((file) => file.endsWith(".sol")).map((file) => `contracts/${file}`);
}

function standardInput(files) {
  const sources = files.sort().map((file) => [file, { content: read(file) }]);
  return {
    language: "Solidity",
    sources: Object.fromEntries(sources),
    settings: {
      ...config.compilers.solc.settings,
      outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } },
    },
  };
}

function read(file) {
  return readFileSync(join(root, file), "utf8");
}

function runSolc(input) {
  const { status, stdout } = spawnSync(
    process.execPath,
    [join(import.meta.dirname, "solc.mjs"), "--standard-json"],
    { input: JSON.stringify(input), stdio: ["pipe", "pipe", "inherit"], maxBuffer: 2 ** 28 },
  );
  if (status !== 0) throw new Error(`the compiler ended with status ${status}`);
  const output = JSON.parse(stdout.toString());
  const messages = output.errors ?? [];
  if (messages.length > 0) throw new Error(messages.map((it) => it.formattedMessage).join("\n"));
  return output;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  process.stdout.write(JSON.stringify(compileContracts()));
}
