import type { Selectable, SelectQueryBuilder, Transaction } from "kysely";
import type { OperationKind, OperationState, Purpose, SignedCall } from "../core/operation.js";
import type { Database } from "./database.js";
import { text } from "./tables.js";
import type { OperationsTable, Tables } from "./tables.js";

/** An intended contract call, kept until it ends. */
export interface Operation extends SignedCall, Purpose {
  readonly id: number;
  readonly state: OperationState;
}

/**
 * Stores a signed call before it is broadcast for the first time. The same bytes, signed again after
 * they had failed, are on their way again: a reorganisation may have freed their nonce.
 */
export async function insertOperation(
  trx: Transaction<Tables>,
  { kind, number }: Purpose,
  call: SignedCall,
  createTime: number,
): Promise<void> {
  const { numUpdatedRows } = await trx
    .updateTable("operations")
    .set({ state: "SENT" satisfies OperationState, reason: "" })
    .where("transaction_hash", "=", call.transactionHash)
    .executeTakeFirstOrThrow();
  if (numUpdatedRows > 0n) return;
  await trx
    .insertInto("operations")
    .values({
      kind,
      number,
      sender: call.sender,
      nonce: call.nonce,
      transaction_hash: call.transactionHash,
      transaction: call.transaction,
      state: "SENT" satisfies OperationState,
      reason: "",
      create_time: createTime,
    })
    .execute();
}

/** States of calls that wait to be mined. */
const WAITING: readonly OperationState[] = ["SENT", "REFUSED"];

/** States of calls whose nonces no other can have. */
const HOLDING: readonly OperationState[] = ["SENT", "MINED"];

/** The call that waits to be mined for a purpose: where it was offered for more, the last. */
export async function waitingOperation(
  database: Database,
  { kind, number }: Purpose,
): Promise<Operation | undefined> {
  const row = await database.read((db) =>
    db
      .selectFrom("operations")
      .selectAll()
      .where("kind", "=", kind)
      .where("number", "=", number)
      .where("state", "in", WAITING)
      .orderBy("id", "desc")
      .limit(1)
      .executeTakeFirst(),
  );
  return row && operation(row);
}

/** The calls of an account that are on their way with nonces in a range, the end not among them. */
export async function sentOperations(
  database: Database,
  sender: Uint8Array,
  fromNonce: number,
  toNonce: number,
): Promise<Operation[]> {
  const rows = await database.read((db) =>
    db
      .selectFrom("operations")
      .selectAll()
      .where("sender", "=", sender)
      .where("nonce", ">=", fromNonce)
      .where("nonce", "<", toNonce)
      .where("state", "=", "SENT" satisfies OperationState)
      .orderBy("nonce")
      .orderBy("id")
      .execute(),
  );
  // Of those with one nonce, the last offers most.
  return [...new Map(rows.map((row) => [Number(row.nonce), operation(row)])).values()];
}

/** The calls that are among some transactions. */
export async function operationsOf(
  database: Database,
  transactionHashes: readonly Uint8Array[],
): Promise<Operation[]> {
  if (transactionHashes.length === 0) return [];
  const rows = await database.read((db) =>
    db
      .selectFrom("operations")
      .selectAll()
      .where("transaction_hash", "in", transactionHashes)
      .execute(),
  );
  return rows.map(operation);
}

/** The hash of the transaction that is noted to have served a purpose. */
export async function minedOperation(
  database: Database,
  { kind, number }: Purpose,
): Promise<Uint8Array | undefined> {
  const row = await database.read((db) =>
    db
      .selectFrom("operations")
      .select("transaction_hash")
      .where("kind", "=", kind)
      .where("number", "=", number)
      .where("state", "=", "MINED" satisfies OperationState)
      .orderBy("id", "desc")
      .limit(1)
      .executeTakeFirst(),
  );
  return row?.transaction_hash;
}

/** Ends a call that had no effect. */
export async function failOperation(
  trx: Transaction<Tables>,
  id: number,
  reason: string,
): Promise<void> {
  await trx
    .updateTable("operations")
    .set({ state: "FAILED" satisfies OperationState, reason: reason.slice(0, 1000) })
    .where("id", "=", id)
    .execute();
}

