import { sql } from "kysely";
import type { Expression } from "kysely";
import { hex } from "../core/bytes.js";
import type { OperationKind, OperationState } from "../core/operation.js";
import type { Database } from "./database.js";
import { matches } from "./records.js";
import type { RecordQuery } from "./records.js";
import { text } from "./tables.js";

const DAY_SECONDS = 86_400;
const DAY_MICROS = DAY_SECONDS * 1_000_000;

/** How many records of a type happened on a day. */
export interface DayCount {
  /** Days since 1970, in UTC. */
  readonly day: number;
  readonly type: string;
  readonly count: number;
}

/** How many records match, by day and type. */
export async function countByDay(database: Database, query: RecordQuery): Promise<DayCount[]> {
  const day = quotient(database, sql.ref("occur_time"), DAY_MICROS);
  const rows = await database.read((db) =>
    db
      .selectFrom("records")
      .select((eb) => [day.as("day"), "type", eb.fn.countAll<number>().as("count")])
      .where(matches(query))
      .groupBy(["day", "type"])
      .orderBy("day")
      .orderBy("type")
      .execute(),
  );
  return rows.map((row) => ({
    day: Number(row.day),
    type: text(row.type),
    count: Number(row.count),
  }));
}

/** Seconds since 1970, as a half-open range; what is undefined does not restrict. */
export interface TimeRange {
  readonly from: number | undefined;
  readonly to: number | undefined;
}

/** The gas of seals in blocks of a day. */
export interface DayGas {
  /** Days since 1970, in UTC. */
  readonly day: number;
  readonly gas: number;
}

/** The gas of all seals on the chain whose blocks are in a range of time, by day. */
export async function gasOfSeals(database: Database, { from, to }: TimeRange): Promise<DayGas[]> {
  const day = quotient(database, sql.ref("block_time"), DAY_SECONDS);
  const rows = await database.read((db) =>
    db
      .selectFrom("batches")
      .select((eb) => [day.as("day"), eb.fn.sum<number>("gas_used").as("gas")])
      .where("block_time", "is not", null)
      .$if(from !== undefined, (q) => q.where("block_time", ">=", from as number))
      .$if(to !== undefined, (q) => q.where("block_time", "<", to as number))
      .groupBy("day")
      .orderBy("day")
      .execute(),
  );
  return rows.map((row) => ({ day: Number(row.day), gas: Number(row.gas) }));
}

/** A transaction whose gas is not stored: the chain has to be asked. */
export interface UnpricedTransaction {
  readonly kind: OperationKind;
  readonly hash: Uint8Array;
  /** Time of its block, or of its signing where it had no effect: seconds since 1970. */
  readonly time: number;
}

/** Calls of these states may have cost gas; what is SEALed is stored with its batch. */
const ENDED: readonly OperationState[] = ["MINED", "FAILED", "DROPPED"];

/**
 * Every transaction in a range of time, apart from the seals that are on the chain, which this service's
 * accounts sent: those that were signed here, and those that had effects which the chain tells of.
 */
export async function unpricedTransactions(
  database: Database,
  accounts: readonly Uint8Array[],
  range: TimeRange,
): Promise<UnpricedTransaction[]> {
  const signed = await signedTransactions(database, range);
  const seen =
    accounts.length === 0
      ? []
      : [
          ...(await anchoringTransactions(database, accounts, range)),
          ...(await deadlineTransactions(database, accounts, range)),
        ];
  const byHash = new Map(signed.map((each) => [hex(each.hash), each]));
  for (const each of seen) byHash.set(hex(each.hash), each);
  return [...byHash.values()];
}

/** The accounts that have signed calls here: 20 bytes each. */
export async function signingAccounts(database: Database): Promise<Uint8Array[]> {
  const rows = await database.read((db) =>
    db.selectFrom("operations").select("sender").distinct().execute(),
  );
  return rows.map(({ sender }) => sender);
}

async function signedTransactions(
  database: Database,
  { from, to }: TimeRange,
): Promise<UnpricedTransaction[]> {
  const rows = await database.read((db) =>
    db
      .selectFrom("operations")
      .select(["kind", "transaction_hash", "create_time"])
      .where("state", "in", ENDED)
      .where((eb) =>
        eb.or([
          eb("kind", "!=", "SEAL" satisfies OperationKind),
          eb("state", "!=", "MINED" satisfies OperationState),
        ]),
      )
      .$if(from !== undefined, (q) => q.where("create_time", ">=", (from as number) * 1000))
      .$if(to !== undefined, (q) => q.where("create_time", "<", (to as number) * 1000))
      .execute(),
  );
  return rows.map((row) => ({
    kind: text(row.kind) as OperationKind,
    hash: row.transaction_hash,
    time: Number(row.create_time) / 1000,
  }));
}

async function anchoringTransactions(
  database: Database,
  accounts: readonly Uint8Array[],
  { from, to }: TimeRange,
): Promise<UnpricedTransaction[]> {
  const rows = await database.read((db) =>
    db
      .selectFrom("evidence")
      .select(["transaction_hash as hash", "block_time as time"])
      .distinct()
      .where("submitter", "in", accounts)
      .$if(from !== undefined, (q) => q.where("block_time", ">=", from as number))
      .$if(to !== undefined, (q) => q.where("block_time", "<", to as number))
      .execute(),
  );
  return rows.flatMap(({ hash, time }) =>
    hash === null ? [] : [{ kind: "EVIDENCE" as const, hash, time: Number(time) }],
  );
}

async function deadlineTransactions(
  database: Database,
  accounts: readonly Uint8Array[],
  { from, to }: TimeRange,
): Promise<UnpricedTransaction[]> {
  const rows = await database.read((db) =>
    db
      .selectFrom("sla_events")
      .select(["transaction_hash as hash", "block_time as time", "kind"])
      .distinct()
      .where("account", "in", accounts)
      .$if(from !== undefined, (q) => q.where("block_time", ">=", from as number))
      .$if(to !== undefined, (q) => q.where("block_time", "<", to as number))
      .execute(),
  );
  return rows.map(({ hash, time, kind }) => ({
    kind: text(kind) === "LEVEL_RAISED" ? "ESCALATION" : "SLA",
    hash,
    time: Number(time),
  }));
}

/** A whole quotient, which each database writes in its own way. Requires that neither is negative. */
function quotient({ flavour }: Database, dividend: Expression<unknown>, divisor: number) {
  const by = sql.lit(divisor);
  return flavour === "mysql"
    ? sql<number>`${dividend} div ${by}`
    : sql<number>`${dividend} / ${by}`;
}
