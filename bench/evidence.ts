import { randomFillSync } from "node:crypto";
import { closeSync, openSync, readdirSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "../test/support/daemon.js";
import type { Daemon } from "../test/support/daemon.js";
import { middleRound, row } from "./row.js";
import type { Extent, Measurement, Row } from "./row.js";
import { forgetPeak, peakMegabytes, residentMegabytes } from "./support/resident.js";
import { runScript, startScript } from "./support/script.js";
import { startService } from "./support/service.js";

const MIB = 1024 * 1024;
const MEMORY_LIMIT_MB = 200;

/** What a script says of a file that it has moved. */
interface Moved {
  readonly seconds: number;
}

/** Files up and down, against importing and reading the same blocks alone, and what memory that takes. */
export const evidence: Measurement = async (extent) => {
  const rows = await throughput(extent);
  return [...rows, await memory(extent)];
};

async function throughput({ quick }: Extent): Promise<Row[]> {
  const bytes = (quick ? 128 : 512) * MIB;
  const service = await startService();
  const sink = await startScript("sink-server");
  const rounds: Awaited<ReturnType<typeof measureRound>>[] = [];
  for (let i = 0; i < (quick ? 1 : 3); i++) {
    rounds.push(await measureRound(service, sink.line, bytes));
  }
  await service.stop();
  sink.stop();
  const speed = (name: string, kind: keyof (typeof rounds)[number], reach: number) => {
    const middle = middleRound(rounds.map((round) => round[kind]));
    return row({ name, ...middle, unit: "MB/s", reach, better: "higher" });
  };
  return [
    speed("evidence up, gRPC / hashed and imported alone", "grpc", 0.6),
    speed("evidence up, gRPC / bare stream", "bare", 0.6),
    speed("evidence up, HTTP / hashed and imported alone", "http", 0.6),
    speed("evidence down, gRPC / its blocks read and hashed", "down", 0.15),
  ];
}

/** Megabytes a second. Each door has a file of its own: blocks that are there are not written again. */
async function measureRound(service: Daemon, sinkPort: string, bytes: number) {
  const rate = ({ seconds }: Moved) => bytes / 1e6 / seconds;
  const blocks = temporaryFolder();
  const alone = async (file: string) => rate(await runScript<Moved>("import-load", file, blocks));
  const first = randomFile(bytes);
  const imported = await alone(first);
  const read = rate(await runScript<Moved>("blocks-load", blocks));
  const bare = rate(await upload("grpc", sinkPort, first));
  const up = await upload("grpc", service.grpcPort, first);
  const down = rate(await download(service, up.id, bytes));
  rmSync(first);
  empty(blocks);
  const second = randomFile(bytes);
  const importedAgain = await alone(second);
  const http = rate(await upload("http", service.httpPort, second));
  rmSync(second);
  empty(blocks);
  return {
    grpc: { value: rate(up), against: imported },
    bare: { value: rate(up), against: bare },
    http: { value: http, against: importedAgain },
    down: { value: down, against: read },
  };
}

/** Peak memory of the daemon over what it has at rest, while a file goes up and down. */
async function memory({ quick }: Extent): Promise<Row> {
  const size = quick ? 512 : 2048;
  const file = randomFile(size * MIB);
  const service = await startService();
  const idle = residentMegabytes(service.pid);
  forgetPeak(service.pid);
  const { id } = await upload("grpc", service.grpcPort, file);
  await download(service, id, size * MIB);
  const value = peakMegabytes(service.pid) - idle;
  await service.stop();
  rmSync(file);
  const name = `peak memory over idle, ${size.toLocaleString("en")} MiB up and down / limit`;
  return row({ name, value, against: MEMORY_LIMIT_MB, unit: "MB", reach: 1, better: "lower" });
}

function upload(
  door: "grpc" | "http",
  port: string | number,
  file: string,
): Promise<Moved & { readonly id: string }> {
  return runScript("upload-load", door, `127.0.0.1:${port}`, file);
}

function download({ grpcPort }: Daemon, id: string, bytes: number): Promise<Moved> {
  return runScript("download-load", `127.0.0.1:${grpcPort}`, id, bytes);
}

/** A new file of random bytes. Requires a multiple of a MiB. */
function randomFile(bytes: number): string {
  const path = join(temporaryFolder(), "random.bin");
  const descriptor = openSync(path, "w");
  for (let at = 0; at < bytes; at += MIB) writeSync(descriptor, randomFillSync(Buffer.alloc(MIB)));
  closeSync(descriptor);
  return path;
}

function empty(folder: string): void {
  for (const name of readdirSync(folder)) rmSync(join(folder, name));
}
