import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Client, credentials } from "@grpc/grpc-js";
import {
  StartPoint,
  SubscribeEventsRequestSchema,
  SubscribeEventsResponseSchema,
} from "../gen/ts/anchord/v1/event_service_pb.js";
import { temporaryFolder } from "../test/support/daemon.js";
import type { Daemon } from "../test/support/daemon.js";
import { middleRound, row } from "./row.js";
import type { Extent, Measurement, Row } from "./row.js";
import { residentMegabytes } from "./support/resident.js";
import { runScript, startScript } from "./support/script.js";
import { settled, startService, streamRecords } from "./support/service.js";

const PATH = "/anchord.v1.EventService/SubscribeEvents";

/** Subscribers, and the messages that each reads: few enough that a round takes some seconds. */
const ROUNDS = [
  { subscribers: 1, messages: 400, reach: 0.05 },
  { subscribers: 100, messages: 100, reach: 0.5 },
  { subscribers: 1_000, messages: 10, reach: 0.5 },
] as const;

/** Enough that what the daemon keeps of the log's end is not what a subscriber reads first. */
const RECORDS = 100_000;

const IDLE = 1_000;
const IDLE_LIMIT_KB = 100;

/** Events a second from a backlog, against a server that only sends the same messages; idle subscribers. */
export const events: Measurement = async (extent) => {
  const service = await startService();
  const idle = await idleMemory(service); // first: what a daemon has used once, it keeps
  await streamRecords(service, RECORDS);
  await settled(service);
  const rows: Row[] = [];
  for (const round of ROUNDS) rows.push(await compare(service, round, extent));
  await service.stop();
  return [...rows, idle];
};

async function compare(
  service: Daemon,
  { subscribers, messages, reach }: (typeof ROUNDS)[number],
  { quick }: Extent,
): Promise<Row> {
  const file = join(temporaryFolder(), "messages");
  const captured = await capture(service, messages);
  writeFileSync(file, Buffer.concat(captured.flatMap((bytes) => [lengthOf(bytes), bytes])));
  const delivered = subscribers * captured.reduce((sum, bytes) => sum + eventsIn(bytes), 0);
  const rounds: { value: number; against: number }[] = [];
  for (let i = 0; i < (quick ? 1 : 3); i++) {
    const bare = await startScript("replay-server", file);
    const rate = async (port: string | number, path: string, request: Uint8Array) => {
      const hex = Buffer.from(request).toString("hex");
      const args = [`127.0.0.1:${port}`, path, hex, subscribers, messages];
      return delivered / (await runScript<number>("subscribe-load", ...args));
    };
    const against = await rate(bare.line, "/bench.Replay/Replay", new Uint8Array());
    bare.stop();
    await capture(service, Infinity); // what the daemon keeps is then the log's end, not its start
    const value = await rate(service.grpcPort, PATH, requestBytes(StartPoint.START));
    rounds.push({ value, against });
  }
  const whom = `${subscribers.toLocaleString("en")} subscriber${subscribers === 1 ? "" : "s"}`;
  const name = `events to ${whom} / bare stream`;
  return row({ name, ...middleRound(rounds), unit: "events/s", reach, better: "higher" });
}

/** The first messages of a stream from START on, or as many as there are. */
async function capture({ grpcPort, grpc }: Daemon, most: number): Promise<Buffer[]> {
  const { records, batches } = await grpc.getStats({});
  const client = new Client(`127.0.0.1:${grpcPort}`, credentials.createInsecure());
  const pass = (bytes: Buffer) => bytes;
  const request = Buffer.from(requestBytes(StartPoint.START));
  const call = client.makeServerStreamRequest(PATH, pass, pass, request);
  call.on("error", () => undefined); // it is cancelled below
  const messages: Buffer[] = [];
  let left = 2 * Number(records + batches); // each is anchored, and final
  for await (const bytes of call as AsyncIterable<Buffer>) {
    if (most !== Infinity) messages.push(bytes);
    left -= eventsIn(bytes);
    if (messages.length === most || left === 0) break;
  }
  call.cancel();
  client.close();
  return messages;
}

/** Kilobytes of the daemon for each of many subscribers for whom nothing happens. */
async function idleMemory(service: Daemon): Promise<Row> {
  const target = `127.0.0.1:${service.grpcPort}`;
  const hex = Buffer.from(requestBytes(StartPoint.NOW)).toString("hex");
  const before = residentMegabytes(service.pid);
  const load = await startScript("subscribe-load", target, PATH, hex, IDLE, 0);
  const value = ((residentMegabytes(service.pid) - before) * 1024) / IDLE;
  load.stop();
  const name = `memory of an idle subscriber, of ${IDLE.toLocaleString("en")} / limit`;
  return row({ name, value, against: IDLE_LIMIT_KB, unit: "kB", reach: 1, better: "lower" });
}

function requestBytes(start: StartPoint): Uint8Array {
  const request = create(SubscribeEventsRequestSchema, {
    from: { case: "start", value: start },
    progressInterval: durationFromMs(3_600_000),
  });
  return toBinary(SubscribeEventsRequestSchema, request);
}

function eventsIn(bytes: Buffer): number {
  return fromBinary(SubscribeEventsResponseSchema, bytes).events.length;
}

function lengthOf(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return length;
}
