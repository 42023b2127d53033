import { hex, unhex } from "../../core/bytes.js";
import { AnchordError } from "../../core/errors.js";
import { subjectKey } from "../../core/evidence.js";
import type { Database } from "../../store/database.js";
import { evidenceByRecord, listEvidence } from "../../store/evidence.js";
import type { StoredEvidence } from "../../store/evidence.js";

/**
 * What a subject may be called on chain. One of 64 hex digits may also be a key itself, as evidence is
 * listed that somebody anchored without this service.
 */
export function keysOf(subject: string): Uint8Array[] {
  const key = subjectKey(subject);
  return /^[0-9a-fA-F]{64}$/.test(subject) ? [key, unhex(subject)] : [key];
}

/** Evidence by its id in hex. Throws EVIDENCE_NOT_FOUND. */
export async function requireEvidence(database: Database, id: string): Promise<StoredEvidence> {
  const evidence = await database.read((db) => evidenceByRecord(db, unhex(id)));
  return evidence ?? notFound(`there is no evidence ${id}: check the id, or see ListEvidence`);
}

/** Evidence by its subject and SHA-256. Throws EVIDENCE_NOT_FOUND. */
export async function requireEvidenceOf(
  database: Database,
  subject: string,
  digest: Uint8Array,
): Promise<StoredEvidence> {
  const subjectKeys = keysOf(subject);
  const options = { newestFirst: false, behind: undefined, limit: subjectKeys.length };
  const [evidence] = await listEvidence(database, { subjectKeys, digest }, options);
  const what = `no file of SHA-256 ${hex(digest)} was handed in for this subject`;
  return evidence ?? notFound(`${what}: check both, or see ListEvidence`);
}

function notFound(message: string): never {
  throw new AnchordError("EVIDENCE_NOT_FOUND", message);
}
