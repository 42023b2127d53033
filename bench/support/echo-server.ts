import { Server, ServerCredentials } from "@grpc/grpc-js";

/** A bare grpc-js server that answers each call with the message that it got. */
const server = new Server();
const pass = (bytes: Buffer) => bytes;
server.addService(
  {
    echo: {
      path: "/bench.Echo/Echo",
      requestStream: false,
      responseStream: false,
      requestSerialize: pass,
      requestDeserialize: pass,
      responseSerialize: pass,
      responseDeserialize: pass,
    },
  },
  {
    echo: (call: { request: Buffer }, done: (error: null, reply: Buffer) => void) =>
      done(null, call.request),
  },
);
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error;
  process.stdout.write(`${port}\n`);
});
process.stdin.on("end", () => process.exit(0)).resume();
