import type { SlaChange } from "../core/sla.js";
import type { Database } from "./database.js";
import { slaEvent, slaEvents } from "./sla-events.js";

/** A level that the chain has raised, and how late. */
export interface RaisedLevel {
  /** Its place in the order in which the database has heard of it. */
  readonly id: number;
  /** Block time less the time when it was due, in seconds. */
  readonly lateness: number;
}

/** Levels behind a place, in their order. */
export async function raisedLevels(
  database: Database,
  behind: number,
  limit: number,
): Promise<RaisedLevel[]> {
  const rows = await database.read((db) =>
    slaEvents(db)
      .where("id", ">", behind)
      .where("kind", "=", "LEVEL_RAISED" satisfies SlaChange["kind"])
      .orderBy("id")
      .limit(limit)
      .execute(),
  );
  return rows.map((row) => {
    const event = slaEvent(row);
    const isReadable = event?.change.kind === "LEVEL_RAISED";
    const lateness = isReadable ? event.blockTime - event.change.dueTime : 0;
    return { id: Number(row.id), lateness };
  });
}

/** The place behind which nothing was heard of yet. */
export async function lastSlaEvent(database: Database): Promise<number> {
  const row = await database.read((db) =>
    db
      .selectFrom("sla_events")
      .select((eb) => eb.fn.max<number | null>("id").as("last"))
      .executeTakeFirst(),
  );
  return Number(row?.last ?? 0);
}
