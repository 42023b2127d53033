import { execFileSync } from "node:child_process";
import { repositoryRoot } from "./repository.js";

let compiled: Readonly<Record<string, { readonly bytecode: string }>> | undefined;

/** What the compiler makes of a contract of contracts/ now. */
export function bytecodeOf(name: string): string {
  compiled ??= compile();
  return compiled[name]?.bytecode ?? "";
}

function compile() {
  const output = execFileSync(process.execPath, ["scripts/compile-contracts.mjs"], {
    cwd: repositoryRoot,
    maxBuffer: 2 ** 26,
  });
  return JSON.parse(output.toString()) as Record<string, { bytecode: string }>;
}
