import { sql } from "kysely";
import type { Kysely, Transaction } from "kysely";
import type { Database } from "./database.js";
import { slas, storedSla } from "./sla.js";
import type { StoredSla } from "./sla.js";
import type { Tables } from "./tables.js";

/** Deadlines that one transaction escalates. It never changes. */
export interface StoredEscalation {
  readonly number: number;
  /** The subjects. */
  readonly keys: readonly Uint8Array[];
  /** Most levels that it may raise. */
  readonly levels: number;
}

const KEY_BYTES = 32;

/** A row whose key was edited concerns nothing on the chain, and must not hold up the others. */
const IS_KEY = sql<boolean>`length(subject_key) = ${sql.lit(KEY_BYTES)}`;

/** Deadlines with a level due at a time, of subjects other than these, the earliest due first. */
export async function dueSlas(
  database: Database,
  now: number,
  except: readonly Uint8Array[],
  limit: number,
): Promise<StoredSla[]> {
  const rows = await database.read((db) =>
    slas(db)
      .where("next_time", "<=", now)
      .where(IS_KEY)
      .$if(except.length > 0, (q) => q.where("subject_key", "not in", except))
      .orderBy("next_time")
      .orderBy("id")
      .limit(limit)
      .execute(),
  );
  return rows.map(storedSla);
}

/** When the next level of a deadline is due, of subjects other than these; undefined where none is to come. */
export async function nextDueTime(
  database: Database,
  except: readonly Uint8Array[] = [],
): Promise<number | undefined> {
  const row = await database.read((db) =>
    db
      .selectFrom("slas")
      .select("next_time")
      .where("next_time", "is not", null)
      .where(IS_KEY)
      .$if(except.length > 0, (q) => q.where("subject_key", "not in", except))
      .orderBy("next_time")
      .limit(1)
      .executeTakeFirst(),
  );
  return row === undefined ? undefined : Number(row.next_time);
}

/** Escalations whose transaction is in no block that was followed, oldest first. */
export async function openEscalations(database: Database): Promise<StoredEscalation[]> {
  const rows = await database.read((db) =>
    db
      .selectFrom("escalations")
      .select(["number", "subject_keys", "levels"])
      .where("block_number", "is", null)
      .orderBy("number")
      .execute(),
  );
  return rows.map(({ number, subject_keys, levels }) => ({
    number: Number(number),
    keys: keysIn(subject_keys),
    levels: Number(levels),
  }));
}

/** Stores an escalation. Returns its number. */
export async function insertEscalation(
  trx: Transaction<Tables>,
  { keys, levels }: Omit<StoredEscalation, "number">,
): Promise<number> {
  const { insertId } = await trx
    .insertInto("escalations")
    .values({ subject_keys: Buffer.concat(keys), levels, block_number: null })
    .executeTakeFirstOrThrow();
  return Number(insertId);
}

/**
 * Notes which block has an escalation's transaction. Requires that nobody moves the position meanwhile, and that
 * the block was followed.
 */
export async function endEscalation(
  trx: Transaction<Tables>,
  number: number,
  blockNumber: number,
): Promise<void> {
  await trx
    .updateTable("escalations")
    .set({ block_number: blockNumber })
    .where("number", "=", number)
    .execute();
}

/** The numbers of escalations whose transaction is in no block that was followed. */
export function openEscalationNumbers(db: Kysely<Tables>) {
  return db
    .selectFrom("escalations")
    .select((eb) => eb.ref("number").$castTo<number>().as("number"))
    .where("block_number", "is", null);
}

function keysIn(bytes: Uint8Array): Uint8Array[] {
  return Array.from({ length: bytes.length / KEY_BYTES }, (_, i) =>
    bytes.subarray(i * KEY_BYTES, (i + 1) * KEY_BYTES),
  );
}
