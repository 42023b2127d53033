import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** What may differ from one throwaway chain to the next. */
export interface GanacheOptions {
  /** Port on 127.0.0.1; a free one unless told. */
  readonly port?: number;
  /** Folder that keeps the chain from one start to the next; in memory unless told. */
  readonly dbPath?: string;
  /** Seconds between blocks; 0, the default, mines each transaction at once. */
  readonly blockTime?: number;
}

/** Where a chain is to be reached, and who has its money. */
export interface GanacheReady {
  readonly url: string;
  /** Unlocked and funded; the same ten on every chain. */
  readonly accounts: readonly string[];
  /** The key of each account, 0x and 64 hex digits. */
  readonly privateKeys: readonly string[];
}

/** A running chain. */
export interface TestChain extends GanacheReady {
  /** Kills it; resolves once it is gone. */
  stop(): Promise<void>;
}

/** Chain id and network id of every chain that startGanache starts. */
export const GANACHE_CHAIN_ID = 1337n;

/** Starts a chain in a process of its own, which ends with this one however this one ends. */
export async function startGanache(options: GanacheOptions = {}): Promise<TestChain> {
  const child = fork(
    fileURLToPath(new URL("./ganache-child.js", import.meta.url)),
    [JSON.stringify(options)],
    { execArgv: [], stdio: ["ignore", "ignore", "inherit", "ipc"] },
  );
  const ready = await firstMessage(child);
  child.unref();
  child.channel?.unref();
  return { ...ready, stop: () => kill(child) };
}

async function firstMessage(child: ChildProcess): Promise<GanacheReady> {
  return new Promise((resolve, reject) => {
    child.once("message", (message) => resolve(message as GanacheReady));
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`Ganache ended with status ${code}`)));
  });
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.ref();
  const exit = once(child, "exit");
  child.kill("SIGKILL");
  await exit;
}
