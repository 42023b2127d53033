import { create } from "@bufbuild/protobuf";
import type { JsonObject } from "@bufbuild/protobuf";
import { EvidenceAddedSchema } from "../../gen/ts/anchord/v1/record_pb.js";
import { hex } from "../core/bytes.js";
import { AnchordError } from "../core/errors.js";
import { subjectKey } from "../core/evidence.js";
import type { EvidenceColumns } from "../core/evidence.js";
import { encodeRecord } from "../core/record.js";
import type { EncodedRecord, RecordDraft } from "../core/record.js";
import type { ClaimedFile, EvidenceFiles, StagedFile } from "../content/evidence-files.js";
import type { Database } from "../store/database.js";
import {
  appendEvidence,
  earlierEvidence,
  evidenceByRecord,
  expectContent,
} from "../store/evidence.js";
import type { StoredEvidence } from "../store/evidence.js";
import { reused } from "./accept.js";
import type { AuditLog } from "./audit-log.js";
import { faultPoint } from "./faults.js";

export type { EvidenceAnchor } from "../chain/port.js";
export type { StagedFile } from "../content/evidence-files.js";

/** Evidence as a caller hands it in, already valid by the rules of the proto files. */
export interface EvidenceDraft extends Omit<RecordDraft, "body"> {
  readonly fileName: string;
  readonly mediaType: string;
  /** Id of the evidence that it derives from. */
  readonly derivedFrom: Uint8Array | undefined;
  readonly details: JsonObject | undefined;
  /** SHA-256 of the file. */
  readonly digest: Uint8Array;
  /** Empty where none is known. */
  readonly cid: string;
  readonly size: number | undefined;
  /** The file, where it was handed in as well. */
  readonly file: StagedFile | undefined;
  /** Whether to refuse a file that the content store does not take now. */
  readonly requireContent: boolean;
}

/** Evidence that is in the log; `replayed` if it was there before. */
export interface AcceptedEvidence {
  readonly recordId: Uint8Array;
  readonly replayed: boolean;
}

/** Evidence as the API works with it. */
export interface EvidenceRoom {
  readonly log: AuditLog;
  readonly desk: EvidenceDesk;
  readonly files: EvidenceFiles;
  /** Whether the service has, or will have, a registry to anchor in; known also before the chain is reached. */
  readonly isConfigured: () => Promise<boolean>;
  /** Most bytes of a file. */
  readonly maxBytes: number;
  /** Where browsers find files by their CID, without a slash at its end; undefined where nowhere. */
  readonly gatewayUrl: string | undefined;
}

/** Evidence in the log, and the claim whose file is still to be brought to the content store. */
interface Appended extends AcceptedEvidence {
  readonly bringAs: string | undefined;
}

/** What taking evidence in works with. */
export interface EvidenceDeskParts {
  readonly database: Database;
  /** Called when there is something to seal and to anchor. */
  readonly onAccepted: () => void;
  /** Brings a claimed file to the content store; resolves when it is there, or is left for later. */
  readonly bring: (file: ClaimedFile) => Promise<void>;
}

/**
 * Takes evidence in. A file is claimed for its record before that is in the log, so a restart finds both,
 * or a claim that no record answers to, which is let go.
 */
export class EvidenceDesk {
  /** Claims whose record is being written. */
  readonly #taking = new Set<string>();

  constructor(private readonly parts: EvidenceDeskParts) {}

  /** Whether a claim's record is being written now. */
  isTaking(name: string): boolean {
    return this.#taking.has(name);
  }

  /**
   * Resolves once the evidence is durable. Whatever happens, the file is the caller's no longer. Where the
   * database does not say whether it has the record, the claim stays until it does.
   */
  async accept(draft: EvidenceDraft): Promise<AcceptedEvidence> {
    const { file } = draft;
    const record = encodeRecord(recordOf(draft));
    const name = hex(record.id);
    this.#taking.add(name);
    try {
      await this.#prepare(draft, record);
    } catch (error) {
      this.#taking.delete(name);
      await file?.discard();
      throw error;
    }
    const accepted = await this.#append(draft, record).finally(() => this.#taking.delete(name));
    this.parts.onAccepted();
    if (file !== undefined && accepted.bringAs !== undefined) {
      // What was kept before is there, and only to be noted.
      const keep = draft.requireContent ? () => Promise.resolve(true) : () => file.keep();
      await this.parts.bring({ ...file, name: accepted.bringAs, keep });
    }
    return accepted;
  }

  /** Claims the file for its record, or keeps it at once where that is asked for. */
  async #prepare(draft: EvidenceDraft, record: EncodedRecord): Promise<void> {
    const { file, requireContent } = draft;
    await this.#requireOriginal(draft);
    if (file === undefined) return;
    if (!requireContent) return file.claim(hex(record.id));
    // Nothing is ever taken out of the content store again: what will be refused must not get there.
    const columns = columnsOf(draft);
    const earlier = await this.parts.database.read((db) => earlierEvidence(db, record, columns));
    if (earlier?.type === "reused") throw reused({ ...earlier, index: 0 });
    if (earlier?.evidence.content !== "INTACT") await file.keep();
  }

  async #requireOriginal({ derivedFrom }: EvidenceDraft): Promise<void> {
    if (derivedFrom === undefined) return;
    const original = await this.parts.database.read((db) => evidenceByRecord(db, derivedFrom));
    if (original !== undefined) return;
    throw new AnchordError(
      "EVIDENCE_NOT_FOUND",
      `derived_from: there is no evidence ${hex(derivedFrom)}`,
      { metadata: { evidence_id: hex(derivedFrom) } },
    );
  }

  async #append(draft: EvidenceDraft, record: EncodedRecord): Promise<Appended> {
    await faultPoint("evidence.before-commit");
    const columns = columnsOf(draft);
    const result = await this.parts.database.transact((trx) =>
      appendEvidence(trx, record, columns),
    );
    await faultPoint("evidence.after-commit");
    if (result.type === "known") return this.#again(draft, result.evidence);
    if (result.type === "appended") {
      const bringAs = columns.content === "PENDING" ? hex(record.id) : undefined;
      return { recordId: record.id, replayed: false, bringAs };
    }
    await draft.file?.discard();
    throw reused({ ...result, index: 0 });
  }

  /** A file whose evidence is known may be the first of it, or may be missed by the content store. */
  async #again({ file }: EvidenceDraft, known: StoredEvidence): Promise<Appended> {
    const { recordId, content } = known;
    const again = { recordId, replayed: true };
    if (file === undefined || content === "INTACT") {
      await file?.discard();
      return { ...again, bringAs: undefined };
    }
    await this.parts.database.transact((trx) => expectContent(trx, known, file));
    await file.claim(hex(recordId));
    return { ...again, bringAs: hex(recordId) };
  }
}

function columnsOf(draft: EvidenceDraft): EvidenceColumns {
  const { subject, digest, cid, size, file, requireContent } = draft;
  const kept = requireContent ? "INTACT" : "PENDING";
  const content = file === undefined ? "NONE" : kept;
  return { subjectKey: subjectKey(subject), digest, cid, size, content };
}

function recordOf(draft: EvidenceDraft): RecordDraft {
  const { digest, cid, size, fileName, mediaType, derivedFrom, file, details } = draft;
  const value = create(EvidenceAddedSchema, {
    sha256: hex(digest),
    cid,
    size: size === undefined ? undefined : BigInt(size),
    fileName,
    mediaType,
    derivedFrom: derivedFrom === undefined ? "" : hex(derivedFrom),
    contentKept: file !== undefined,
    details,
  });
  return { ...draft, body: { case: "evidenceAdded", value } };
}
