import { randomBytes } from "node:crypto";
import { hex } from "../core/bytes.js";
import { AnchordError } from "../core/errors.js";
import type { Database } from "../store/database.js";
import {
  countSubscriptions,
  createSubscription,
  subscriptionHolders,
  takeSubscription,
} from "../store/subscriptions.js";
import type { Position } from "./cursor.js";
import type { Seat } from "./feed-watch.js";

/** How often it is looked whether another replica has taken a subscription over. */
const POLL_MS = 250;

/** Most named subscriptions: each costs a little at every look. */
const MOST_NAMES = 10_000;

interface Consumer {
  readonly name: string;
  readonly seat: Seat;
}

/**
 * The consumers of named subscriptions in this process. Who consumes is a mark in the database: whoever
 * finds another's there has been taken over.
 */
export class Consumers {
  readonly #byHolder = new Map<string, Consumer>();
  #timer: NodeJS.Timeout | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #checking: Promise<void> | undefined;

  constructor(private readonly database: Database) {}

  /**
   * Makes a subscriber the consumer of a name, which is made at `from` if it does not exist. In the order
   * of the calls, so that one that was cut does not take the name back from the one that came for it.
   */
  take(name: string, seat: Seat, from: () => Promise<Position>): Promise<Position> {
    const taking = this.#last.then(() => this.#take(name, seat, from));
    this.#last = taking.catch(() => undefined);
    return taking;
  }

  async #take(name: string, seat: Seat, from: () => Promise<Position>): Promise<Position> {
    if (seat.hasLeft) return from(); // nobody is there to go on from it
    const holder = hex(randomBytes(16));
    let position = await takeSubscription(this.database, name, holder);
    while (position === undefined) {
      if ((await countSubscriptions(this.database)) >= MOST_NAMES) throw tooManyNames();
      await createSubscription(this.database, name, await from());
      position = await takeSubscription(this.database, name, holder);
    }
    if (seat.hasLeft) return position;
    this.#byHolder.set(holder, { name, seat });
    seat.onLeave(() => this.#byHolder.delete(holder));
    this.#timer ??= setInterval(() => this.#poll(), POLL_MS);
    await this.check();
    return position;
  }

  /** Ends the consumers that were taken over, or whose subscription was deleted. */
  async check(): Promise<void> {
    // Those that come while the marks are read may not be in them yet.
    const consumers = [...this.#byHolder];
    const names = consumers.map(([, { name }]) => name);
    const holders = await subscriptionHolders(this.database, names);
    for (const [holder, { name, seat }] of consumers) {
      const current = holders.get(name);
      if (current === undefined) seat.end(subscriptionNotFound(name));
      else if (current !== holder) seat.end(takenOver(name));
    }
  }

  #poll(): void {
    if (this.#byHolder.size > 0) {
      // Where the database does not answer, the watch ends the streams.
      this.#checking ??= this.check()
        .catch(() => undefined)
        .finally(() => (this.#checking = undefined));
      return;
    }
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

/** The refusal of a name that no subscription has. */
export function subscriptionNotFound(name: string): AnchordError {
  return new AnchordError(
    "SUBSCRIPTION_NOT_FOUND",
    `there is no subscription ${name}: SubscribeEvents makes it`,
  );
}

function tooManyNames(): AnchordError {
  return new AnchordError(
    "OVERLOADED",
    `there are ${MOST_NAMES} named subscriptions: delete those that nobody uses (ListSubscriptions)`,
  );
}

function takenOver(name: string): AnchordError {
  return new AnchordError(
    "SUBSCRIPTION_TAKEN_OVER",
    `another consumer has subscribed as ${name}: do not reconnect, or it is ended in turn`,
  );
}
