import type { Logger } from "pino";
import { messageOf } from "../core/errors.js";

/**
 * What a turn of a loop found: more to do at once; nothing until it is woken or time has passed; or
 * nothing for so many milliseconds, however often it is woken, unless it is hurried.
 */
export type Turn = "again" | "idle" | { readonly restMs: number };

const MAX_BACKOFF_MS = 5_000;

/** How long a loop pauses; a firm pause is ended by `hurry` alone, not by `wake`. */
interface Pause {
  readonly ms: number;
  readonly firm: boolean;
}

/** What has been asked of a loop since its turn began, from least to most. */
const Asked = { Nothing: 0, Wake: 1, Hurry: 2 } as const;

/** Work that goes on until it is stopped: turn after turn, a pause when idle, backoff after a failure. */
export class Loop {
  #stopping = false;
  #asked: number = Asked.Nothing;
  #endPause: (asked: number) => void = () => undefined;
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

  /** Ends a pause early, or makes the next one not happen; a rest, or a backoff, goes on. */
  wake(): void {
    this.#ask(Asked.Wake);
  }

  /** Ends a rest or a backoff early as well. */
  hurry(): void {
    this.#ask(Asked.Hurry);
  }

  /** Lets the current turn finish, then ends. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.hurry();
    await this.#running;
  }

  #ask(asked: number): void {
    this.#asked = Math.max(this.#asked, asked);
    this.#endPause(asked);
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      this.#asked = Asked.Nothing;
      const { ms, firm } = await this.#oneTurn();
      const least = firm ? Asked.Hurry : Asked.Wake;
      if (ms > 0 && !this.#stopping && this.#asked < least) await this.#pause(ms, least);
    }
  }

  async #oneTurn(): Promise<Pause> {
    try {
      const result = await this.turn();
      if (this.#failure !== undefined) this.options.log.info({ loop: this.name }, "recovered");
      this.#failures = 0;
      this.#failure = undefined;
      if (result === "again") return { ms: 0, firm: false };
      if (result === "idle") return { ms: this.options.idleMs, firm: false };
      return { ms: result.restMs, firm: true };
    } catch (error) {
      const message = messageOf(error);
      if (message !== this.#failure) {
        this.options.log.warn({ loop: this.name, err: error }, message);
      }
      this.#failure = message;
      this.#failures += 1;
      return { ms: Math.min(MAX_BACKOFF_MS, 100 * 2 ** Math.min(this.#failures, 10)), firm: true };
    }
  }

  /** Waits, unless something is asked that is at least this much. */
  #pause(ms: number, least: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#endPause = (asked) => {
        if (asked < least) return;
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
