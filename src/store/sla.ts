import type { ExpressionBuilder, Kysely, Selectable } from "kysely";
import { isBreached } from "../core/sla.js";
import type { Cycle, CycleState } from "../core/sla.js";
import type { Database } from "./database.js";
import { slaChange, slaChanges } from "./sla-changes.js";
import type { StoredSlaChange } from "./sla-changes.js";
import { slaEventsOf } from "./sla-events.js";
import type { StoredSlaEvent } from "./sla-events.js";
import { text } from "./tables.js";
import type { SlasTable, Tables } from "./tables.js";

/** How a deadline stands: as the chain has it, not on the chain yet, or refused by it for good. */
export type SlaState = CycleState | "PENDING" | "FAILED";

/** A deadline as it is stored: as the chain has it, or as it was asked for while the chain has it not. */
export interface StoredSla extends Omit<Cycle, "number" | "state"> {
  /** Its place in the order of acceptance; not dense. */
  readonly id: number;
  readonly subjectKey: Uint8Array;
  /** Empty where only the key is known. */
  readonly subject: string;
  /** Which of the subject's deadlines, from 1; expected, while it is PENDING; 0 where it FAILED. */
  readonly cycle: number;
  /** The record that set it; undefined for a stranger's that has none yet. */
  readonly recordId: Uint8Array | undefined;
  readonly state: SlaState;
  /** When its next level is due; undefined where none is to come, or its clock does not run. */
  readonly nextTime: number | undefined;
  /** The block of its latest change on chain; undefined where it has none. */
  readonly blockNumber: number | undefined;
}

/** Which deadlines; what is undefined does not restrict. */
export interface SlaQuery {
  /** One of these. Requires at least one. */
  readonly subjectKeys?: readonly Uint8Array[] | undefined;
  readonly state?: SlaState | undefined;
  /** Whose deadline is before this, in seconds since 1970. */
  readonly dueBefore?: number | undefined;
  /** The level that was raised at the least. */
  readonly minLevel?: number | undefined;
  /** Whether the deadline has passed before it was met, as of `now`. */
  readonly breached?: boolean | undefined;
  /** The clock of the chain, in seconds since 1970. */
  readonly now: number;
}

/** In which order deadlines are listed: as they were accepted, or by the deadline. */
export type SlaOrder = "newest" | "oldest" | "deadline";

/** A place in a list: the deadline behind which it goes on. */
export type SlaPlace = Pick<StoredSla, "id" | "deadline">;

/** How many deadlines there are. A failed change counts whatever it was to change. */
export interface SlaTotals {
  readonly open: number;
  readonly paused: number;
  /** Open ones whose deadline has passed. */
  readonly overdue: number;
  readonly waitingChanges: number;
  readonly failedChanges: number;
  /** When the next level of any is due, in seconds since 1970; undefined where none is to come. */
  readonly nextTime: number | undefined;
}

/** The states of deadlines that the chain has. */
const ON_CHAIN: readonly SlaState[] = ["OPEN", "PAUSED", "MET"];

/**
 * A deadline of a subject, by its cycle; without one, the last that has not failed, or else that did. Undefined
 * where there is none.
 */
export async function slaOf(
  db: Kysely<Tables>,
  { subjectKey, cycle }: { readonly subjectKey: Uint8Array; readonly cycle?: number | undefined },
): Promise<StoredSla | undefined> {
  const row = await slas(db)
    .where("subject_key", "=", subjectKey)
    .$if(cycle !== undefined, (q) => q.where("cycle", "=", cycle as number))
    .orderBy("cycle", "desc") // it is 0 of one that has failed
    .orderBy("id", "desc")
    .limit(1)
    .executeTakeFirst();
  return row && storedSla(row);
}

/** A deadline by the record that set it. */
export async function slaByRecord(
  db: Kysely<Tables>,
  recordId: Uint8Array,
): Promise<StoredSla | undefined> {
  const row = await slas(db).where("record_id", "=", recordId).executeTakeFirst();
  return row && storedSla(row);
}

/** Deadlines in an order, behind a place in it. */
export async function listSlas(
  database: Database,
  query: SlaQuery,
  options: {
    readonly order: SlaOrder;
    readonly behind: SlaPlace | undefined;
    readonly limit: number;
  },
): Promise<StoredSla[]> {
  const { order, behind, limit } = options;
  const direction = order === "newest" ? "desc" : "asc";
  const rows = await database.read((db) =>
    slas(db)
      .where(matches(query))
      .$if(behind !== undefined, (q) => q.where(isBehind(order, behind as SlaPlace)))
      .$if(order === "deadline", (q) => q.orderBy("deadline"))
      .orderBy("id", direction)
      .limit(limit)
      .execute(),
  );
  return rows.map(storedSla);
}

/** What was asked of a deadline, in log order, and what the chain announced of it, in its order. */
export async function slaHistory(
  db: Kysely<Tables>,
  sla: StoredSla,
): Promise<{ readonly changes: StoredSlaChange[]; readonly events: StoredSlaEvent[] }> {
  const { subjectKey, cycle, recordId, state } = sla;
  const isFailed = state === "FAILED" && recordId !== undefined;
  const changes = await slaChanges(db)
    .where("subject_key", "=", subjectKey)
    .$if(isFailed, (q) => q.where("record_id", "=", recordId as Uint8Array))
    .$if(!isFailed, (q) => q.where("cycle", "=", cycle))
    .orderBy("seq")
    .execute();
  const events = isFailed ? [] : await slaEventsOf(db, sla);
  return { changes: changes.map(slaChange), events };
}

