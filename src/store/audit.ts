import type { Transaction } from "kysely";
import type { Database } from "./database.js";
import { text } from "./tables.js";
import type { Tables } from "./tables.js";

/** How far the auditor has come, and what it found. Times are milliseconds since 1970. */
export interface StoredAudit {
  /** Number of the batch that is next in the pass under way, or would have been in one that has ended. */
  readonly nextBatch: number;
  /** When the pass under way, or the last, began. */
  readonly passStartTime: number;
  /** When the last whole pass ended; undefined before the first has. */
  readonly passEndTime: number | undefined;
  /** JSON of the noted difference; empty where there is none. */
  readonly problem: string;
  /** When the noted difference was last found. */
  readonly problemTime: number | undefined;
}

/** How far the auditor has come; undefined before its first pass. */
export async function storedAudit(database: Database): Promise<StoredAudit | undefined> {
  const row = await database.read((db) => db.selectFrom("audit").selectAll().executeTakeFirst());
  return (
    row && {
      nextBatch: Number(row.next_batch),
      passStartTime: Number(row.pass_start_time),
      passEndTime: row.pass_end_time === null ? undefined : Number(row.pass_end_time),
      problem: text(row.problem),
      problemTime: row.problem_time === null ? undefined : Number(row.problem_time),
    }
  );
}

/** Begins a pass at batch 1. What was noted at that time or later, by another clock, has no time any more. */
export async function beginPass(trx: Transaction<Tables>, time: number): Promise<void> {
  for (const column of ["pass_end_time", "problem_time"] as const) {
    await trx
      .updateTable("audit")
      .set({ [column]: null })
      .where(column, ">=", time)
      .execute();
  }
  const begun = { next_batch: 1, pass_start_time: time };
  const { numUpdatedRows } = await trx
    .updateTable("audit")
    .set(begun)
    .where("id", "=", 1)
    .executeTakeFirstOrThrow();
  if (numUpdatedRows > 0n) return;
  await trx
    .insertInto("audit")
    .values({ id: 1, ...begun, pass_end_time: null, problem: "", problem_time: null })
    .execute();
}

/** Goes on to the next batch. */
export async function setNextBatch(trx: Transaction<Tables>, number: number): Promise<void> {
  await trx.updateTable("audit").set({ next_batch: number }).where("id", "=", 1).execute();
}

/** Ends a whole pass, which found nothing: a difference noted before is gone. */
export async function endPass(trx: Transaction<Tables>, time: number): Promise<void> {
  await trx
    .updateTable("audit")
    .set({ pass_end_time: time, problem: "", problem_time: null })
    .where("id", "=", 1)
    .execute();
}

/** Ends a pass with a difference. Returns whether it is another than was noted before. */
export async function noteProblem(
  trx: Transaction<Tables>,
  problem: string,
  time: number,
): Promise<boolean> {
  const { numUpdatedRows } = await trx
    .updateTable("audit")
    .set({ problem, problem_time: time })
    .where("id", "=", 1)
    .where("problem", "!=", problem)
    .executeTakeFirstOrThrow();
  if (numUpdatedRows > 0n) return true;
  await trx.updateTable("audit").set({ problem_time: time }).where("id", "=", 1).execute();
  return false;
}
