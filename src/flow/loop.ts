import type { Logger } from "pino";
import { messageOf } from "../core/errors.js";

/**
 * What a turn of a loop found: more to do at once; nothing until it is woken or time has passed; or
 * nothing for so many milliseconds, however often it is woken, unless it is hurried.
 */
export type Turn = "again" | "idle" | { readonly restMs: number };

const MAX_BACKOFF_MS = 5_000;

/** Work that goes on until it is stopped: turn after turn, a pause when idle, backoff after a failure. */
export class Loop {
  #stopping = false;
  #endPause: () => void = () => undefined;
  #woken = false;
  #resting = false;
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
    if (!this.#resting) this.#endPause();
  }

  /** Ends a rest early as well. */
  hurry(): void {
    this.#woken = true;
    this.#endPause();
  }

  /** Lets the current turn finish, then ends. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.hurry();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      this.#woken = false;
      const pauseMs = await this.#oneTurn();
      if (this.#stopping || pauseMs === 0) continue;
      if (this.#resting || !this.#woken) await this.#pause(pauseMs);
      this.#resting = false;
    }
  }

  async #oneTurn(): Promise<number> {
    try {
      const result = await this.turn();
      if (this.#failure !== undefined) this.options.log.info({ loop: this.name }, "recovered");
      this.#failures = 0;
      this.#failure = undefined;
      if (result === "again") return 0;
      if (result === "idle") return this.options.idleMs;
      this.#resting = true;
      return result.restMs;
    } catch (error) {
      const message = messageOf(error);
      if (message !== this.#failure)
        this.options.log.warn({ loop: this.name, err: error }, message);
      this.#failure = message;
      this.#failures += 1;
      return Math.min(MAX_BACKOFF_MS, 100 * 2 ** Math.min(this.#failures, 10));
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#endPause = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
