import type { Expression, ExpressionBuilder, SqlBool } from "kysely";
import type { Database } from "./database.js";
import { text } from "./tables.js";
import type { Tables } from "./tables.js";

/** A place in the feed: a row, and how many of its events lie before. */
export interface StoredPosition {
  readonly number: number;
  readonly done: number;
}

/** A named subscription as it is stored. */
export interface StoredSubscription extends StoredPosition {
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly createTime: number;
  readonly acknowledgeTime: number | undefined;
  /** When the oldest row that is not wholly before the position came to be. */
  readonly pendingTime: number | undefined;
}

/** Makes a holder the consumer of a subscription. Returns its position; undefined if there is none. */
export async function takeSubscription(
  database: Database,
  name: string,
  holder: string,
): Promise<StoredPosition | undefined> {
  return database.transact(async (trx) => {
    await trx.updateTable("subscriptions").set({ holder }).where("name", "=", name).execute();
    const row = await trx
      .selectFrom("subscriptions")
      .select(["number", "done"])
      .where("name", "=", name)
      .executeTakeFirst();
    return row && { number: Number(row.number), done: Number(row.done) };
  });
}

/** Makes a subscription at a position, unless there is one of that name. */
export async function createSubscription(
  database: Database,
  name: string,
  { number, done }: StoredPosition,
): Promise<void> {
  const values = {
    name,
    number,
    done,
    holder: "",
    create_time: Date.now(),
    acknowledge_time: null,
  };
  await database.transact((trx) => {
    const insert = trx.insertInto("subscriptions").values(values);
    return database.flavour === "mysql"
      ? insert.onDuplicateKeyUpdate({ name }).execute()
      : insert.onConflict((conflict) => conflict.doNothing()).execute();
  });
}

/** Moves a subscription to a position, if that is further on. Returns whether there is one. */
export async function acknowledgeSubscription(
  database: Database,
  name: string,
  { number, done }: StoredPosition,
): Promise<boolean> {
  const isFurtherBack = (eb: ExpressionBuilder<Tables, "subscriptions">): Expression<SqlBool> =>
    eb.or([eb("number", "<", number), eb.and([eb("number", "=", number), eb("done", "<", done)])]);
  return database.transact(async (trx) => {
    await trx
      .updateTable("subscriptions")
      .set({ number, done, acknowledge_time: Date.now() })
      .where("name", "=", name)
      .where(isFurtherBack)
      .execute();
    const found = await trx
      .selectFrom("subscriptions")
      .select("name")
      .where("name", "=", name)
      .executeTakeFirst();
    return found !== undefined;
  });
}

/** Subscriptions behind a name, by name. `whole` is the `done` of a row that is wholly before. */
export async function listSubscriptions(
  database: Database,
  options: {
    readonly after: string | undefined;
    readonly limit: number;
    readonly whole: number;
  },
): Promise<StoredSubscription[]> {
  const { after, limit, whole } = options;
  const rows = await database.read((db) =>
    db
      .selectFrom("subscriptions as s")
      .select(["name", "number", "done", "create_time", "acknowledge_time"])
      .select((eb) =>
        eb
          .selectFrom("events as e")
          .select("e.create_time")
          .whereRef("e.number", ">=", "s.number")
          .where((on) => on.or([on("s.done", "<", whole), on("e.number", ">", on.ref("s.number"))]))
          .orderBy("e.number")
          .limit(1)
          .as("pending_time"),
      )
      .$if(after !== undefined, (query) => query.where("name", ">", after as string))
      .orderBy("name")
      .limit(limit)
      .execute(),
  );
  return rows.map((row) => ({
    name: text(row.name),
    number: Number(row.number),
    done: Number(row.done),
    createTime: Number(row.create_time),
    acknowledgeTime: row.acknowledge_time === null ? undefined : Number(row.acknowledge_time),
    pendingTime: row.pending_time === null ? undefined : Number(row.pending_time),
  }));
}

/** The consumer of each of some subscriptions, by name. */
export async function subscriptionHolders(
  database: Database,
  names: readonly string[],
): Promise<Map<string, string>> {
  const holders = new Map<string, string>();
  for (let at = 0; at < names.length; at += 500) {
    const rows = await database.read((db) =>
      db
        .selectFrom("subscriptions")
        .select(["name", "holder"])
        .where("name", "in", names.slice(at, at + 500))
        .execute(),
    );
    for (const { name, holder } of rows) holders.set(text(name), text(holder));
  }
  return holders;
}

/** How many subscriptions there are. */
export async function countSubscriptions(database: Database): Promise<number> {
  const { count } = await database.read((db) =>
    db
      .selectFrom("subscriptions")
      .select((eb) => eb.fn.countAll<number>().as("count"))
      .executeTakeFirstOrThrow(),
  );
  return Number(count);
}

/** Forgets a subscription. Returns whether there was one. */
export async function deleteSubscription(database: Database, name: string): Promise<boolean> {
  const { numDeletedRows } = await database.transact((trx) =>
    trx.deleteFrom("subscriptions").where("name", "=", name).executeTakeFirstOrThrow(),
  );
  return numDeletedRows > 0n;
}
