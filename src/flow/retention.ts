import type { Logger } from "pino";
import { chainPosition } from "../store/chain-position.js";
import type { Database } from "../store/database.js";
import { feedBounds, firstRowAbove, pruneFeed } from "../store/feed.js";
import { Loop } from "./loop.js";

const DAY_MS = 24 * 60 * 60 * 1_000;

/** Rows that are forgotten in one transaction. */
const STEP = 1_000;

/** How often the feed is looked through. */
const IDLE_MS = 60_000;

/** A loop that forgets old events while this daemon leads; with 0 days it forgets none. */
export function retentionLoop(
  database: Database,
  days: number,
  leads: () => boolean,
  log: Logger,
): Loop {
  const turn = async () => {
    if (days === 0 || !leads()) return "idle";
    const forgotten = await forgetEvents(database, Date.now() - days * DAY_MS);
    return forgotten === 0 ? "idle" : "again";
  };
  return new Loop("retention", turn, { idleMs: IDLE_MS, log });
}

/**
 * Forgets events that happened before a time, oldest first, some at once. What happened in a block that
 * is not final stays, with all that came after it. Returns how many were forgotten.
 */
export async function forgetEvents(
  database: Database,
  beforeTime: number,
  step = STEP,
): Promise<number> {
  const { first } = await feedBounds(database);
  const finalNumber = (await chainPosition(database))?.finalNumber ?? -1;
  const open = await firstRowAbove(database, finalNumber);
  const limit = open === undefined ? step : Math.min(step, open - first);
  if (limit <= 0) return 0;
  return database.transact((trx) => pruneFeed(trx, beforeTime, limit));
}
