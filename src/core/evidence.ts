import { ContentState as ContentStateCode } from "../../gen/ts/anchord/v1/record_pb.js";
import type { Entry } from "../../gen/ts/anchord/v1/receipt_pb.js";
import { sha256, unhex } from "./bytes.js";
import { AnchordError } from "./errors.js";

/** The caller of records that the service makes of what it finds. */
export const SERVICE_CALLER = "service";

/** The caller of records that an anchor on chain called for, which no call of this service had made. */
export const CHAIN_CALLER = "chain";

/** What has become of a file in the content store: the names of ContentState in record.proto. */
export type ContentState = "NONE" | "PENDING" | "INTACT" | "MISSING" | "ALTERED";

/** What of an "evidence_added" entry the store can search. Derived from the entry alone. */
export interface EvidenceColumns {
  /** What the subject is called on chain: 32 bytes. */
  readonly subjectKey: Uint8Array;
  /** SHA-256 of the file. */
  readonly digest: Uint8Array;
  /** Empty where none is known. */
  readonly cid: string;
  readonly size: number | undefined;
  /** What is known of its file at first. */
  readonly content: ContentState;
}

/** What a subject is called on chain: SHA-256 of its UTF-8 bytes. A pseudonym, not a secret. */
export function subjectKey(subject: string): Uint8Array {
  return sha256(Buffer.from(subject, "utf8"));
}

/** The refusal of what needs a registry, by a service that has none. */
export function unconfigured(): AnchordError {
  return new AnchordError(
    "EVIDENCE_UNCONFIGURED",
    "this service has no EvidenceRegistry contract: deploy it with `npm run migrate` and set " +
      "EVIDENCE_CONTRACT_ADDRESS",
  );
}

/** The refusal of a file that has more bytes than are taken. */
export function tooLarge(mostBytes: number): AnchordError {
  return new AnchordError(
    "EVIDENCE_TOO_LARGE",
    `the file has more than ${mostBytes} bytes, which is MAX_EVIDENCE_BYTES: raise that, or send its hash alone`,
    { metadata: { max_bytes: String(mostBytes) } },
  );
}

/** The columns that an entry calls for; undefined where it is not of evidence, or of none that we made. */
export function evidenceColumns({ body, subject, caller }: Entry): EvidenceColumns | undefined {
  if (body.case !== "evidenceAdded") return undefined;
  const { sha256: digest, cid, size, contentKept } = body.value;
  const isBare = caller === CHAIN_CALLER;
  if (!isDigest(digest) || (isBare && !isDigest(subject))) return undefined;
  return {
    subjectKey: isBare ? unhex(subject) : subjectKey(subject),
    digest: unhex(digest),
    cid,
    size: size === undefined ? undefined : Number(size),
    content: contentKept ? "PENDING" : "NONE",
  };
}

function isDigest(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}

/** What an "evidence_checked" entry says of a file; undefined where the entry is another. */
export function contentColumns({ body }: Entry) {
  if (body.case !== "evidenceChecked" || !isDigest(body.value.evidenceId)) return undefined;
  const { evidenceId, cid, size, state } = body.value;
  const content = ContentStateCode[state] as ContentState;
  return { recordId: unhex(evidenceId), cid, size: Number(size), content };
}
