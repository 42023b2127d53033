import { Readable } from "node:stream";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Entry, ReceiptSchema } from "../../gen/ts/anchord/v1/receipt_pb.js";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import type { StagedFile } from "../content/evidence-files.js";
import {
  BUNDLE_FORMAT,
  bundleName,
  directoryBlock,
  evidenceText,
  timeText,
  treeSize,
} from "../core/bundle.js";
import type { BundleLink, EvidenceDocument } from "../core/bundle.js";
import { receiptText } from "../core/bundle-trail.js";
import { hex, hex0x, sameBytes } from "../core/bytes.js";
import { carHeader, carSection } from "../core/car.js";
import type { Block } from "../core/car.js";
import { AnchordError } from "../core/errors.js";
import { unconfigured } from "../core/evidence.js";
import { progress } from "../store/batches.js";
import { storedIdentity } from "../store/chain-position.js";
import { storedEntry } from "../store/entry.js";
import { evidenceByRecord } from "../store/evidence.js";
import type { StoredEvidence, StoredEvidenceAnchor } from "../store/evidence.js";
import { findRecord, listRecords, logLength } from "../store/records.js";
import type { PlacedRecord } from "../store/records.js";
import type { AuditLog } from "./audit-log.js";
import type { EvidenceRoom } from "./evidence.js";
import { receiptMessage, stateOf } from "./receipt-message.js";

/** Records of a trail that are read at once: their entries may have 100 KiB each. */
const PAGE = 64;

/** A member of the bundle's directory, and its blocks in depth-first order. */
interface Member extends BundleLink {
  readonly blocks: () => AsyncIterable<Block>;
}

/**
 * One CARv1 file with evidence, its receipt and its subject's trail as they are now; docs/evidence-bundle.md
 * specifies it. Its root comes first and names all that follows, so the documents are written to the
 * staging folder before the first byte is given out: memory stays flat however long the trail is. Rejects
 * with EVIDENCE_NOT_FOUND, EVIDENCE_UNCONFIGURED, CHAIN_UNAVAILABLE, CONTENT_LOST, CONTENT_UNAVAILABLE,
 * STORAGE_FULL, or the signal's reason.
 */
export async function* exportBundle(
  room: EvidenceRoom,
  recordId: Uint8Array,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const { log, files } = room;
  const { evidence, entry } = await requireEvidence(log, recordId);
  const staged: StagedFile[] = [];
  const stage = async (name: string, chunks: AsyncIterable<Uint8Array>): Promise<Member> => {
    const file = await files.stage(chunks, Infinity);
    staged.push(file);
    return memberOf(name, () => file.blocks());
  };
  try {
    const document = await documentOf(room, evidence, entry);
    const trail = { own: "" };
    const members = [
      await stage("evidence.json", only(evidenceText(document))),
      await stage("trail.jsonl", trailLines(log, evidence, entry.subject, trail, signal)),
      await stage("receipt.json", only(trail.own)),
    ];
    if (evidence.content !== "NONE") {
      const name = bundleName(fileNameIn(entry));
      members.push(await memberOf(name, () => files.blocks(evidence.cid, signal)));
    }
    yield* car(members);
  } finally {
    await Promise.all(staged.map((file) => file.discard()));
  }
}

/** The directory, and what its links name in their order. */
async function* car(members: readonly Member[]): AsyncGenerator<Uint8Array> {
  const root = directoryBlock(members);
  yield carHeader(root.cid);
  yield carSection(root);
  for (const { blocks } of inOrder(members)) {
    for await (const block of blocks()) yield carSection(block);
  }
}

/** Directories of IPFS are in the order of their names' bytes. */
function inOrder(members: readonly Member[]): Member[] {
  return [...members].sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
}

async function memberOf(name: string, blocks: () => AsyncIterable<Block>): Promise<Member> {
  for await (const first of blocks())
    return { name, cid: first.cid, size: treeSize(first), blocks };
  throw new Error(`${name} has no blocks`);
}

