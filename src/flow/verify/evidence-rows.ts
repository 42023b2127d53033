import { hex } from "../../core/bytes.js";
import type { Database } from "../../store/database.js";
import type { EvidenceKey } from "../../store/evidence.js";
import { evidenceRows } from "../../store/evidence-rows.js";
import type { EvidenceRow } from "../../store/evidence-rows.js";

/** The rows of evidence that have these record ids, by the ids in hex. */
export async function rowsById(
  database: Database,
  recordIds: readonly Uint8Array[],
): Promise<Map<string, EvidenceRow>> {
  const rows = await evidenceRows(database, { recordIds });
  return new Map(rows.map((row) => [hex(row.recordId), row]));
}

/** The rows of evidence of these keys, by the keys' texts. */
export async function rowsByKey(
  database: Database,
  keys: readonly EvidenceKey[],
): Promise<Map<string, EvidenceRow>> {
  const rows = await evidenceRows(database, { keys });
  return new Map(rows.map((row) => [keyText(row), row]));
}

/** A key of evidence as a key of maps. */
export function keyText({ subjectKey, digest }: EvidenceKey): string {
  return `${hex(subjectKey)}/${hex(digest)}`;
}
