import { startDaemon } from "../../test/support/daemon.js";
import type { Daemon } from "../../test/support/daemon.js";
import { runScript } from "./script.js";

/** Starts a daemon with the settings that users get, save for free ports and a folder of its own. */
export function startService(environment: Record<string, string> = {}): Promise<Daemon> {
  return startDaemon({ POLL_INTERVAL_MS: "500", LOG_LEVEL: "warn", ...environment });
}

/** Waits until nothing is pending: every record is on the chain. */
export async function settled({ grpc }: Daemon): Promise<void> {
  let pending = 1n;
  while (pending > 0n) ({ pending } = await grpc.sealNow({}));
  const stats = await grpc.getStats({});
  if (stats.pending !== 0n) throw new Error(`${stats.pending} records are still pending`);
}

/** What streaming records came to. */
export interface Streamed {
  /** From the first write to the last acknowledgement. */
  readonly seconds: number;
  readonly records: number;
  /** One of them. */
  readonly someId: string;
}

/** Streams records of 200 bytes through RecordEvents, 500 a message. */
export function streamRecords({ grpcPort }: Daemon, records: number): Promise<Streamed> {
  return runScript("stream-load", `127.0.0.1:${grpcPort}`, records);
}
