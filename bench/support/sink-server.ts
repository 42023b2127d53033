import { create, toBinary } from "@bufbuild/protobuf";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import type { ServerReadableStream } from "@grpc/grpc-js";
import { UploadEvidenceResponseSchema } from "../../gen/ts/anchord/v1/evidence_service_pb.js";
import { widenWindows } from "../../src/api/grpc-window.js";

/** A bare grpc-js server that reads uploads, with the windows of the daemon, and does nothing with them. */
const server = new Server();
const pass = (bytes: Buffer) => bytes;
const answer = Buffer.from(
  toBinary(UploadEvidenceResponseSchema, create(UploadEvidenceResponseSchema)),
);
server.addService(
  {
    upload: {
      path: "/anchord.v1.EvidenceService/UploadEvidence",
      requestStream: true,
      responseStream: false,
      requestSerialize: pass,
      requestDeserialize: pass,
      responseSerialize: pass,
      responseDeserialize: pass,
    },
  },
  {
    upload: (
      call: ServerReadableStream<Buffer, Buffer>,
      done: (error: null, reply: Buffer) => void,
    ) => call.on("end", () => done(null, answer)).resume(),
  },
);
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error;
  widenWindows(server);
  process.stdout.write(`${port}\n`);
});
process.stdin.on("end", () => process.exit(0)).resume();
