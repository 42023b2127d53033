import { open } from "node:fs/promises";
import { request } from "node:http";
import { connect } from "node:http2";
import { Readable } from "node:stream";
import type { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import {
  UploadEvidenceRequestSchema,
  UploadEvidenceResponseSchema,
} from "../../gen/ts/anchord/v1/evidence_service_pb.js";

/**
 * Uploads a file through a door, 256 KiB a message: "grpc" or "http", host and port, file. Prints, as JSON,
 * the seconds from the first byte to the answer, and the id of the evidence. It shares the processors with
 * what it measures, so it does as little as it can: the file is read to where its messages are sent from.
 */
const [door = "", target = "", path = ""] = process.argv.slice(2);
const MESSAGE_BYTES = 256 * 1024;
const METHOD = "/anchord.v1.EvidenceService/UploadEvidence";
const ENVELOPE_BYTES = 5;

/** How many messages are read before they are sent. */
const AHEAD = 4;

const start = performance.now();
const answer = await (door === "grpc" ? throughGrpc() : throughHttp());
const seconds = (performance.now() - start) / 1000;
if (answer[0] !== 0) throw new Error(answer.subarray(ENVELOPE_BYTES).toString());
const message = answer.subarray(ENVELOPE_BYTES, ENVELOPE_BYTES + answer.readUInt32BE(1));
const { evidence } = fromBinary(UploadEvidenceResponseSchema, message);
process.stdout.write(`${JSON.stringify({ seconds, id: evidence?.id ?? "" })}\n`);
process.exit(0);

async function throughGrpc(): Promise<Buffer> {
  const call = connect(`http://${target}`).request({
    ":method": "POST",
    ":path": METHOD,
    "content-type": "application/grpc",
    te: "trailers",
  });
  call.once("trailers", ({ "grpc-status": status, "grpc-message": said }) => {
    if (status !== "0") call.destroy(new Error(`${status}: ${said}`));
  });
  const answered = bytesOf(call);
  await send(call);
  return answered;
}

/** Binary Connect over HTTP/1.1. */
async function throughHttp(): Promise<Buffer> {
  const headers = { "Content-Type": "application/connect+proto", "Connect-Protocol-Version": "1" };
  const call = request(`http://${target}${METHOD}`, { method: "POST", headers });
  const answered = new Promise<Buffer>((resolve, reject) => {
    call.once("error", reject).once("response", (response) => resolve(bytesOf(response)));
  });
  await send(call);
  return answered;
}

async function bytesOf(answer: AsyncIterable<unknown>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of answer) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

function send(call: Writable): Promise<void> {
  return pipeline(Readable.from(messages(), { highWaterMark: AHEAD }), call);
}

/** The messages, each in its envelope of flags and length, which is the same in gRPC and in Connect. */
async function* messages(): AsyncGenerator<Buffer> {
  const value = { subject: "bench/evidence", fileName: "random.bin" };
  const first = create(UploadEvidenceRequestSchema, { part: { case: "metadata", value } });
  const metadata = toBinary(UploadEvidenceRequestSchema, first);
  yield Buffer.concat([envelopeOf(metadata.length), metadata]);
  const file = await open(path);
  const { size } = await file.stat();
  const { number } = UploadEvidenceRequestSchema.field.chunk;
  for (let at = 0; at < size; at += MESSAGE_BYTES) {
    const length = Math.min(MESSAGE_BYTES, size - at);
    const tag = new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(length).finish();
    const head = Buffer.concat([envelopeOf(tag.length + length), tag]);
    const bytes = Buffer.allocUnsafeSlow(head.length + length);
    bytes.set(head);
    await file.read(bytes, head.length, length, at);
    yield bytes;
  }
  await file.close();
}

function envelopeOf(length: number): Buffer {
  const envelope = Buffer.alloc(ENVELOPE_BYTES);
  envelope.writeUInt32BE(length, 1);
  return envelope;
}
