import type { Selectable } from "kysely";
import { hex } from "../core/bytes.js";
import type { Database } from "./database.js";
import { anchorOf } from "./evidence.js";
import type { EvidenceKey, StoredEvidenceAnchor, StrangeAnchor } from "./evidence.js";
import type { StoredRecord } from "./append.js";
import { text } from "./tables.js";
import type { StrangeAnchorsTable } from "./tables.js";

/** Evidence as its row has it, for comparison: where the row was changed, nothing of it need fit. */
export interface EvidenceRow extends EvidenceKey {
  readonly recordId: Uint8Array;
  readonly cid: string;
  readonly size: number | undefined;
  readonly content: string;
  readonly group: number | undefined;
  readonly place: {
    readonly [P in keyof StoredEvidenceAnchor]: StoredEvidenceAnchor[P] | undefined;
  };
}

/** Rows that are asked for at once. */
const PAGE = 100;

/** The rows of evidence that have one of these record ids, or of these keys. */
export async function evidenceRows(
  database: Database,
  of: { readonly recordIds: readonly Uint8Array[] } | { readonly keys: readonly EvidenceKey[] },
): Promise<EvidenceRow[]> {
  const all = "recordIds" in of ? of.recordIds : of.keys;
  const rows: EvidenceRow[] = [];
  for (let at = 0; at < all.length; at += PAGE) {
    const found = await database.read((db) =>
      db
        .selectFrom("evidence")
        .selectAll()
        .where((eb) =>
          "recordIds" in of
            ? eb("record_id", "in", of.recordIds.slice(at, at + PAGE))
            : eb.or(
                of.keys
                  .slice(at, at + PAGE)
                  .map(({ subjectKey, digest }) => eb.and({ subject_key: subjectKey, digest })),
              ),
        )
        .execute(),
    );
    for (const row of found) {
      rows.push({
        recordId: row.record_id,
        subjectKey: row.subject_key,
        digest: row.digest,
        cid: text(row.cid),
        size: numberOf(row.size),
        content: text(row.content),
        group: numberOf(row.group_number),
        place: {
          submitter: row.submitter ?? undefined,
          transactionHash: row.transaction_hash ?? undefined,
          blockNumber: numberOf(row.block_number),
          blockHash: row.block_hash ?? undefined,
          blockTime: numberOf(row.block_time),
        },
      });
    }
  }
  return rows;
}

/** The record ids of evidence rows that belong to no record of evidence. */
export async function evidenceWithoutRecord(
  database: Database,
  limit: number,
): Promise<Uint8Array[]> {
  const rows = await database.read((db) =>
    db
      .selectFrom("evidence")
      .leftJoin("records", (join) =>
        join
          .onRef("records.id", "=", "evidence.record_id")
          .on("records.type", "=", "evidence_added"),
      )
      .select("record_id")
      .where("seq", "is", null)
      .orderBy("evidence.id")
      .limit(limit)
      .execute(),
  );
  return rows.map(({ record_id }) => record_id);
}

/** The transactions that the evidence of a group is noted to be anchored by, in hex. */
export async function groupTransactions(database: Database, group: number): Promise<Set<string>> {
  const rows = await database.read((db) =>
    db
      .selectFrom("evidence")
      .select("transaction_hash")
      .where("group_number", "=", group)
      .where("transaction_hash", "is not", null)
      .distinct()
      .execute(),
  );
  return new Set(
    rows.flatMap(({ transaction_hash }) => (transaction_hash ? hex(transaction_hash) : [])),
  );
}

/** An anchor that there is no record of, by its key. */
export async function strangeAnchor(
  database: Database,
  { subjectKey, digest }: EvidenceKey,
): Promise<StrangeAnchor | undefined> {
  const row = await database.read((db) =>
    db
      .selectFrom("strange_anchors")
      .selectAll()
      .where("subject_key", "=", subjectKey)
      .where("digest", "=", digest)
      .executeTakeFirst(),
  );
  return row && strange(row);
}

/** An anchor that there should be no record of. */
export interface StrangeRow extends StrangeAnchor {
  /** Whether there is evidence with its key all the same. */
  readonly isKnown: boolean;
}

/** Anchors that there is no record of, in the order of their keys, behind one of these. */
export async function strangeRows(
  database: Database,
  behind: EvidenceKey | undefined,
  limit: number,
): Promise<StrangeRow[]> {
  const rows = await database.read((db) =>
    db
      .selectFrom("strange_anchors as s")
      .leftJoin("evidence as e", (join) =>
        join.onRef("e.subject_key", "=", "s.subject_key").onRef("e.digest", "=", "s.digest"),
      )
      .selectAll("s")
      .select("e.id as known")
      .$if(behind !== undefined, (q) =>
        q.where((eb) => {
          const { subjectKey, digest } = behind as EvidenceKey;
          const isSame = eb("s.subject_key", "=", subjectKey);
          return eb("s.subject_key", ">", subjectKey).or(isSame.and("s.digest", ">", digest));
        }),
      )
      .orderBy("s.subject_key")
      .orderBy("s.digest")
      .limit(limit)
      .execute(),
  );
  return rows.map((row) => ({ ...strange(row), isKnown: row.known !== null }));
}

/** The records of a trail that tell of evidence, in log order, from a position on. */
export async function* evidenceRecords(
  database: Database,
  subject: string,
  fromSeq: number,
): AsyncGenerator<Omit<StoredRecord, "id">> {
  for (let from = fromSeq; ;) {
    const rows = await database.read((db) =>
      db
        .selectFrom("records")
        .select(["seq", "entry"])
        .where("subject", "=", subject)
        .where("type", "in", ["evidence_added", "evidence_checked"])
        .where("seq", ">=", from)
        .orderBy("seq")
        .limit(PAGE)
        .execute(),
    );
    for (const { seq, entry } of rows) yield { seq: Number(seq), entry };
    if (rows.length < PAGE) return;
    from = Number(rows.at(-1)?.seq) + 1;
  }
}

function strange(row: Selectable<StrangeAnchorsTable>): StrangeAnchor {
  return {
    subjectKey: row.subject_key,
    digest: row.digest,
    cid: row.cid,
    logIndex: Number(row.log_index),
    anchor: anchorOf(row) as StoredEvidenceAnchor,
  };
}

function numberOf(value: number | null): number | undefined {
  return value === null ? undefined : Number(value);
}
