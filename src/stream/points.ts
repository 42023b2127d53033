import { genesisHead } from "../core/head.js";
import { AnchordError } from "../core/errors.js";
import { storedIdentity } from "../store/chain-position.js";
import type { Database } from "../store/database.js";
import { feedBounds, feedRows, firstLateRow, firstRowAbove, Level } from "../store/feed.js";
import type { FeedBounds, FeedRow } from "../store/feed.js";
import { checkOf, decodeCursor, encodeCursor, NO_TAG, standing, WHOLE } from "./cursor.js";
import type { Cursor, Position } from "./cursor.js";
import type { FeedSource } from "./source.js";

/** Rows that are looked through for one that says what lies before the oldest. */
const LOOK_ROWS = 256;

/** Finds positions in the feed, and makes the cursors that lead to them. */
export class FeedPoints {
  #tag: Uint8Array | undefined;

  constructor(
    private readonly database: Database,
    private readonly source: FeedSource,
  ) {}

  /** Before the oldest row that is kept. */
  async start(): Promise<Position> {
    return startOf(await feedBounds(this.database));
  }

  /** Behind the newest row. */
  async now(): Promise<Position> {
    return endOf(await feedBounds(this.database));
  }

  /** The position that a cursor leads to. Throws INVALID_CURSOR or CURSOR_EXPIRED. */
  async resolve(text: string): Promise<Position> {
    const cursor = decodeCursor(text);
    if (cursor === undefined) {
      throw invalid("the cursor is not one that this service gave: start from START or NOW");
    }
    const bounds = await feedBounds(this.database);
    const row = await this.#rowAt(cursor.number, bounds);
    const logTag = await this.#logTag();
    switch (standing(cursor, { logTag, bounds, row })) {
      case "here":
        return { number: cursor.number, done: cursor.done };
      case "moved":
        return this.#byChain(cursor, bounds);
      case "expired":
        throw await this.#expired(bounds);
      case "foreign":
        throw invalid("the cursor belongs to another log: start from START or NOW");
    }
  }

  /** A position that was kept. Throws CURSOR_EXPIRED. */
  async kept(position: Position): Promise<Position> {
    const bounds = await feedBounds(this.database);
    const start = startOf(bounds);
    if (position.number > start.number) return position;
    if (position.number === start.number && position.done === WHOLE) return position;
    throw await this.#expired(bounds);
  }

  /** The cursor of a position. */
  async cursorOf({ number, done }: Position, bounds?: FeedBounds): Promise<string> {
    const known = bounds ?? (await feedBounds(this.database));
    const row = await this.#rowAt(number, known);
    const { finalNumber } = row ?? (await this.#rowAt(known.first, known)) ?? { finalNumber: -1 };
    const { epoch } = known;
    const logTag = await this.#logTag();
    return encodeCursor({ logTag, epoch, number, done, check: checkOf(row), finalNumber });
  }

  /** The refusal of a position behind which rows are missing. */
  async expired(): Promise<AnchordError> {
    return this.#expired(await feedBounds(this.database));
  }

  async #expired(bounds: FeedBounds): Promise<AnchordError> {
    const message =
      "what follows the cursor is no longer kept (EVENT_RETENTION_DAYS): go on from oldest_cursor, " +
      "and read what was missed with ListRecords";
    const metadata = { oldest_cursor: await this.cursorOf(startOf(bounds), bounds) };
    return new AnchordError("CURSOR_EXPIRED", message, { metadata });
  }

  /** Everything up to the cursor's final block was told before it, and so not again. */
  async #byChain({ finalNumber }: Cursor, bounds: FeedBounds): Promise<Position> {
    if (bounds.first > 1 && !(await this.#keepsAllAbove(finalNumber, bounds))) {
      throw await this.#expired(bounds);
    }
    const rows = [
      await firstRowAbove(this.database, finalNumber),
      await firstLateRow(this.database),
    ].filter((row) => row !== undefined);
    return rows.length === 0 ? endOf(bounds) : { number: Math.min(...rows) - 1, done: WHOLE };
  }

  /**
   * Whether no row about a block above one was pruned. When a block at or below it was first told, none
   * above it was on the chain: a row that was kept and tells of that says that those before it do not count.
   */
  async #keepsAllAbove(blockNumber: number, { first }: FeedBounds): Promise<boolean> {
    const oldest = await feedRows(this.database, first, LOOK_ROWS);
    return oldest.some(
      (row) =>
        row.kind === "SEALED" &&
        row.level === Level.Provisional &&
        row.anchor.blockNumber <= blockNumber,
    );
  }

  async #rowAt(number: number, { first, next }: FeedBounds): Promise<FeedRow | undefined> {
    return number >= first && number < next ? this.source.row(number) : undefined;
  }

  async #logTag(): Promise<Uint8Array> {
    if (this.#tag !== undefined) return this.#tag;
    const identity = await storedIdentity(this.database);
    if (identity === undefined) return NO_TAG;
    return (this.#tag = genesisHead(identity).subarray(0, 4));
  }
}

function startOf({ first }: FeedBounds): Position {
  return { number: first - 1, done: WHOLE };
}

function endOf({ next }: FeedBounds): Position {
  return { number: next - 1, done: WHOLE };
}

function invalid(message: string): AnchordError {
  return new AnchordError("INVALID_CURSOR", message);
}
