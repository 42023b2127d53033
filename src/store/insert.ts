import { CompiledQuery } from "kysely";
import type { Transaction } from "kysely";
import type { Tables } from "./tables.js";

/** Inserts rows with few, reusable statements: SQL by row count, values in column order. */
export async function insertRows(
  trx: Transaction<Tables>,
  table: keyof Tables,
  columns: readonly string[],
  rows: readonly (readonly unknown[])[],
): Promise<void> {
  for (let at = 0; at < rows.length; ) {
    const count = chunkSize(rows.length - at, columns.length);
    const values = rows.slice(at, at + count).flat();
    await trx.executeQuery(CompiledQuery.raw(insertSql(table, columns, count), values));
    at += count;
  }
}

/** SQLite takes 32,766 values a statement; steps of 64 keep prepared statements reusable. */
function chunkSize(rows: number, columns: number): number {
  if (rows <= 64) return rows;
  const most = Math.floor(16_384 / columns / 64) * 64;
  return Math.min(most, Math.floor(rows / 64) * 64);
}

const insertTexts = new Map<string, string>();

function insertSql(table: string, columns: readonly string[], rows: number): string {
  const key = `${table} ${rows}`;
  let text = insertTexts.get(key);
  if (text === undefined) {
    const row = `(${columns.map(() => "?").join(",")})`;
    text = `insert into ${table} (${columns.join(",")}) values ${Array(rows).fill(row).join(",")}`;
    insertTexts.set(key, text);
  }
  return text;
}
