import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { GanacheOptions } from "./ganache-process.js";

/** Chain id of the embedded chain. */
const CHAIN_ID = 1337;

/** The program of the process. */
const SCRIPT = "ganache-process.js";

/** How long a Ganache of an earlier run may take to let go of its database. */
const HANDOVER_MS = 15_000;

/** A Ganache that this process has started, or one that another process on the same data has. */
export interface EmbeddedChain {
  /** Address of its RPC. */
  readonly url: string;
  /** The one account with ether: 0x and 64 hex digits. */
  readonly privateKey: string;
  /** Ends it, if it is ours. */
  stop(): Promise<void>;
}

/** Where the running Ganache of a data folder is. */
interface Endpoint {
  readonly url: string;
  readonly pid: number;
}

/** Where the embedded chain is, as the configuration says. */
export interface EmbeddedOptions {
  readonly DATA_DIR: string;
  readonly EMBEDDED_CHAIN_PORT: number;
}

/** The folder that has everything of the embedded chain. */
export function embeddedFolder({ DATA_DIR }: EmbeddedOptions): string {
  return join(DATA_DIR, "chain");
}

/** Starts Ganache on the data folder, or joins the one that runs on it already. */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedChain> {
  const folder = embeddedFolder(options);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const privateKey = embeddedKey(folder);
  const running = await runningEndpoint(folder);
  if (running !== undefined) {
    return { url: running.url, privateKey, stop: async () => undefined };
  }
  const { child, url } = await spawnGanache({
    port: await freePort(options.EMBEDDED_CHAIN_PORT),
    chainId: CHAIN_ID,
    path: join(folder, "blocks"),
    privateKey,
  });
  writeFileSync(endpointFile(folder), JSON.stringify({ url, pid: child.pid }), { mode: 0o600 });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  return {
    url,
    privateKey,
    stop: async () => {
      child.stdin?.end();
      await exited;
      rmSync(endpointFile(folder), { force: true });
    },
  };
}

/** The embedded chain of a data folder where it runs; starts nothing, and waits for nothing. */
export function findEmbedded(options: EmbeddedOptions): Omit<EmbeddedChain, "stop"> | undefined {
  const folder = embeddedFolder(options);
  const endpoint = readEndpoint(folder);
  if (endpoint === undefined || !isAlive(endpoint.pid)) return undefined;
  return { url: endpoint.url, privateKey: readFileSync(keyFile(folder), "utf8").trim() };
}

/** The account's key: made at the first start, for this data folder alone. */
function embeddedKey(folder: string): string {
  const file = keyFile(folder);
  if (!existsSync(file)) {
    writeFileSync(`${file}.new`, `0x${randomBytes(32).toString("hex")}\n`, { mode: 0o600 });
    renameSync(`${file}.new`, file); // whole or not at all
  }
  return readFileSync(file, "utf8").trim();
}

function keyFile(folder: string): string {
  return join(folder, "key");
}

function endpointFile(folder: string): string {
  return join(folder, "endpoint.json");
}

/** The Ganache that another daemon runs on the folder; waits for one that is about to end. */
async function runningEndpoint(folder: string): Promise<Endpoint | undefined> {
  const deadline = Date.now() + HANDOVER_MS;
  for (;;) {
    const endpoint = readEndpoint(folder);
    if (endpoint === undefined || !isAlive(endpoint.pid)) return undefined;
    if (await answers(endpoint.url)) {
      // Its parent may just have died: it then ends within moments, and must not be joined.
      await pause(200);
      if (isAlive(endpoint.pid) && (await answers(endpoint.url))) return endpoint;
    }
    if (Date.now() > deadline) {
      throw new Error(
        `process ${endpoint.pid} holds the embedded chain but does not answer: end it`,
      );
    }
    await pause(100);
  }
}

function readEndpoint(folder: string): Endpoint | undefined {
  try {
    const { url, pid } = JSON.parse(readFileSync(endpointFile(folder), "utf8")) as Endpoint;
    return typeof url === "string" && Number.isInteger(pid) ? { url, pid } : undefined;
  } catch {
    return undefined; // no earlier run, or one that was cut while writing: nothing to join
  }
}

/** Whether a process runs, and is a Ganache of ours as far as the system tells: pids are used again. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false;
  }
  const commandLine = `/proc/${pid}/cmdline`; // Linux alone has it
  return !existsSync(commandLine) || readFileSync(commandLine, "utf8").includes(SCRIPT);
}

async function answers(url: string): Promise<boolean> {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_chainId", params: [] });
  const headers = { "content-type": "application/json" };
  const answer = await fetch(url, {
    method: "POST",
    body,
    headers,
    signal: AbortSignal.timeout(1000),
  }).catch(() => undefined);
  return answer?.ok ?? false;
}

/** The wanted port if nothing has it, else any free one. */
async function freePort(wanted: number): Promise<number> {
  for (const port of [wanted, 0]) {
    const server = createServer();
    const free = await new Promise<number | undefined>((resolve) => {
      server.once("error", () => resolve(undefined));
      server.listen(port, "127.0.0.1", () => {
        const address = server.address();
        resolve(typeof address === "object" ? address?.port : undefined);
      });
    });
    await new Promise((resolve) => server.close(resolve));
    if (free !== undefined) return free;
  }
  throw new Error("no free port on loopback for the embedded chain");
}

/** Starts the process in a group of its own, so that Ctrl-C does not reach it before we drain. */
async function spawnGanache(
  options: GanacheOptions,
): Promise<{ child: ChildProcess; url: string }> {
  const script = fileURLToPath(new URL(`./${SCRIPT}`, import.meta.url));
  const child = spawn(process.execPath, [script, options.path], {
    detached: true,
    stdio: ["pipe", "pipe", "pipe"],
  });
  child.stdin?.write(`${JSON.stringify(options)}\n`); // not as an argument: those are for all to see
  child.stdin?.on("error", () => undefined); // its exit says what went wrong
  let complaint = "";
  child.stderr?.on("data", (data: Buffer) => {
    complaint = (complaint + data.toString()).slice(-2000);
  });
  const started = await new Promise<string | undefined>((resolve) => {
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).once("line", resolve);
    child.once("exit", () => resolve(undefined));
  });
  if (started === undefined) {
    throw new Error(
      "the embedded chain did not start: install the optional packages ganache and truffle, or set " +
        `BLOCKCHAIN_RPC_URL to a node of yours. It said: ${complaint.trim()}`,
    );
  }
  const { port } = JSON.parse(started) as { port: number };
  return { child, url: `http://127.0.0.1:${port}` };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
