import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import type { Client } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { AuditService } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { EventService } from "../../gen/ts/anchord/v1/event_service_pb.js";
import { repositoryRoot } from "./repository.js";

/** A daemon that runs as users run it: bin/anchord.js in a process of its own. */
export interface Daemon {
  readonly pid: number;
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly rpcUrl: string;
  readonly dataDir: string;
  /** A client of the gRPC door. */
  readonly grpc: Client<typeof AuditService>;
  /** A client of the HTTP door: JSON over HTTP/1.1. */
  readonly http: Client<typeof AuditService>;
  /** Clients of the event stream, one for each door. */
  readonly events: Readonly<Record<"grpc" | "http", Client<typeof EventService>>>;
  /** Address of the HTTP door. */
  readonly url: string;
  /** What it has written to standard error so far. */
  log(): string;
  /** Resolves to its exit code once it has ended. */
  readonly ended: Promise<number | null>;
  /** Interrupts it as Ctrl-C does, and waits until it has ended. */
  stop(): Promise<number | null>;
  /** Kills it with SIGKILL, and waits until it has ended. */
  kill(): Promise<void>;
}

/** A new folder that is removed when the tests end. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "anchord-test-"));
  folders.push(folder);
  return folder;
}

const folders: string[] = [];
process.once("exit", () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

let template: Promise<string> | undefined;

/**
 * A data folder whose embedded chain has its contracts already, so that a test need not wait for them:
 * a copy of one that was started and stopped once.
 */
export async function migratedDataDir(): Promise<string> {
  template ??= makeTemplate();
  const folder = temporaryFolder();
  cpSync(await template, folder, { recursive: true });
  return folder;
}

async function makeTemplate(): Promise<string> {
  const daemon = await startDaemon({ DATA_DIR: temporaryFolder() });
  await daemon.stop();
  return daemon.dataDir;
}

const STARTED = /gRPC on (\d+), HTTP on (\d+), chain at (\S+)\. Try:/;

/** Every daemon that still runs: none may outlive the tests. */
const running = new Set<number>();
process.once("exit", () => {
  for (const pid of running) process.kill(pid, "SIGKILL");
});

/**
 * Starts a daemon on free ports, off the IPFS network unless told, since that takes a third of its start.
 * Without DATA_DIR it gets a data folder with a migrated chain. It runs in the folder `cwd`, where one is given.
 */
export async function startDaemon(
  environment: Record<string, string> = {},
  { cwd }: { readonly cwd?: string } = {},
): Promise<Daemon> {
  const dataDir = environment["DATA_DIR"] ?? (await migratedDataDir());
  const child = spawn(process.execPath, [join(repositoryRoot, "bin/anchord.js"), "start"], {
    env: {
      PATH: process.env["PATH"],
      HOME: process.env["HOME"],
      GRPC_PORT: "0",
      PORT: "0",
      EMBEDDED_CHAIN_PORT: "0",
      POLL_INTERVAL_MS: "50",
      ...(environment["IPFS_API_URL"] === undefined ? { IPFS_LISTEN: "none" } : {}),
      ...environment,
      DATA_DIR: dataDir,
    },
    cwd,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const pid = child.pid as number;
  running.add(pid);
  let output = "";
  let log = "";
  const ended = new Promise<number | null>((resolve) => {
    child.once("exit", (code) => {
      running.delete(pid);
      resolve(code);
    });
  });
  child.stderr.on("data", (data: Buffer) => (log += data.toString()));
  const [, grpcPort, httpPort, rpcUrl = ""] = await new Promise<RegExpExecArray>(
    (resolve, reject) => {
      child.stdout.on("data", (data: Buffer) => {
        output += data.toString();
        const match = STARTED.exec(output);
        if (match !== null) resolve(match);
      });
      void ended.then((code) =>
        reject(new Error(`the daemon ended with ${code}: ${output}${log}`)),
      );
    },
  );
  const url = `http://127.0.0.1:${httpPort}`;
  const grpc = createGrpcTransport({ baseUrl: `http://127.0.0.1:${grpcPort}` });
  const http = createConnectTransport({ baseUrl: url, httpVersion: "1.1", useBinaryFormat: false });
  return {
    pid,
    grpcPort: Number(grpcPort),
    httpPort: Number(httpPort),
    rpcUrl,
    dataDir,
    grpc: createClient(AuditService, grpc),
    http: createClient(AuditService, http),
    events: { grpc: createClient(EventService, grpc), http: createClient(EventService, http) },
    url,
    log: () => log,
    ended,
    stop: () => {
      child.kill("SIGINT");
      return ended;
    },
    kill: async () => {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Runs a daemon that is expected to refuse to start. Resolves to its exit code and what it said. */
export async function startFails(
  environment: Record<string, string>,
): Promise<{ readonly code: number | null; readonly output: string }> {
  try {
    const daemon = await startDaemon(environment);
    await daemon.stop();
  } catch (error) {
    const [, code = "", output = ""] =
      /ended with (\S+): ([^]*)/.exec((error as Error).message) ?? [];
    return { code: code === "null" ? null : Number(code), output };
  }
  throw new Error("the daemon started");
}
