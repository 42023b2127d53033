import { create, toBinary } from "@bufbuild/protobuf";
import { Client, credentials } from "@grpc/grpc-js";
import { DownloadEvidenceRequestSchema } from "../../gen/ts/anchord/v1/evidence_service_pb.js";

/**
 * Downloads a file through the gRPC door: host and port, id of the evidence, size of the file. Prints, as
 * JSON, the seconds from the call to the last byte.
 */
const [target = "", id = "", size = "0"] = process.argv.slice(2);
const client = new Client(target, credentials.createInsecure());
const pass = (data: Buffer) => data;
const message = create(DownloadEvidenceRequestSchema, { id });
const request = Buffer.from(toBinary(DownloadEvidenceRequestSchema, message));
const method = "/anchord.v1.EvidenceService/DownloadEvidence";

const start = performance.now();
const call = client.makeServerStreamRequest(method, pass, pass, request);
let bytes = 0;
for await (const part of call as AsyncIterable<Buffer>) bytes += part.length;
const seconds = (performance.now() - start) / 1000;
if (bytes < Number(size)) throw new Error(`${bytes} of ${size} bytes have come`);
process.stdout.write(`${JSON.stringify({ seconds })}\n`);
process.exit(0);
