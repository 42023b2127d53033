import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  EvidenceAnchorSchema,
  EvidenceSchema,
} from "../../../gen/ts/anchord/v1/evidence_pb.js";
import type { Entry } from "../../../gen/ts/anchord/v1/receipt_pb.js";
import { ContentState } from "../../../gen/ts/anchord/v1/record_pb.js";
import { knownTime, timeOfMs, timeOfSeconds } from "../../core/calendar.js";
import { hex, hex0x } from "../../core/bytes.js";
import { databaseAltered } from "../../core/errors.js";
import { bodyOf } from "../../core/record.js";
import type { Body } from "../../core/record.js";
import type { EvidenceRoom } from "../../flow/evidence.js";
import { readEntry, storedEntry } from "../../store/entry.js";
import type { StoredEvidence, StoredEvidenceAnchor } from "../../store/evidence.js";
import { failureReasons } from "../../store/operations.js";
import { entriesById } from "../../store/records.js";
import { lastFinal, stateIn } from "../finality.js";

/** Evidence as callers see it. */
export type EvidenceMessage = MessageInitShape<typeof EvidenceSchema>;

/** What a message of evidence needs besides its row. */
interface Surroundings {
  readonly finalNumber: number;
  /** By the ids of the records in hex. */
  readonly entries: ReadonlyMap<string, Uint8Array>;
  /** By group. */
  readonly failures: ReadonlyMap<number, string>;
  readonly gatewayUrl: string | undefined;
}

/** Evidence as callers see it, as far as it has come. */
export async function evidenceMessages(
  { log: { database }, gatewayUrl }: EvidenceRoom,
  evidence: readonly StoredEvidence[],
): Promise<EvidenceMessage[]> {
  const groups = evidence.flatMap(({ anchor, group }) =>
    anchor === undefined && group !== undefined ? [group] : [],
  );
  const [finalNumber, entries, failures] = await Promise.all([
    lastFinal(database),
    entriesById(
      database,
      evidence.map(({ recordId }) => recordId),
    ),
    failureReasons(database, "EVIDENCE", groups),
  ]);
  const surroundings = { finalNumber, entries, failures, gatewayUrl };
  return evidence.map((each) => evidenceMessage(each, surroundings));
}

/** What of an anchor only those know who have followed the chain. */
export function placeOf({ blockHash, transactionHash }: StoredEvidenceAnchor) {
  return { blockHash: hex0x(blockHash), transactionHash: hex0x(transactionHash) };
}

function anchorMessage(
  anchor: StoredEvidenceAnchor,
): MessageInitShape<typeof EvidenceAnchorSchema> {
  return {
    submitter: hex0x(anchor.submitter),
    blockTime: timeOfSeconds(anchor.blockTime),
    blockNumber: BigInt(anchor.blockNumber),
    ...placeOf(anchor),
  };
}

function evidenceMessage(
  evidence: StoredEvidence,
  { finalNumber, entries, failures, gatewayUrl }: Surroundings,
): EvidenceMessage {
  const { recordId, subjectKey, digest, cid, size, group, anchor, content, checkTime } = evidence;
  const id = hex(recordId);
  const record = { id: recordId, entry: entries.get(id) ?? missing(id) };
  const entry = storedEntry(record);
  const { fileName, mediaType, derivedFrom, details } = readEntry(record, () => addedIn(entry));
  const isFailing = anchor === undefined && group !== undefined;
  return {
    id,
    subject: entry.subject,
    subjectKey: hex(subjectKey),
    sha256: hex(digest),
    cid,
    size: size === undefined ? undefined : BigInt(size),
    fileName,
    mediaType,
    derivedFrom,
    actor: entry.actor,
    occurTime: knownTime(entry.occurTime),
    acceptTime: knownTime(entry.acceptTime),
    state: stateIn(anchor?.blockNumber, finalNumber),
    anchor: anchor && anchorMessage(anchor),
    failure: (isFailing ? failures.get(group) : undefined) ?? "",
    content: {
      state: ContentState[content],
      checkTime: checkTime === 0 ? undefined : timeOfMs(checkTime),
      gatewayUrl: content === "NONE" ? "" : gatewayLink(gatewayUrl, cid, fileName),
    },
    ...(details === undefined ? {} : { details }),
  };
}

/** Where a browser finds a file, and by which name it saves it; empty where no gateway is set. */
export function gatewayLink(gatewayUrl: string | undefined, cid: string, fileName: string): string {
  if (gatewayUrl === undefined) return "";
  const query = fileName === "" ? "" : `?filename=${encodeURIComponent(fileName)}`;
  return `${gatewayUrl}/ipfs/${cid}${query}`;
}

function addedIn(entry: Entry): Extract<Body, { case: "evidenceAdded" }>["value"] {
  const body = bodyOf(entry);
  if (body.case !== "evidenceAdded") throw new Error("tells of no evidence");
  return body.value;
}

function missing(id: string): never {
  throw databaseAltered(`record ${id} of evidence is missing`);
}
