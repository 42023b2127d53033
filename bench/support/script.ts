import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** Runs a script of this folder in a process of its own, and parses the JSON that it prints. */
export async function runScript<T>(
  name: string,
  ...args: readonly (string | number)[]
): Promise<T> {
  const child = launch(name, args);
  let output = "";
  child.stdout?.on("data", (data: Buffer) => (output += data.toString()));
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  if (code !== 0) throw new Error(`${name} ended with ${code}`);
  return JSON.parse(output) as T;
}

/** A script that runs until it is stopped. */
export interface RunningScript {
  /** The line that it printed when it was ready. */
  readonly line: string;
  stop(): void;
}

/** Starts a script of this folder, and waits for its first line. */
export async function startScript(
  name: string,
  ...args: readonly (string | number)[]
): Promise<RunningScript> {
  const child = launch(name, args);
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).once("line", resolve);
    child.once("exit", (code) => reject(new Error(`${name} ended with ${code}`)));
  });
  return { line, stop: () => child.stdin?.end() };
}

function launch(name: string, args: readonly (string | number)[]): ChildProcess {
  const script = fileURLToPath(new URL(`./${name}.js`, import.meta.url));
  return spawn(process.execPath, [script, ...args.map(String)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
}
