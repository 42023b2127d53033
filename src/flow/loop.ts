import type { Logger } from "pino";
import { messageOf } from "../core/errors.js";

/** What a turn of a loop found: more to do at once, or nothing for now. */
export type Turn = "again" | "idle";

const MAX_BACKOFF_MS = 5_000;

/** Work that goes on until it is stopped: turn after turn, a pause when idle, backoff after a failure. */
export class Loop {
  #stopping = false;
  #wake: () => void = () => undefined;
  #woken = false;
  #running: Promise<void> | undefined;
  #failures = 0;
  #failure: string | undefined;

  constructor(
    private readonly name: string,
    private readonly turn: () => Promise<Turn>,
    private readonly options: { readonly idleMs: number; readonly log: Logger },
  ) {}

  /** What the last turn failed with; undefined if it did not. */
  get failure(): string | undefined {
    return this.#failure;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Ends a pause early, or makes the next one not happen. */
  wake(): void {
    this.#woken = true;
    this.#wake();
  }

  /** Lets the current turn finish, then ends. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.wake();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      this.#woken = false;
      const pauseMs = await this.#oneTurn();
      if (pauseMs > 0 && !this.#woken && !this.#stopping) await this.#pause(pauseMs);
    }
  }

  async #oneTurn(): Promise<number> {
    try {
      const result = await this.turn();
      if (this.#failure !== undefined) this.options.log.info({ loop: this.name }, "recovered");
      this.#failures = 0;
      this.#failure = undefined;
      return result === "again" ? 0 : this.options.idleMs;
    } catch (error) {
      const message = messageOf(error);
      if (message !== this.#failure) this.options.log.warn({ loop: this.name, err: error }, message);
      this.#failure = message;
      this.#failures += 1;
      return Math.min(MAX_BACKOFF_MS, 100 * 2 ** Math.min(this.#failures, 10));
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
