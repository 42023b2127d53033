import type { Transaction } from "kysely";
import type { OperationState, SignedCall } from "../core/operation.js";
import type { Database } from "./database.js";
import { text } from "./tables.js";
import type { Tables } from "./tables.js";

/** An intended contract call, kept until it ends. */
export interface Operation extends SignedCall {
  readonly id: number;
  readonly batchNumber: number;
}

/**
 * Stores a signed call before it is broadcast for the first time. The same bytes, signed again after
 * they had failed, are on their way again: a reorganisation may have freed their nonce.
 */
export async function insertOperation(
  trx: Transaction<Tables>,
  batchNumber: number,
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
      batch_number: batchNumber,
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

/** The call that is on its way for a batch. */
export async function sentOperation(
  database: Database,
  batchNumber: number,
): Promise<Operation | undefined> {
  const row = await database.read((db) =>
    db
      .selectFrom("operations")
      .selectAll()
      .where("batch_number", "=", batchNumber)
      .where("state", "=", "SENT" satisfies OperationState)
      .orderBy("id", "desc")
      .limit(1)
      .executeTakeFirst(),
  );
  return (
    row && {
      id: Number(row.id),
      batchNumber: Number(row.batch_number),
      sender: row.sender,
      nonce: Number(row.nonce),
      transactionHash: row.transaction_hash,
      transaction: row.transaction,
    }
  );
}

/** The hash of the transaction that is noted to have sealed a batch. */
export async function minedOperation(
  database: Database,
  batchNumber: number,
): Promise<Uint8Array | undefined> {
  const row = await database.read((db) =>
    db
      .selectFrom("operations")
      .select("transaction_hash")
      .where("batch_number", "=", batchNumber)
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

/** Notes that a batch was sealed by a transaction; any other that was on its way for it is not needed. */
export async function mineOperation(
  trx: Transaction<Tables>,
  batchNumber: number,
  transactionHash: Uint8Array,
): Promise<void> {
  await trx
    .updateTable("operations")
    .set({ state: "DROPPED" satisfies OperationState })
    .where("batch_number", "=", batchNumber)
    .where("state", "=", "SENT" satisfies OperationState)
    .where("transaction_hash", "!=", transactionHash)
    .execute();
  await trx
    .updateTable("operations")
    .set({ state: "MINED" satisfies OperationState })
    .where("transaction_hash", "=", transactionHash)
    .execute();
}

/** Takes mined calls of batches that the chain no longer has back to SENT. Requires retracted batches. */
export async function reopenOperations(trx: Transaction<Tables>): Promise<void> {
  await trx
    .updateTable("operations")
    .set({ state: "SENT" satisfies OperationState })
    .where("state", "=", "MINED" satisfies OperationState)
    .where("batch_number", "in", (eb) =>
      eb.selectFrom("batches").select("number").where("block_number", "is", null),
    )
    .execute();
}

/** The first nonce behind those that stored calls of the account use for batches below a number. */
export async function nextStoredNonce(
  database: Database,
  sender: Uint8Array,
  belowBatch: number,
): Promise<number> {
  const row = await database.read((db) =>
    db
      .selectFrom("operations")
      .select((eb) => eb.fn.max("nonce").as("nonce"))
      .where("sender", "=", sender)
      .where("batch_number", "<", belowBatch)
      .where("state", "in", ["SENT", "MINED"] satisfies OperationState[])
      .executeTakeFirst(),
  );
  return row === undefined || row.nonce === null ? 0 : Number(row.nonce) + 1;
}

/** Whether this database has ever sent a call. */
export async function hasOperations(database: Database): Promise<boolean> {
  const row = await database.read((db) =>
    db.selectFrom("operations").select("id").limit(1).executeTakeFirst(),
  );
  return row !== undefined;
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
