import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { ServiceImpl } from "@connectrpc/connect";
import { DownloadEvidenceResponseSchema } from "../../../gen/ts/anchord/v1/evidence_service_pb.js";
import type {
  DownloadEvidenceRequest,
  EvidenceService,
} from "../../../gen/ts/anchord/v1/evidence_service_pb.js";
import { hex } from "../../core/bytes.js";
import { AnchordError } from "../../core/errors.js";
import type { EvidenceRoom } from "../../flow/evidence.js";
import type { StoredEvidence } from "../../store/evidence.js";
import { encodedAs } from "../encoded.js";
import { requireEvidence } from "./find.js";
import { evidenceMessages } from "./message.js";

type Handlers = Pick<ServiceImpl<typeof EvidenceService>, "downloadEvidence">;

/** The calls that give files out. */
export function downloadHandlers(room: EvidenceRoom): Handlers {
  const { log, files } = room;
  return {
    async *downloadEvidence(request, { signal }) {
      const evidence = await requireEvidence(log.database, request.id);
      const range = rangeOf(evidence, request);
      const [message] = await evidenceMessages(room, [evidence]);
      yield { part: { case: "evidence", value: message ?? {} } };
      if (range.length === 0) return;
      // What reads a file yields a block's bytes at a time, which are few enough for one message.
      for await (const value of files.read(evidence.cid, range, signal)) {
        yield encodedAs({ part: { case: "chunk" as const, value } }, encodedChunk(value));
      }
    },
  };
}

/** The message of a chunk in bytes. The general encoder would copy the chunk twice, into thrice the memory. */
function encodedChunk(chunk: Uint8Array): Uint8Array {
  const { number } = DownloadEvidenceResponseSchema.field.chunk;
  const prefix = new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(chunk.length);
  return Buffer.concat([prefix.finish(), chunk]);
}

/** The bytes that are asked for. Throws CONTENT_NOT_KEPT, RANGE_OUT_OF_BOUNDS. */
function rangeOf(
  { recordId, content, size }: StoredEvidence,
  { offset, length }: DownloadEvidenceRequest,
): { readonly offset: number; readonly length: number } {
  if (content === "NONE" || size === undefined) {
    const message = `only the hash of evidence ${hex(recordId)} was handed in: its owner has the file`;
    throw new AnchordError("CONTENT_NOT_KEPT", message);
  }
  const end = length === undefined ? BigInt(size) : offset + length;
  if (offset > BigInt(size) || end > BigInt(size)) {
    const message = `bytes ${offset} to ${end} are not all in the file, which has ${size}`;
    throw new AnchordError("RANGE_OUT_OF_BOUNDS", message, { metadata: { size: String(size) } });
  }
  return { offset: Number(offset), length: Number(end - offset) };
}
