import type { Database } from "../store/database.js";
import { progress } from "../store/batches.js";
import type { Progress } from "../store/batches.js";

/** How often a replica that does not follow the chain itself looks, while somebody waits. */
const POLL_MS = 200;

/** Whether what somebody waits for has come about; it may look for itself. A rejection means: not yet. */
export type Condition = (progress: Progress) => boolean | Promise<boolean>;

interface Waiter {
  readonly isMet: Condition;
  resolve(progress: Progress | undefined): void;
}

/** Lets callers wait until the log has come far enough. */
export class ProgressWatch {
  readonly #waiters = new Set<Waiter>();
  #timer: NodeJS.Timeout | undefined;
  #refreshing: Promise<void> | undefined;

  constructor(
    private readonly database: Database,
    /** Called when somebody starts to wait. */
    private readonly onAwaited: () => void,
  ) {}

  /** Whether anybody waits. */
  get isAwaited(): boolean {
    return this.#waiters.size > 0;
  }

  /**
   * Resolves to the progress that meets the condition, or to undefined when the signal aborts. Never
   * rejects.
   */
  async until(isMet: Condition, signal: AbortSignal): Promise<Progress | undefined> {
    if (signal.aborted) return undefined;
    let resolve: Waiter["resolve"] = () => undefined;
    const met = new Promise<Progress | undefined>((settle) => (resolve = settle));
    const waiter: Waiter = { isMet, resolve };
    const giveUp = () => resolve(undefined);
    this.#waiters.add(waiter);
    signal.addEventListener("abort", giveUp, { once: true });
    this.#schedule();
    this.onAwaited();
    this.changed();
    try {
      return await met;
    } finally {
      this.#waiters.delete(waiter);
      signal.removeEventListener("abort", giveUp);
    }
  }

  /** Says that the log may have come further. */
  changed(): void {
    if (this.#waiters.size === 0) return;
    this.#refreshing ??= this.#refresh().finally(() => (this.#refreshing = undefined));
  }

  async #refresh(): Promise<void> {
    // A failed look is no reason to give up waiting: the next one follows.
    const now = await progress(this.database).catch(() => undefined);
    if (now === undefined) return;
    const look = async ({ isMet, resolve }: Waiter) => {
      if (await isMet(now)) resolve(now);
    };
    await Promise.allSettled([...this.#waiters].map(look));
  }

  #schedule(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setInterval(() => {
      if (this.#waiters.size > 0) return this.changed();
      clearInterval(this.#timer);
      this.#timer = undefined;
    }, POLL_MS);
  }
}
