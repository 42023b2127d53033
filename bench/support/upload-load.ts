import { open } from "node:fs/promises";
import { request } from "node:http";
import type { Writable } from "node:stream";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Client, credentials } from "@grpc/grpc-js";
import {
  UploadEvidenceRequestSchema,
  UploadEvidenceResponseSchema,
} from "../../gen/ts/anchord/v1/evidence_service_pb.js";

/**
 * Uploads a file through a door, 256 KiB a message: "grpc" or "http", host and port, file. Prints, as JSON,
 * the seconds from the first byte to the answer, and the id of the evidence.
 */
const [door = "", target = "", path = ""] = process.argv.slice(2);
const MESSAGE_BYTES = 256 * 1024;
const METHOD = "/anchord.v1.EvidenceService/UploadEvidence";
const ENVELOPE_BYTES = 5;

type Part = NonNullable<MessageInitShape<typeof UploadEvidenceRequestSchema>["part"]>;

const file = await open(path);
const start = performance.now();
const answer = await (door === "grpc" ? throughGrpc() : throughHttp());
const seconds = (performance.now() - start) / 1000;
const { evidence } = fromBinary(UploadEvidenceResponseSchema, answer);
process.stdout.write(`${JSON.stringify({ seconds, id: evidence?.id ?? "" })}\n`);
process.exit(0);

async function throughGrpc(): Promise<Uint8Array> {
  const client = new Client(target, credentials.createInsecure());
  const pass = (data: Buffer) => data;
  let call: Writable | undefined;
  const answered = new Promise<Buffer>((resolve, reject) => {
    call = client.makeClientStreamRequest(METHOD, pass, pass, (error, bytes) => {
      if (error === null && bytes !== undefined) resolve(bytes);
      else reject(error ?? new Error("there is no answer"));
    });
  });
  await send(call as Writable, (bytes) => bytes);
  return answered;
}

/** Binary Connect over HTTP/1.1: each message stands in an envelope of flags and length. */
async function throughHttp(): Promise<Uint8Array> {
  const headers = { "Content-Type": "application/connect+proto", "Connect-Protocol-Version": "1" };
  const call = request(`http://${target}${METHOD}`, { method: "POST", headers });
  const answered = new Promise<Buffer>((resolve, reject) => {
    call.once("error", reject).once("response", (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.once("end", () => resolve(Buffer.concat(parts)));
    });
  });
  await send(call, (bytes) => Buffer.concat([envelopeOf(bytes.length), bytes]));
  const answer = await answered;
  if (answer[0] !== 0) throw new Error(answer.subarray(ENVELOPE_BYTES).toString());
  return answer.subarray(ENVELOPE_BYTES, ENVELOPE_BYTES + answer.readUInt32BE(1));
}

async function send(call: Writable, framed: (bytes: Buffer) => Buffer): Promise<void> {
  for await (const part of parts()) {
    const message = create(UploadEvidenceRequestSchema, { part });
    const bytes = Buffer.from(toBinary(UploadEvidenceRequestSchema, message).buffer);
    if (!call.write(framed(bytes))) await new Promise((resolve) => call.once("drain", resolve));
  }
  call.end();
}

async function* parts(): AsyncGenerator<Part> {
  yield { case: "metadata", value: { subject: "bench/evidence", fileName: "random.bin" } };
  for (;;) {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(MESSAGE_BYTES));
    if (bytesRead === 0) return;
    yield { case: "chunk", value: buffer.subarray(0, bytesRead) };
  }
}

function envelopeOf(length: number): Buffer {
  const envelope = Buffer.alloc(ENVELOPE_BYTES);
  envelope.writeUInt32BE(length, 1);
  return envelope;
}
