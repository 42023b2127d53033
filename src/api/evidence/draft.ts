import { toJson } from "@bufbuild/protobuf";
import type { JsonValue } from "@bufbuild/protobuf";
import {
  AnchorEvidenceRequestSchema,
  UploadEvidenceMetadataSchema,
} from "../../../gen/ts/anchord/v1/evidence_service_pb.js";
import type {
  AnchorEvidenceRequest,
  UploadEvidenceMetadata,
} from "../../../gen/ts/anchord/v1/evidence_service_pb.js";
import { RecordState } from "../../../gen/ts/anchord/v1/record_pb.js";
import { hex, sameBytes, unhex } from "../../core/bytes.js";
import { parseCid, rawSha256Of } from "../../core/cid.js";
import type { Cid } from "../../core/cid.js";
import { invalidFields } from "../../core/errors.js";
import type { AnchordError } from "../../core/errors.js";
import { canonicalHash, requireDetails } from "../../core/record.js";
import type { EvidenceDraft, StagedFile } from "../../flow/evidence.js";

/** What is not part of a request's hash, as it does not change what is recorded. */
const NOT_HASHED = { requestId: "", waitFor: RecordState.UNSPECIFIED } as const;

/** A file as a caller hands it in. Requires valid metadata, and that its details were looked at. */
export function uploadDraft(
  metadata: UploadEvidenceMetadata,
  file: StagedFile,
  caller: string,
): EvidenceDraft {
  const { sha256: digest, cid, size } = file;
  const hashed = { ...metadata, ...NOT_HASHED, requireContent: false, sha256: hex(digest) };
  return {
    ...sharedParts(metadata, caller, () => toJson(UploadEvidenceMetadataSchema, hashed)),
    digest,
    cid,
    size,
    file,
    requireContent: metadata.requireContent,
  };
}

/** A hash as a caller hands it in. Requires a valid request. Throws INVALID_FIELD. */
export function anchorDraft(request: AnchorEvidenceRequest, caller: string): EvidenceDraft {
  requireDetails(request.details, "details");
  const digest = unhex(request.sha256);
  const hashed = { ...request, ...NOT_HASHED, sha256: hex(digest) };
  return {
    ...sharedParts(request, caller, () => toJson(AnchorEvidenceRequestSchema, hashed)),
    digest,
    cid: cidFor(request, digest)?.text ?? "",
    size: request.size === undefined ? undefined : Number(request.size),
    file: undefined,
    requireContent: false,
  };
}

/** The CID that a field has; undefined where it is empty. Throws INVALID_FIELD. */
export function cidIn(text: string, field: string): Cid | undefined {
  if (text === "") return undefined;
  const cid = parseCid(text);
  if (cid === undefined)
    throw invalid(field, "must be a CID of version 0 or 1, of at most 64 bytes");
  return cid;
}

/**
 * What both ways of handing in have in common. The request's hash is that of the RFC 8785 JSON of what the
 * caller said, before defaults, but for request_id, wait_for and require_content; its sha256 is that of the
 * file, in lower case, whether or not the caller had said it.
 */
function sharedParts(
  request: UploadEvidenceMetadata | AnchorEvidenceRequest,
  caller: string,
  hashed: () => JsonValue,
) {
  const { subject, actor, occurTime, requestId, derivedFrom, fileName, mediaType, details } =
    request;
  return {
    caller,
    subject,
    actor,
    occurTime,
    request: requestId === "" ? undefined : { id: requestId, hash: canonicalHash(hashed()) },
    fileName,
    mediaType,
    derivedFrom: derivedFrom === "" ? undefined : unhex(derivedFrom),
    details,
  };
}

/** A CID of another file would send whoever looks for this one astray; most do not tell. */
function cidFor({ cid: text }: AnchorEvidenceRequest, digest: Uint8Array): Cid | undefined {
  const cid = cidIn(text, "cid");
  const other = cid && rawSha256Of(cid);
  if (other === undefined || sameBytes(other, digest)) return cid;
  throw invalid("cid", `is that of a file of SHA-256 ${hex(other)}, and sha256 is ${hex(digest)}`);
}

function invalid(field: string, description: string): AnchordError {
  return invalidFields([{ field, description }]);
}
