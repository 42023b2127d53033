import { CompiledQuery } from "kysely";
import type { Transaction } from "kysely";
import type { Tables } from "./tables.js";

/** Rows of one statement: enough to save round trips, few enough for many statements to stay prepared. */
const MOST_ROWS = 512;

/**
 * Inserts rows with few, reusable statements. Values come in column order, row after row. The statements
 * are all handed over at once: the connection runs them in order, and the transaction is short.
 */
export async function insertRows(
  trx: Transaction<Tables>,
  table: keyof Tables,
  columns: readonly string[],
  values: readonly unknown[],
): Promise<void> {
  const width = columns.length;
  const running: Promise<unknown>[] = [];
  for (let at = 0; at < values.length;) {
    const rows = chunkSize((values.length - at) / width);
    const chunk = values.slice(at, at + rows * width);
    running.push(trx.executeQuery(CompiledQuery.raw(insertSql(table, columns, rows), chunk)));
    at += rows * width;
  }
  await Promise.all(running);
}

/** Powers of two above 64, so that the same few statements come again and again. */
function chunkSize(rows: number): number {
  return rows <= 64 ? rows : Math.min(MOST_ROWS, 2 ** Math.floor(Math.log2(rows)));
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
