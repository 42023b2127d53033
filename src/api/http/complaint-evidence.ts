import { EvidenceVerdict } from "../../../gen/ts/anchord/v1/evidence_service_pb.js";
import type { VerifyEvidenceResponse } from "../../../gen/ts/anchord/v1/evidence_service_pb.js";
import type { Evidence } from "../../../gen/ts/anchord/v1/evidence_pb.js";
import { RecordState } from "../../../gen/ts/anchord/v1/record_pb.js";
import { gatewayLink } from "../evidence/message.js";
import { isoSeconds } from "../../core/calendar.js";
import { linkOf } from "./complaint.js";
import type { Complaint, ComplaintParts } from "./complaint.js";
import { takeFile } from "./multipart.js";
import { callOptions } from "./router.js";
import type { RestAnswer, RestRequest } from "./router.js";

/** The anchor of a file, as the chain has it. */
export interface FoundAnchor {
  /** Null where the service has not followed the anchor yet. */
  readonly tx_hash: string | null;
  readonly block_number: number;
  /** Time of the block, in seconds since 1970. */
  readonly block_timestamp: number;
}

/** `POST evidence/`: takes a file in as evidence, while it comes in. */
export async function uploadEvidence(
  parts: ComplaintParts,
  { subject }: Complaint,
  request: RestRequest,
): Promise<RestAnswer> {
  const { evidence, replayed } = await takeFile(request.raw, ({ name, mediaType, bytes }) => {
    const metadata = { subject, fileName: name, mediaType };
    return parts.evidence.uploadEvidence(requestStream(metadata, bytes), callOptions(request));
  });
  if (evidence === undefined) throw new Error("an upload was answered without its evidence");
  const { cid, sha256, state } = evidence;
  return {
    status: 201,
    body: {
      ipfs_cid: cid,
      ipfs_url: fileUrl(parts, evidence),
      file_hash: sha256,
      message: replayed ? "Evidence was uploaded before" : "Evidence uploaded",
      file_path: `/ipfs/${cid}`,
      file_url: fileUrl(parts, evidence),
      note:
        state === RecordState.ACCEPTED
          ? "The file is kept; its hash will be on the blockchain in a moment"
          : "The hash is on the blockchain",
    },
  };
}

/** `POST evidence/verify/`: asks the chain whether a file was anchored for the complaint. Keeps nothing. */
export async function verifyEvidence(
  parts: ComplaintParts,
  { subject }: Complaint,
  request: RestRequest,
): Promise<RestAnswer> {
  const found = await takeFile(request.raw, ({ bytes }) =>
    parts.evidence.verifyEvidence(requestStream({ subject }, bytes), callOptions(request)),
  );
  const anchor = anchorFor(found);
  if (anchor === undefined) {
    return {
      status: 400,
      body: {
        verified: false,
        error: "Hash not found on blockchain",
        file_hash: found.sha256,
        note: await whyNot(parts, subject, found, request),
      },
    };
  }
  return {
    status: 200,
    body: {
      verified: true,
      file_hash: found.sha256,
      ...anchor,
      anchored_at: isoSeconds(anchor.block_timestamp),
      explorer_url: linkOf(parts, anchor.tx_hash),
    },
  };
}

/** Where a file of evidence can be had. */
export function fileUrl(
  { gatewayUrl }: ComplaintParts,
  { cid, fileName }: Pick<Evidence, "cid" | "fileName">,
): string {
  return gatewayUrl === undefined ? `ipfs://${cid}` : gatewayLink(gatewayUrl, cid, fileName);
}

/** The anchor for the subject that was asked for; undefined where the chain has none. */
export function anchorFor({ verdict, anchors }: VerifyEvidenceResponse): FoundAnchor | undefined {
  const anchor = anchors[0]?.anchor;
  if (verdict !== EvidenceVerdict.VERIFIED || anchor === undefined) return undefined;
  const { transactionHash, blockNumber, blockTime } = anchor;
  return {
    tx_hash: transactionHash === "" ? null : transactionHash,
    block_number: Number(blockNumber),
    block_timestamp: Number(blockTime?.seconds),
  };
}

/** A stream that begins with what is said of a file, and goes on with its bytes. */
export async function* requestStream<M>(metadata: M, bytes: AsyncIterable<Uint8Array>) {
  yield { part: { case: "metadata" as const, value: metadata } };
  for await (const value of bytes) yield { part: { case: "chunk" as const, value } };
}

async function whyNot(
  { evidence }: ComplaintParts,
  subject: string,
  { verdict, sha256 }: VerifyEvidenceResponse,
  request: RestRequest,
): Promise<string> {
  const isKnown = await evidence.getEvidence({ subject, sha256 }, callOptions(request)).then(
    () => true,
    () => false,
  );
  if (isKnown)
    return "It was handed in for this complaint, and will be on the blockchain in a moment";
  return verdict === EvidenceVerdict.OTHER_SUBJECT
    ? "It is on the blockchain, but not for this complaint"
    : "It was never handed in, or the file is not the one that was";
}
