import type { Kysely, Transaction } from "kysely";
import type { Database } from "./database.js";
import { anchorOf, deleteStrange, evidence, evidenceByKey, NOWHERE, stored } from "./evidence.js";
import type { StoredEvidence, StoredEvidenceAnchor, StrangeAnchor } from "./evidence.js";
import type { Tables } from "./tables.js";

/**
 * Notes where the chain has evidence, or keeps the anchor for later where there is no record of it.
 * Returns the group whose last anchor this was, if any.
 */
export async function anchorEvidence(
  trx: Transaction<Tables>,
  { subjectKey, digest, cid, logIndex, anchor }: StrangeAnchor,
): Promise<number | undefined> {
  const known = await evidenceByKey(trx, { subjectKey, digest });
  if (known === undefined) {
    await deleteStrange(trx, { subjectKey, digest });
    const place = placeColumns(anchor);
    await trx
      .insertInto("strange_anchors")
      .values({ subject_key: subjectKey, digest, cid, log_index: logIndex, ...place })
      .execute();
    return undefined;
  }
  await deleteStrange(trx, known);
  await trx.updateTable("evidence").set(placeColumns(anchor)).where("id", "=", known.id).execute();
  const { group } = known;
  if (group === undefined) return undefined;
  const waiting = await unanchoredGroups(trx)
    .where("group_number", "=", group)
    .limit(1)
    .executeTakeFirst();
  return waiting === undefined ? group : undefined;
}

/** Takes evidence above a block back to waiting: the chain no longer has it. */
export async function retractEvidenceAbove(
  trx: Transaction<Tables>,
  blockNumber: number,
): Promise<void> {
  await trx.updateTable("evidence").set(NOWHERE).where("block_number", ">", blockNumber).execute();
  await trx.deleteFrom("strange_anchors").where("block_number", ">", blockNumber).execute();
}

/** The first group that is not on the chain, and what of it is not. */
export async function firstUnanchoredGroup(
  database: Database,
): Promise<{ readonly number: number; readonly evidence: StoredEvidence[] } | undefined> {
  return database.read(async (db) => {
    const first = await db
      .selectFrom("evidence")
      .select((eb) => eb.fn.min<number | null>("group_number").as("number"))
      .where("block_number", "is", null)
      .executeTakeFirst();
    if (first === undefined || first.number === null) return undefined;
    const number = Number(first.number);
    const rows = await evidence(db)
      .where("block_number", "is", null)
      .where("group_number", "=", number)
      .orderBy("id")
      .execute();
    return { number, evidence: rows.map(stored) };
  });
}

/** Evidence that is neither on the chain nor in a group, oldest first. */
export async function ungroupedEvidence(
  database: Database,
  limit: number,
): Promise<StoredEvidence[]> {
  const rows = await database.read((db) =>
    evidence(db)
      .where("block_number", "is", null)
      .where("group_number", "is", null)
      .orderBy("id")
      .limit(limit)
      .execute(),
  );
  return rows.map(stored);
}

/** Number that the next group gets. */
export async function nextGroupNumber(database: Database): Promise<number> {
  const row = await database.read((db) =>
    db
      .selectFrom("evidence")
      .select((eb) => eb.fn.max<number | null>("group_number").as("last"))
      .executeTakeFirst(),
  );
  return Number(row?.last ?? 0) + 1;
}

/** Makes a group. Throws where one of its members has got into another meanwhile. */
export async function groupEvidence(
  trx: Transaction<Tables>,
  number: number,
  members: readonly StoredEvidence[],
): Promise<void> {
  const { numUpdatedRows } = await trx
    .updateTable("evidence")
    .set({ group_number: number })
    .where(
      "id",
      "in",
      members.map(({ id }) => id),
    )
    .where("group_number", "is", null)
    .executeTakeFirstOrThrow();
  if (Number(numUpdatedRows) === members.length) return;
  throw new Error("another daemon anchors the same evidence: this one looks again");
}

/** Groups of which something is not on the chain. */
export function unanchoredGroups(db: Kysely<Tables>) {
  return db
    .selectFrom("evidence")
    .select((eb) => eb.ref("group_number").$castTo<number>().as("number"))
    .where("block_number", "is", null)
    .where("group_number", "is not", null);
}

/** Anchors that the database has no record of, in blocks up to a number; in chain order. */
export async function strangeAnchors(
  database: Database,
  toBlock: number,
  limit: number,
): Promise<StrangeAnchor[]> {
  const rows = await database.read((db) =>
    db
      .selectFrom("strange_anchors")
      .selectAll()
      .where("block_number", "<=", toBlock)
      .orderBy("block_number")
      .orderBy("log_index")
      .limit(limit)
      .execute(),
  );
  return rows.map((row) => ({
    subjectKey: row.subject_key,
    digest: row.digest,
    cid: row.cid,
    logIndex: Number(row.log_index),
    anchor: anchorOf(row) as StoredEvidenceAnchor,
  }));
}

function placeColumns(anchor: StoredEvidenceAnchor) {
  return {
    submitter: anchor.submitter,
    transaction_hash: anchor.transactionHash,
    block_number: anchor.blockNumber,
    block_hash: anchor.blockHash,
    block_time: anchor.blockTime,
  };
}
