import { hex } from "../../core/bytes.js";
import type { Cycle } from "../../core/sla.js";
import type { Chain, SlaEvent } from "../../chain/port.js";
import { eventsBetween } from "../../chain/tail.js";
import type { FollowedEvent } from "../../chain/tail.js";
import { chainPosition } from "../../store/chain-position.js";
import type { StoredIdentity } from "../../store/chain-position.js";
import type { Database } from "../../store/database.js";
import { eventColumns, slaEventRows, slaRowsOf } from "../../store/sla-check.js";
import type { ComparableRow } from "../../store/sla-check.js";
import { inParallel, slaNoteOf } from "../follow.js";
import { problem, show } from "./problem.js";
import type { Problem } from "./problem.js";

/** Compares the rows of deadlines with each other, and with the registry. */
export class SlaRowCheck {
  constructor(
    private readonly database: Database,
    private readonly chain: Chain,
    private readonly identity: StoredIdentity,
  ) {}

  /** What is noted of a subject, and the rows that follow from it. */
  async check(key: Uint8Array, batch: number): Promise<Problem[]> {
    const { wanted, actual } = await this.database.read((db) => slaRowsOf(db, key, 1));
    return [
      ...(await this.#events(key, batch)),
      ...rowProblems(wanted, actual, batch),
      ...(await this.#cycles(key, wanted, batch)),
    ];
  }

  /** Noted events that the chain has otherwise, or not at all. */
  async #events(key: Uint8Array, batch: number): Promise<Problem[]> {
    const rows = (await this.database.read((db) => slaEventRows(db, key))).map(
      (row) => row.columns,
    );
    const blocks = [...new Set(rows.map((row) => Number(row["block_number"])))];
    const found = await inParallel(blocks, async (number) => {
      const announced = await this.#announced(number, number);
      return rows
        .filter((row) => row["block_number"] === number)
        .flatMap((row) => eventProblems(row, announced, batch));
    });
    return found.flat();
  }

  /** What the registry announced in a range of blocks. */
  async #announced(from: number, to: number): Promise<ComparableRow[]> {
    const rows: ComparableRow[] = [];
    for await (const { events } of eventsBetween(this.chain, this.identity, from, to)) {
      const changes = events.filter((event): event is SlaEvent & FollowedEvent => {
        return event.type === "sla";
      });
      rows.push(...changes.map((event) => eventColumns(slaNoteOf(event))));
    }
    return rows;
  }

  /** Deadlines that the registry has otherwise, by what was followed of it. */
  async #cycles(
    key: Uint8Array,
    wanted: readonly ComparableRow[],
    batch: number,
  ): Promise<Problem[]> {
    const { sla: registry } = this.identity;
    const noted = wanted.filter((row) => row["block_number"] !== null);
    if (registry === undefined || noted.length === 0) return [];
    const first = Math.min(...noted.map((row) => Number(row["cycle"])));
    const last = (await this.chain.slaCycle(registry, key))?.number ?? 0;
    const numbers = Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i);
    const cycles = await inParallel(numbers, (number) =>
      this.chain.slaCycle(registry, key, number),
    );
    const differing = numbers.filter((number, i) => {
      const row = noted.find((each) => each["cycle"] === number);
      return row === undefined || !isOf(row, cycles[i]);
    });
    if (differing.length === 0 || (await this.#isMoving(key))) return [];
    return differing.map((number) => {
      const message = `what is noted of deadline ${number} of subject ${hex(key)} is not all that the registry has`;
      return problem(batch, "sla_events.id", message);
    });
  }

  /** Whether the chain has changed a subject's deadlines behind what was followed. */
  async #isMoving(key: Uint8Array): Promise<boolean> {
    const followed = (await chainPosition(this.database))?.blockNumber ?? -1;
    const { number: latest } = await this.chain.latestBlock();
    const events = await this.#announced(followed + 1, latest);
    return events.some((event) => event["subject_key"] === hex(key));
  }
}

/** What a noted event has otherwise than one of its block. */
function eventProblems(
  row: ComparableRow,
  announced: readonly ComparableRow[],
  batch: number,
): Problem[] {
  const isAt = (event: ComparableRow) => event["log_index"] === row["log_index"];
  const isLike = (event: ComparableRow) =>
    event["transaction_hash"] === row["transaction_hash"] && event["detail"] === row["detail"];
  const event = announced.find(isAt) ?? announced.find(isLike);
  if (event !== undefined) return differing("sla_events", row, event, batch);
  const message = `block ${row["block_number"]} has no event at ${row["log_index"]} of it`;
  return [problem(batch, "sla_events.block_number", message)];
}

/** Rows of deadlines that are not as what is noted calls for. */
function rowProblems(
  wanted: readonly ComparableRow[],
  actual: readonly ComparableRow[],
  batch: number,
): Problem[] {
  const left = new Set(actual);
  const problems: Problem[] = [];
  for (const row of wanted) {
    const own = actual.find((one) => left.has(one) && isNotNull(one, row, "record_id"));
    const other = own ?? [...left].find((one) => one["cycle"] === row["cycle"]);
    if (other === undefined) {
      const message = `the row of deadline ${row["cycle"]} of subject ${row["subject_key"]} is missing`;
      problems.push(problem(batch, "slas.cycle", message));
      continue;
    }
    left.delete(other);
    problems.push(...differing("slas", other, row, batch));
  }
  const message = "nothing that is noted calls for this row";
  return [...problems, ...[...left].map(() => problem(batch, "slas.subject_key", message))];
}

function isNotNull(a: ComparableRow, b: ComparableRow, column: string): boolean {
  return a[column] !== null && a[column] === b[column];
}

function differing(
  table: string,
  actual: ComparableRow,
  expected: ComparableRow,
  batch: number,
): Problem[] {
  return Object.keys(expected)
    .filter((column) => actual[column] !== expected[column])
    .map((column) => {
      const message = `is ${show(actual[column])}, must be ${show(expected[column])}`;
      return problem(batch, `${table}.${column}`, message);
    });
}

/** Whether a row is of a deadline as the registry has it. */
function isOf(row: ComparableRow, cycle: Cycle | undefined): boolean {
  return (
    cycle !== undefined &&
    row["state"] === cycle.state &&
    row["deadline"] === cycle.deadline &&
    row["ladder"] === JSON.stringify(cycle.ladder) &&
    row["raised"] === cycle.raised &&
    row["extensions"] === cycle.extensions &&
    row["pause_time"] === (cycle.pauseTime ?? null) &&
    row["meet_time"] === (cycle.meetTime ?? null)
  );
}
