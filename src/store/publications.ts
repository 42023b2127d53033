import type { Transaction } from "kysely";
import type { Database } from "./database.js";
import type { Tables } from "./tables.js";

/** A batch whose content is not in the content store yet. */
export interface Unpublished {
  readonly batchNumber: number;
  /** Id of the content key that its digest was made with. */
  readonly keyId: Uint8Array;
}

/** Notes that a batch's content is to be published, or already was. */
export async function insertPublication(
  trx: Transaction<Tables>,
  batchNumber: number,
  keyId: Uint8Array,
  publishTime: number | null,
): Promise<void> {
  await trx
    .insertInto("publications")
    .values({ batch_number: batchNumber, key_id: keyId, publish_time: publishTime })
    .execute();
}

/** The first batch that is to be published. */
export async function firstUnpublished(database: Database): Promise<Unpublished | undefined> {
  const row = await database.read((db) =>
    db
      .selectFrom("publications")
      .select(["batch_number", "key_id"])
      .where("publish_time", "is", null)
      .orderBy("batch_number")
      .limit(1)
      .executeTakeFirst(),
  );
  return row && { batchNumber: Number(row.batch_number), keyId: row.key_id };
}

/** Notes that a batch's content is in the content store. */
export async function markPublished(database: Database, batchNumber: number): Promise<void> {
  await database.transact((trx) =>
    trx
      .updateTable("publications")
      .set({ publish_time: Date.now() })
      .where("batch_number", "=", batchNumber)
      .execute(),
  );
}

/** How many batches are to be published, and since when the oldest of them is. */
export async function publicationBacklog(
  database: Database,
): Promise<{ readonly count: number; readonly since: number | undefined }> {
  const row = await database.read((db) =>
    db
      .selectFrom("publications")
      .innerJoin("batches", "batches.number", "publications.batch_number")
      .select((eb) => [
        eb.fn.countAll<number>().as("count"),
        eb.fn.min<number | null>("create_time").as("since"),
      ])
      .where("publish_time", "is", null)
      .executeTakeFirstOrThrow(),
  );
  return { count: Number(row.count), since: row.since === null ? undefined : Number(row.since) };
}
