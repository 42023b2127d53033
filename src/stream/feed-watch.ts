import { AnchordError } from "../core/errors.js";
import type { Database } from "../store/database.js";
import { feedBounds } from "../store/feed.js";
import type { FeedBounds } from "../store/feed.js";
import { nextRow } from "./cursor.js";
import type { Position } from "./cursor.js";

/** How often a replica that does not follow the chain itself looks, while there are subscribers. */
const POLL_MS = 250;

/** Most subscribers of one daemon: one that stops reading holds what is on its way to it. */
const MOST_SUBSCRIBERS = 10_000;

/** Tells subscribers when the feed has grown: one look at the database for all of them. */
export class FeedWatch {
  readonly #seats = new Set<Seat>();
  #bounds: FeedBounds | undefined;
  #timer: NodeJS.Timeout | undefined;
  #looking = false;
  #again = false;
  #closed = false;

  constructor(private readonly database: Database) {}

  /** How many subscribers there are. */
  get subscribers(): number {
    return this.#seats.size;
  }

  /** What was in the feed when it was last looked at. */
  get bounds(): FeedBounds | undefined {
    return this.#bounds;
  }

  /** A seat for a subscriber, which it must leave. Throws SHUTTING_DOWN. */
  enter(): Seat {
    if (this.#closed) throw shuttingDown();
    if (this.#seats.size >= MOST_SUBSCRIBERS) {
      const message = `there are ${MOST_SUBSCRIBERS} subscribers here: try again, or another replica`;
      throw new AnchordError("OVERLOADED", message);
    }
    const seat = new Seat(
      (position) => nextRow(position) < (this.#bounds?.next ?? 0),
      () => this.#seats.delete(seat),
    );
    this.#seats.add(seat);
    this.#timer ??= setInterval(() => this.#poll(), POLL_MS);
    this.wake();
    return seat;
  }

  /** Says that the feed may have grown. */
  wake(): void {
    this.#again = true;
    if (!this.#looking && this.#seats.size > 0) void this.#look();
  }

  /** Ends every subscriber's stream, for good. */
  close(): void {
    this.#closed = true;
    for (const seat of this.#seats) seat.end(shuttingDown());
  }

  #poll(): void {
    if (this.#seats.size > 0) return this.wake();
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  async #look(): Promise<void> {
    this.#looking = true;
    try {
      while (this.#again) {
        this.#again = false;
        this.#bounds = await feedBounds(this.database);
        for (const seat of this.#seats) seat.wake();
      }
    } catch (error) {
      for (const seat of this.#seats) seat.end(error as Error);
    } finally {
      this.#looking = false;
    }
  }
}

/** A subscriber's place in front of the feed. */
export class Seat {
  readonly #farewells: (() => void)[];
  #failure: Error | undefined;
  #left = false;
  #wake: () => void = () => undefined;

  constructor(
    private readonly isBehind: (position: Position) => boolean,
    onLeave: () => void,
  ) {
    this.#farewells = [onLeave];
  }

  /**
   * Waits until there is something behind a position, for so many milliseconds at most, and says whether
   * there is. Throws what has ended the subscriber's stream.
   */
  async more(position: Position, ms: number): Promise<boolean> {
    if (this.#failure === undefined && !this.#left && !this.isBehind(position)) {
      await this.#pause(position, ms);
    }
    if (this.#failure !== undefined) throw this.#failure;
    return this.isBehind(position);
  }

  /** Says that the feed may have grown. */
  wake(): void {
    this.#wake();
  }

  /** Ends the subscriber's stream with an error. */
  end(failure: Error): void {
    this.#failure ??= failure;
    this.#wake();
  }

  /** Whether the subscriber has left. */
  get hasLeft(): boolean {
    return this.#left;
  }

  /** Calls a function when the subscriber leaves. Requires that it has not left. */
  onLeave(farewell: () => void): void {
    this.#farewells.push(farewell);
  }

  /** Gives the seat back; a wait ends. */
  leave(): void {
    if (this.#left) return;
    this.#left = true;
    for (const farewell of this.#farewells) farewell();
    this.#wake();
  }

  #pause(position: Position, ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#wake = () => undefined;
        resolve();
      };
      const timer = setTimeout(end, ms);
      this.#wake = () => {
        if (this.#failure !== undefined || this.#left || this.isBehind(position)) end();
      };
    });
  }
}

function shuttingDown(): AnchordError {
  const message = "the service is shutting down: any replica goes on from the cursor";
  return new AnchordError("SHUTTING_DOWN", message);
}
