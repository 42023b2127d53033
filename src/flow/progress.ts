import type { Database } from "../store/database.js";
import { progress } from "../store/batches.js";
import type { Progress } from "../store/batches.js";

/** How often a replica that does not follow the chain itself looks, while somebody waits. */
const POLL_MS = 200;

interface Waiter {
  isMet(progress: Progress): boolean;
  resolve(): void;
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

  /** Resolves when the condition holds, or when the signal aborts; never rejects. */
  async until(isMet: (progress: Progress) => boolean, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    let done: () => void = () => undefined;
    const met = new Promise<void>((resolve) => (done = resolve));
    const waiter: Waiter = { isMet, resolve: done };
    this.#waiters.add(waiter);
    signal.addEventListener("abort", done, { once: true });
    this.#schedule();
    this.onAwaited();
    this.changed();
    try {
      await met;
    } finally {
      this.#waiters.delete(waiter);
      signal.removeEventListener("abort", done);
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
    for (const waiter of this.#waiters) if (waiter.isMet(now)) waiter.resolve();
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
