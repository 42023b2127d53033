import type { Transaction } from "kysely";
import type { Database } from "./database.js";
import type { Tables } from "./tables.js";

/** Position of the first record that policies have not looked at. */
export async function policyCursor(database: Database): Promise<number> {
  const { next_seq } = await database.read((db) =>
    db.selectFrom("sla_policy").select("next_seq").executeTakeFirstOrThrow(),
  );
  return Number(next_seq);
}

/** Says that policies have looked at every record below a position. */
export async function movePolicyCursor(trx: Transaction<Tables>, nextSeq: number): Promise<void> {
  await trx.updateTable("sla_policy").set({ next_seq: nextSeq }).where("id", "=", 1).execute();
}