/** Notes whether the node will have a call that waits to be mined. */
export async function offeredOperation(
  trx: Transaction<Tables>,
  transactionHash: Uint8Array,
  state: "SENT" | "REFUSED",
): Promise<void> {
  await trx
    .updateTable("operations")
    .set({ state })
    .where("transaction_hash", "=", transactionHash)
    .where("state", "in", WAITING)
    .execute();
}

/** Notes that a purpose was served by a transaction; any other that waits for it is not needed. */
export async function mineOperation(
  trx: Transaction<Tables>,
  { kind, number }: Purpose,
  transactionHash: Uint8Array,
): Promise<void> {
  await trx
    .updateTable("operations")
    .set({ state: "DROPPED" satisfies OperationState })
    .where("kind", "=", kind)
    .where("number", "=", number)
    .where("state", "in", WAITING)
    .where("transaction_hash", "!=", transactionHash)
    .execute();
  await trx
    .updateTable("operations")
    .set({ state: "MINED" satisfies OperationState })
    .where("transaction_hash", "=", transactionHash)
    .execute();
}

/**
 * Takes mined calls back to SENT whose effects the chain no longer has. `numbers` selects what of their
 * kind is not on the chain. Requires that what has left the chain was taken back.
 */
export async function reopenOperations(
  trx: Transaction<Tables>,
  kind: OperationKind,
  numbers: SelectQueryBuilder<Tables, keyof Tables, { number: number }>,
): Promise<void> {
  await trx
    .updateTable("operations")
    .set({ state: "SENT" satisfies OperationState })
    .where("kind", "=", kind)
    .where("state", "=", "MINED" satisfies OperationState)
    .where("number", "in", numbers)
    .execute();
}

/** The first nonce, from one on, that no call of the account holds which may still take effect. */
export async function freeNonce(
  database: Database,
  sender: Uint8Array,
  fromNonce: number,
): Promise<number> {
  const rows = await database.read((db) =>
    db
      .selectFrom("operations")
      .select("nonce")
      .where("sender", "=", sender)
      .where("nonce", ">=", fromNonce)
      .where("state", "in", HOLDING)
      .execute(),
  );
  const held = new Set(rows.map(({ nonce }) => Number(nonce)));
  let free = fromNonce;
  while (held.has(free)) free += 1;
  return free;
}

/** Whether this database has ever sent a call. */
export async function hasOperations(database: Database): Promise<boolean> {
  const row = await database.read((db) =>
    db.selectFrom("operations").select("id").limit(1).executeTakeFirst(),
  );
  return row !== undefined;
}

/** Why the last call that ended without effect did so, by the number of its purpose. */
export async function failureReasons(
  database: Database,
  kind: OperationKind,
  numbers: readonly number[],
): Promise<Map<number, string>> {
  if (numbers.length === 0) return new Map();
  const rows = await database.read((db) =>
    db
      .selectFrom("operations")
      .select(["number", "reason"])
      .where("kind", "=", kind)
      .where("number", "in", numbers)
      .where("state", "=", "FAILED" satisfies OperationState)
      .orderBy("id")
      .execute(),
  );
  return new Map(rows.map(({ number, reason }) => [Number(number), text(reason)]));
}

/** How many calls ended without effect, and why the last one did. */
export async function failedOperations(
  database: Database,
): Promise<{ readonly count: number; readonly lastReason: string }> {
  return database.read(async (db) => {
    const failed = db
      .selectFrom("operations")
      .where("state", "=", "FAILED" satisfies OperationState);
    const { count } = await failed
      .select((eb) => eb.fn.countAll<number>().as("count"))
      .executeTakeFirstOrThrow();
    const last = await failed.select("reason").orderBy("id", "desc").limit(1).executeTakeFirst();
    return { count: Number(count), lastReason: last === undefined ? "" : text(last.reason) };
  });
}

function operation(row: Selectable<OperationsTable>): Operation {
  return {
    id: Number(row.id),
    kind: text(row.kind) as OperationKind,
    number: Number(row.number),
    state: text(row.state) as OperationState,
    sender: row.sender,
    nonce: Number(row.nonce),
    transactionHash: row.transaction_hash,
    transaction: row.transaction,
  };
}