/** Counts deadlines and their changes. `now` is the clock of the chain, in seconds since 1970. */
export async function slaTotals(database: Database, now: number): Promise<SlaTotals> {
  return database.read(async (db) => {
    const [deadlines, overdue, changes, next] = await Promise.all([
      db
        .selectFrom("slas")
        .select((eb) => ["state", eb.fn.countAll<number>().as("count")])
        .groupBy("state")
        .execute(),
      db
        .selectFrom("slas")
        .select((eb) => eb.fn.countAll<number>().as("count"))
        .where("state", "=", "OPEN" satisfies SlaState)
        .where("deadline", "<=", now)
        .executeTakeFirstOrThrow(),
      db
        .selectFrom("sla_changes")
        .select((eb) => ["state", eb.fn.countAll<number>().as("count")])
        .groupBy("state")
        .execute(),
      db
        .selectFrom("slas")
        .select((eb) => eb.fn.min<number | null>("next_time").as("time"))
        .executeTakeFirst(),
    ]);
    const countOf = (rows: typeof deadlines, state: string): number =>
      Number(rows.find((row) => text(row.state) === state)?.count ?? 0);
    return {
      open: countOf(deadlines, "OPEN"),
      paused: countOf(deadlines, "PAUSED"),
      overdue: Number(overdue.count),
      waitingChanges: countOf(changes, "WAITING"),
      failedChanges: countOf(changes, "FAILED"),
      nextTime: next?.time == null ? undefined : Number(next.time),
    };
  });
}

/** A deadline as the chain has it; undefined while it has none, or where it failed. */
export function cycleOf({ state, cycle, ...sla }: StoredSla): Cycle | undefined {
  if (state === "PENDING" || state === "FAILED") return undefined;
  const { deadline, ladder, raised, extensions, pauseTime, meetTime } = sla;
  return { number: cycle, state, deadline, ladder, raised, extensions, pauseTime, meetTime };
}

/** Whether a deadline that the chain has passed before it was met, as of a time by the chain's clock. */
export function isSlaBreached(sla: StoredSla, now: number): boolean {
  const cycle = cycleOf(sla);
  return cycle !== undefined && isBreached(cycle, now);
}

/** Rows of deadlines. */
export function slas(db: Kysely<Tables>) {
  return db.selectFrom("slas").selectAll();
}

/** A row of a deadline, read. */
export function storedSla(row: Selectable<SlasTable>): StoredSla {
  return {
    id: Number(row.id),
    subjectKey: row.subject_key,
    subject: text(row.subject),
    cycle: Number(row.cycle),
    recordId: row.record_id ?? undefined,
    state: text(row.state) as SlaState,
    deadline: Number(row.deadline),
    ladder: ladderIn(text(row.ladder)),
    raised: Number(row.raised),
    extensions: Number(row.extensions),
    pauseTime: numberOf(row.pause_time),
    meetTime: numberOf(row.meet_time),
    nextTime: numberOf(row.next_time),
    blockNumber: numberOf(row.block_number),
  };
}

/** What no deadline has where somebody has edited it: one row must not keep the others from being read. */
const UNREADABLE: readonly number[] = [-1];

function ladderIn(json: string): readonly number[] {
  try {
    const ladder: unknown = JSON.parse(json);
    return Array.isArray(ladder) && ladder.every(Number.isSafeInteger) ? ladder : UNREADABLE;
  } catch {
    return UNREADABLE;
  }
}

function numberOf(value: number | null): number | undefined {
  return value === null ? undefined : Number(value);
}

/** The condition that a query stands for. */
function matches({ subjectKeys, state, dueBefore, minLevel, breached, now }: SlaQuery) {
  return (eb: ExpressionBuilder<Tables, "slas">) => {
    const clock = eb.fn.coalesce("meet_time", "pause_time", eb.val(now));
    const hasPassed = eb.and([eb("state", "in", ON_CHAIN), eb(clock, ">=", eb.ref("deadline"))]);
    return eb.and([
      ...(subjectKeys === undefined ? [] : [eb("subject_key", "in", subjectKeys)]),
      ...(state === undefined ? [] : [eb("state", "=", state)]),
      ...(dueBefore === undefined ? [] : [eb("deadline", "<", dueBefore)]),
      ...(minLevel === undefined ? [] : [eb("raised", ">=", minLevel)]),
      ...(breached === undefined ? [] : [breached ? hasPassed : eb.not(hasPassed)]),
    ]);
  };
}

function isBehind(order: SlaOrder, { id, deadline }: SlaPlace) {
  return (eb: ExpressionBuilder<Tables, "slas">) => {
    if (order !== "deadline") return eb("id", order === "newest" ? "<" : ">", id);
    const isSame = eb.and([eb("deadline", "=", deadline), eb("id", ">", id)]);
    return eb.or([eb("deadline", ">", deadline), isSame]);
  };
}