async function requireEvidence(
  { database }: AuditLog,
  recordId: Uint8Array,
): Promise<{ readonly evidence: StoredEvidence; readonly entry: Entry }> {
  const evidence = await database.read((db) => evidenceByRecord(db, recordId));
  const record = await findRecord(database, recordId);
  if (evidence !== undefined && record !== undefined) {
    return { evidence, entry: storedEntry(record) };
  }
  const message = `there is no evidence ${hex(recordId)}: check the id, or see ListEvidence`;
  throw new AnchordError("EVIDENCE_NOT_FOUND", message);
}

async function documentOf(
  { log: { database, connection }, isConfigured }: EvidenceRoom,
  { recordId, subjectKey, digest, cid, size, anchor }: StoredEvidence,
  { subject }: Entry,
): Promise<EvidenceDocument> {
  const identity = connection()?.identity ?? (await storedIdentity(database));
  if (identity?.evidence === undefined) {
    if (!(await isConfigured())) throw unconfigured();
    const message = "the registry was not reached yet: see GET /health";
    throw new AnchordError("CHAIN_UNAVAILABLE", message);
  }
  return {
    format: BUNDLE_FORMAT,
    chainId: String(identity.chainId),
    contract: identity.evidence,
    subject,
    subjectKey: hex(subjectKey),
    sha256: hex(digest),
    ...(cid === "" ? {} : { cid }),
    ...(size === undefined ? {} : { size: String(size) }),
    evidenceId: hex(recordId),
    ...(anchor === undefined ? {} : { anchor: anchorIn(anchor) }),
  };
}

function anchorIn(anchor: StoredEvidenceAnchor): NonNullable<EvidenceDocument["anchor"]> {
  return {
    submitter: hex0x(anchor.submitter),
    blockTime: timeText(anchor.blockTime),
    blockNumber: String(anchor.blockNumber),
    blockHash: hex0x(anchor.blockHash),
    transactionHash: hex0x(anchor.transactionHash),
  };
}

function fileNameIn({ body }: Entry): string {
  return body.case === "evidenceAdded" ? body.value.fileName : "";
}

/**
 * A receipt a line for each record of a trail, as far as the log had come when it began: none is sealed
 * behind one that is not, whatever the chain does meanwhile. Hands out the one of the evidence.
 */
async function* trailLines(
  log: AuditLog,
  { recordId }: StoredEvidence,
  subject: string,
  trail: { own: string },
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const now = await progress(log.database);
  let isSealed = true;
  for await (const record of recordsOf(log, subject)) {
    signal?.throwIfAborted();
    isSealed &&= record.seq < now.anchored;
    const receipt: MessageInitShape<typeof ReceiptSchema> = isSealed
      ? await receiptMessage(log, record)
      : { entry: record.entry };
    isSealed &&= receipt.anchor !== undefined;
    const state = isSealed ? stateOf(record.seq, now) : RecordState.ACCEPTED;
    const line = `${receiptText({ receipt, state })}\n`;
    if (sameBytes(record.id, recordId)) trail.own = line;
    yield Buffer.from(line);
  }
  if (trail.own !== "") return;
  // A restored database adopts batches: what waits to be sealed moves behind them.
  throw new AnchordError("DATABASE_UNAVAILABLE", "the log moved meanwhile: export again");
}

/** The records of a trail that the log has now, in order. */
async function* recordsOf({ database }: AuditLog, subject: string): AsyncGenerator<PlacedRecord> {
  const toSeq = await logLength(database);
  const options = { newestFirst: false, limit: PAGE };
  for (let fromSeq = 0; ;) {
    const page = await listRecords(database, { subject, fromSeq, toSeq }, options);
    yield* page;
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE) return;
    fromSeq = last.seq + 1;
  }
}

function only(text: string): AsyncIterable<Uint8Array> {
  return Readable.from([Buffer.from(text)]);
}
