import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** Where the contracts were deployed: 0x and 40 lower-case hex digits each. */
export interface Deployment {
  /** Address of AuditLog. */
  readonly contract: string;
  /** Address of EvidenceRegistry. */
  readonly evidence: string;
  /** Address of SLARegistry. */
  readonly sla: string;
}

/** Compiling and deploying take seconds; a minute or two on a busy machine. */
const TIMEOUT_MS = 180_000;

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

/** Where Truffle's artifacts in a folder have the contracts on a chain; undefined where one is missing. */
export function readDeployment(buildDir: string, chainId: bigint): Deployment | undefined {
  const contract = addressOf("AuditLog", buildDir, chainId);
  const evidence = addressOf("EvidenceRegistry", buildDir, chainId);
  const sla = addressOf("SLARegistry", buildDir, chainId);
  if (contract === undefined || evidence === undefined || sla === undefined) return undefined;
  return { contract, evidence, sla };
}

function addressOf(name: string, buildDir: string, chainId: bigint): string | undefined {
  const file = join(buildDir, `${name}.json`);
  if (!existsSync(file)) return undefined;
  const { networks } = JSON.parse(readFileSync(file, "utf8")) as {
    networks: Record<string, { address: string } | undefined>;
  };
  return networks[chainId.toString()]?.address.toLowerCase();
}

/**
 * Runs Truffle's migrations against a node, which deploy what is not there yet; the key's account pays,
 * and gets every role.
 */
export async function runMigrations(
  rpcUrl: string,
  buildDir: string,
  privateKey: string,
): Promise<void> {
  const truffle = createRequire(import.meta.url).resolve("truffle/build/cli.bundled.js");
  const child = spawn(process.execPath, [truffle, "migrate", "--network", "anchord"], {
    cwd: ROOT,
    env: {
      ...process.env,
      BLOCKCHAIN_RPC_URL: rpcUrl,
      TRUFFLE_BUILD_DIR: resolve(buildDir), // Truffle runs elsewhere
      PRIVATE_KEY: privateKey,
      XDG_CONFIG_HOME: resolve(buildDir), // Truffle hangs where it cannot write its configuration
    },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: TIMEOUT_MS,
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (data: Buffer) => (output = (output + data.toString()).slice(-4000)));
  }
  const code = await new Promise<number | null>((end) => child.once("exit", end));
  if (code !== 0) throw new Error(`the contracts could not be migrated: ${output.trim()}`);
}
