import type { Database } from "./database.js";

/** Asks that so many records from the first on be sealed. That stands until they are, whoever seals. */
export async function requestSeal(database: Database, length: number): Promise<void> {
  await database.transact((trx) =>
    trx.updateTable("seal_request").set({ length }).where("length", "<", length).execute(),
  );
}

/** How many records, from the first on, were asked to be sealed; 0 before any were. */
export async function requestedSeal(database: Database): Promise<number> {
  const { length } = await database.read((db) =>
    db.selectFrom("seal_request").select("length").executeTakeFirstOrThrow(),
  );
  return Number(length);
}
