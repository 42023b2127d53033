import { nowMillis } from "./database.js";
import type { Database } from "./database.js";
import { text } from "./tables.js";

/** Who holds a lease, and whether it still counts. */
export interface Lease {
  readonly holder: string;
  /** Milliseconds until it runs out; negative once it has. */
  readonly remaining: number;
}

/**
 * Takes or renews a lease for some milliseconds. Returns whether the caller holds it now. A lease is
 * taken from another holder only when it has run out or `isGone` says that the holder is.
 */
export async function holdLease(
  database: Database,
  name: string,
  holder: string,
  duration: number,
  isGone: (holder: string) => boolean,
): Promise<boolean> {
  const now = nowMillis(database);
  return database.transact(async (trx) => {
    const row = await trx
      .selectFrom("leases")
      .select((eb) => ["holder", eb("expire_time", "-", now).as("remaining")])
      .where("name", "=", name)
      .executeTakeFirst();
    if (row === undefined) {
      const { time } = await trx.selectNoFrom(now.as("time")).executeTakeFirstOrThrow();
      await trx
        .insertInto("leases")
        .values({ name, holder, expire_time: Number(time) + duration })
        .execute();
      return true;
    }
    const current = text(row.holder);
    if (current !== holder && Number(row.remaining) > 0 && !isGone(current)) return false;
    const { numUpdatedRows } = await trx
      .updateTable("leases")
      .set((eb) => ({ holder, expire_time: eb(now, "+", duration) }))
      .where("name", "=", name)
      .where("holder", "=", current)
      .executeTakeFirstOrThrow();
    return numUpdatedRows === 1n;
  });
}

/** Gives a lease back, so that another may take it at once. */
export async function releaseLease(
  database: Database,
  name: string,
  holder: string,
): Promise<void> {
  await database.transact((trx) =>
    trx
      .updateTable("leases")
      .set({ expire_time: 0 })
      .where("name", "=", name)
      .where("holder", "=", holder)
      .execute(),
  );
}

/** Who holds a lease. */
export async function currentLease(database: Database, name: string): Promise<Lease | undefined> {
  const now = nowMillis(database);
  const row = await database.read((db) =>
    db
      .selectFrom("leases")
      .select((eb) => ["holder", eb("expire_time", "-", now).as("remaining")])
      .where("name", "=", name)
      .executeTakeFirst(),
  );
  return row && { holder: text(row.holder), remaining: Number(row.remaining) };
}
