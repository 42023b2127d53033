import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import type { CallOptions, Client } from "@connectrpc/connect";
import { EvidenceService } from "../../gen/ts/anchord/v1/evidence_service_pb.js";
import type {
  DownloadEvidenceRequestSchema,
  UploadEvidenceMetadataSchema,
  UploadEvidenceRequestSchema,
  VerifyEvidenceMetadataSchema,
  VerifyEvidenceRequestSchema,
} from "../../gen/ts/anchord/v1/evidence_service_pb.js";
import type { Evidence } from "../../gen/ts/anchord/v1/evidence_pb.js";
import type { Daemon } from "./daemon.js";
import type { Door } from "./doors.js";
import type { Random } from "./random.js";

/** A client of the evidence service. */
export type EvidenceClient = Client<typeof EvidenceService>;

/** A message of an upload. */
export type UploadPart = MessageInitShape<typeof UploadEvidenceRequestSchema>;

/** What is said of a file. */
export type UploadMetadata = MessageInitShape<typeof UploadEvidenceMetadataSchema>;

/** Chunks smaller than any limit, and larger than a block. */
const CHUNK = 700_000;

/** A client of the evidence service that sends this bearer token with every call. */
export function evidenceClient(door: Door, daemon: Daemon, token?: string): EvidenceClient {
  return createClient(EvidenceService, door.transport(daemon, token));
}

/** The messages of an upload, or of a verification, as they are. */
export async function* messages<T>(...parts: readonly T[]): AsyncGenerator<T> {
  yield* parts;
}

/** A file cut into chunks; none of an empty one. */
export function* cut(bytes: Uint8Array, sizeOf: () => number = () => CHUNK): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length;) {
    const size = sizeOf();
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

/** Uploads a file, in chunks of these sizes. */
export function upload(
  client: EvidenceClient,
  metadata: UploadMetadata,
  bytes: Uint8Array,
  { sizeOf, ...options }: CallOptions & { readonly sizeOf?: () => number } = {},
) {
  async function* parts(): AsyncGenerator<UploadPart> {
    yield { part: { case: "metadata", value: metadata } };
    for (const value of cut(bytes, sizeOf)) yield { part: { case: "chunk", value } };
  }
  return client.uploadEvidence(parts(), options);
}

/** Uploads a file, and gives the evidence. */
export async function uploaded(
  client: EvidenceClient,
  metadata: UploadMetadata,
  bytes: Uint8Array,
): Promise<Evidence> {
  return (await upload(client, metadata, bytes)).evidence as Evidence;
}

/** Asks whether a file, or a hash where there are no bytes, is anchored. */
export function verify(
  client: EvidenceClient,
  metadata: MessageInitShape<typeof VerifyEvidenceMetadataSchema>,
  bytes?: Uint8Array,
) {
  async function* parts(): AsyncGenerator<MessageInitShape<typeof VerifyEvidenceRequestSchema>> {
    yield { part: { case: "metadata", value: metadata } };
    for (const value of cut(bytes ?? new Uint8Array())) yield { part: { case: "chunk", value } };
  }
  return client.verifyEvidence(parts());
}

/** Downloads a file, or a range of it. */
export async function download(
  client: EvidenceClient,
  request: MessageInitShape<typeof DownloadEvidenceRequestSchema>,
): Promise<{ readonly evidence: Evidence | undefined; readonly bytes: Buffer }> {
  let evidence: Evidence | undefined;
  const chunks: Uint8Array[] = [];
  for await (const { part } of client.downloadEvidence(request)) {
    if (part.case === "evidence") evidence = part.value;
    else if (part.case === "chunk") chunks.push(part.value);
  }
  return { evidence, bytes: Buffer.concat(chunks) };
}

/** A file of random bytes. */
export function randomFile(random: Random, size: number): Buffer {
  return Buffer.from(Array.from({ length: size }, () => random.between(0, 255)));
}

/** The uploads and claimed files that a daemon has on its disk, besides what is in the content store. */
export async function stagedBy({ dataDir }: Daemon): Promise<string[]> {
  const staging = join(dataDir, "staging");
  const owners = await readdir(staging).catch(() => []);
  const entries = await Promise.all(owners.map((owner) => readdir(join(staging, owner))));
  return entries.flat();
}
