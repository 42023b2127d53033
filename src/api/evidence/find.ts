import { hex, unhex } from "../../core/bytes.js";
import { AnchordError } from "../../core/errors.js";
import type { Database } from "../../store/database.js";
import { evidenceByRecord, listEvidence } from "../../store/evidence.js";
import type { StoredEvidence } from "../../store/evidence.js";
import { keysOf } from "../subject-keys.js";

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
