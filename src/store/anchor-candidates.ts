import type { Database } from "./database.js";
import { anchorOf } from "./evidence.js";
import type { EvidenceKey, StoredEvidenceAnchor } from "./evidence.js";

/** What may be the anchor of a file: evidence of it, or an anchor that the database has no record of. */
export interface AnchorCandidate extends EvidenceKey {
  /** Undefined where there is no record of it. */
  readonly recordId: Uint8Array | undefined;
  /** Undefined where it is not known to be on the chain. */
  readonly anchor: StoredEvidenceAnchor | undefined;
}

/** Which candidates; what is undefined does not restrict. */
export interface CandidateQuery {
  readonly digest: Uint8Array;
  /** One of these. Requires at least one. */
  readonly subjectKeys?: readonly Uint8Array[];
  readonly limit: number;
}

/** What may be the anchors of a file: those known to be on the chain come first, oldest first. */
export async function anchorCandidates(
  database: Database,
  { digest, subjectKeys, limit }: CandidateQuery,
): Promise<AnchorCandidate[]> {
  const known = await database.read((db) =>
    db
      .selectFrom("evidence")
      .selectAll()
      .where("digest", "=", digest)
      .$if(subjectKeys !== undefined, (q) => q.where("subject_key", "in", subjectKeys ?? []))
      .orderBy((eb) => eb.case().when("block_number", "is", null).then(1).else(0).end())
      .orderBy("block_number")
      .orderBy("id")
      .limit(limit)
      .execute(),
  );
  const strange = await database.read((db) =>
    db
      .selectFrom("strange_anchors")
      .selectAll()
      .where("digest", "=", digest)
      .$if(subjectKeys !== undefined, (q) => q.where("subject_key", "in", subjectKeys ?? []))
      .orderBy("block_number")
      .orderBy("log_index")
      .limit(limit)
      .execute(),
  );
  const candidates = [...known, ...strange].map((row): AnchorCandidate => ({
    subjectKey: row.subject_key,
    digest: row.digest,
    recordId: "record_id" in row ? row.record_id : undefined,
    anchor: anchorOf(row),
  }));
  const blockOf = ({ anchor }: AnchorCandidate) => anchor?.blockNumber ?? Number.MAX_SAFE_INTEGER;
  return candidates.sort((a, b) => blockOf(a) - blockOf(b)).slice(0, limit);
}
