import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { connect, deployAuditLog } from "./audit-log.js";
import type { AuditLog } from "./audit-log.js";
import { deployEvidenceRegistry } from "./evidence-registry.js";
import type { EvidenceRegistry } from "./evidence-registry.js";
import { startGanache } from "./ganache.js";
import type { GanacheOptions } from "./ganache.js";
import { repositoryRoot } from "./repository.js";
import { deploySLARegistry } from "./sla-registry.js";
import type { SLARegistry } from "./sla-registry.js";

/** A chain of the tests' own with the contracts on it, for daemons that are told of an external node. */
export interface ExternalChain {
  readonly url: string;
  readonly auditLog: AuditLog;
  /** Address of AuditLog: 0x and 40 lower-case hex digits. */
  readonly contract: string;
  readonly registry: EvidenceRegistry;
  /** Address of EvidenceRegistry: 0x and 40 lower-case hex digits. */
  readonly evidence: string;
  readonly slaRegistry: SLARegistry;
  /** Address of SLARegistry: 0x and 40 lower-case hex digits. */
  readonly sla: string;
  /** Unlocked: may grant and revoke the roles. */
  readonly admin: string;
  /** The account that daemons seal, anchor and manage deadlines with. */
  readonly sealer: string;
  /** The settings of a daemon that seals there. */
  readonly environment: Readonly<Record<string, string>>;
  /** Calls a method of the node. */
  rpc<T>(method: string, ...params: readonly unknown[]): Promise<T>;
  /** Mines so many empty blocks. */
  mine(blocks: number): Promise<void>;
  /** Kills the node. */
  stop(): Promise<void>;
}

/** A node that runs: Ganache and anvil have the same ten accounts. */
interface Node {
  readonly url: string;
  readonly accounts: readonly string[];
  readonly privateKeys: readonly string[];
  stop(): Promise<void>;
}

/** Starts a Ganache and deploys the contracts. */
export async function startExternalChain(options: GanacheOptions = {}): Promise<ExternalChain> {
  return withContracts(await startGanache(options));
}

/** The file of anvil, where the optional package is installed. */
export function anvilBinary(): string | undefined {
  const file = join(repositoryRoot, "node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil");
  return existsSync(file) ? file : undefined;
}

/** Starts an anvil, with further options of its own, and deploys the contracts. Requires its binary. */
export async function startAnvilChain(options: readonly string[] = []): Promise<ExternalChain> {
  const binary = anvilBinary();
  if (binary === undefined) throw new Error("anvil is not installed");
  const mnemonic = "test test test test test test test test test test test junk";
  const all = ["--port", "0", "--chain-id", "1337", "--mnemonic", mnemonic, ...options];
  const child = spawn(binary, all, { stdio: ["ignore", "pipe", "inherit"] });
  process.once("exit", () => child.kill("SIGKILL"));
  const accounts: string[] = [];
  const privateKeys: string[] = [];
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const url = await new Promise<string>((resolve, reject) => {
    void ended.then(() => reject(new Error("anvil ended before it listened")));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const account = /^\(\d+\) (0x[0-9a-fA-F]{40}) /.exec(line)?.[1];
      const key = /^\(\d+\) (0x[0-9a-f]{64})$/.exec(line)?.[1];
      const address = /^Listening on (\S+)/.exec(line)?.[1];
      if (account !== undefined) accounts.push(account.toLowerCase());
      if (key !== undefined) privateKeys.push(key);
      if (address !== undefined) resolve(`http://${address}`);
    });
  });
  const stop = () => {
    child.kill("SIGKILL");
    return ended;
  };
  return withContracts({ url, accounts, privateKeys, stop });
}

async function withContracts({ url, accounts, privateKeys, stop }: Node): Promise<ExternalChain> {
  const [admin = "", sealer = ""] = accounts;
  const web3 = connect(url);
  const auditLog = await deployAuditLog(web3, admin, sealer);
  const contract = auditLog.options.address?.toLowerCase() ?? "";
  const registry = await deployEvidenceRegistry(web3, admin, sealer);
  const evidence = registry.options.address?.toLowerCase() ?? "";
  const slaRegistry = await deploySLARegistry(web3, admin, sealer);
  const sla = slaRegistry.options.address?.toLowerCase() ?? "";
  const rpc = <T>(method: string, ...params: readonly unknown[]) => callRpc<T>(url, method, params);
  return {
    url,
    auditLog,
    contract,
    registry,
    evidence,
    slaRegistry,
    sla,
    admin,
    sealer,
    environment: environmentFor(url, { contract, evidence, sla }, privateKeys[1] ?? ""),
    rpc,
    mine: async (blocks) => {
      for (let i = 0; i < blocks; i++) await rpc("evm_mine");
    },
    stop,
  };
}

/** The settings of a daemon that seals on an external chain. */
function environmentFor(
  url: string,
  { contract, evidence, sla }: Pick<ExternalChain, "contract" | "evidence" | "sla">,
  privateKey: string,
) {
  return {
    BLOCKCHAIN_RPC_URL: url,
    BLOCKCHAIN_CONTRACT_ADDRESS: contract,
    EVIDENCE_CONTRACT_ADDRESS: evidence,
    SLA_CONTRACT_ADDRESS: sla,
    PRIVATE_KEY: privateKey,
    LOG_LEVEL: "error",
  };
}

async function callRpc<T>(url: string, method: string, params: readonly unknown[]): Promise<T> {
  const answer = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
  });
  const { result, error } = (await answer.json()) as { result?: T; error?: { message: string } };
  if (error !== undefined) throw new Error(`${method}: ${error.message}`);
  return result as T;
}
