import { Client, credentials } from "@grpc/grpc-js";
import type { ClientReadableStream } from "@grpc/grpc-js";

/**
 * Subscribes so many times to a stream, each through a connection of its own, and reads so many messages
 * of each: target, path, request in hex, subscribers, messages. Prints the seconds from the first call to
 * the last message. With 0 messages it prints a line once all have their first one, and waits until it is
 * stopped.
 */
const [target = "", path = "", request = "", subscribersText = "1", messagesText = "0"] =
  process.argv.slice(2);
const subscribers = Number(subscribersText);
const messages = Number(messagesText);
const bytes = Buffer.from(request, "hex");
const pass = (data: Buffer) => data;

const calls: ClientReadableStream<Buffer>[] = [];
const start = performance.now();
await Promise.all(Array.from({ length: subscribers }, () => receive(Math.max(1, messages))));
const seconds = (performance.now() - start) / 1000;
process.stdout.write(`${seconds}\n`);
if (messages > 0) process.exit(0);
process.stdin.on("end", () => process.exit(0)).resume();

function receive(count: number): Promise<void> {
  const client = new Client(target, credentials.createInsecure(), {
    "grpc.use_local_subchannel_pool": 1,
  });
  const call = client.makeServerStreamRequest(path, pass, pass, bytes);
  calls.push(call);
  let left = count;
  return new Promise((resolve, reject) => {
    call.on("data", () => {
      left -= 1;
      if (left > 0) return;
      if (messages > 0) call.cancel();
      resolve();
    });
    call.on("error", (error) => {
      if (left > 0) reject(error);
    });
  });
}
