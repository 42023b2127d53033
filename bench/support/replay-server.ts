import { readFileSync } from "node:fs";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import type { ServerWritableStream } from "@grpc/grpc-js";

/** A bare grpc-js server that streams the messages of a file, each behind its length, to each caller. */
const file = readFileSync(process.argv[2] ?? "");
const messages: Buffer[] = [];
for (let at = 0; at < file.length;) {
  const end = at + 4 + file.readUInt32BE(at);
  messages.push(file.subarray(at + 4, end));
  at = end;
}

const server = new Server();
const pass = (bytes: Buffer) => bytes;
server.addService(
  {
    replay: {
      path: "/bench.Replay/Replay",
      requestStream: false,
      responseStream: true,
      requestSerialize: pass,
      requestDeserialize: pass,
      responseSerialize: pass,
      responseDeserialize: pass,
    },
  },
  {
    replay: (call: ServerWritableStream<Buffer, Buffer>) => void replay(call),
  },
);
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error;
  process.stdout.write(`${port}\n`);
});
process.stdin.on("end", () => process.exit(0)).resume();

async function replay(call: ServerWritableStream<Buffer, Buffer>): Promise<void> {
  for (const message of messages) {
    if (call.cancelled) return;
    if (call.write(message)) continue;
    await new Promise<void>((resolve) => {
      const go = () => {
        call.off("drain", go).off("cancelled", go);
        resolve();
      };
      call.once("drain", go).once("cancelled", go);
    });
  }
  call.end();
}
