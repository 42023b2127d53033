import type { HandlerContext } from "@connectrpc/connect";

/** How long a call without a deadline waits at most. */
const LONGEST_MS = 60_000;

/** The part of a deadline that is left for the answer to reach the caller, within these bounds. */
const RESERVE = { part: 0.1, leastMs: 50, mostMs: 1_000 } as const;

/** Waits for something with a signal that aborts when the caller has gone, or shortly before its deadline. */
export async function beforeDeadline<T>(
  context: HandlerContext,
  wait: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const left = context.timeoutMs() ?? LONGEST_MS;
  const reserve = Math.min(RESERVE.mostMs, Math.max(RESERVE.leastMs, left * RESERVE.part));
  // A timer of our own: Node collects AbortSignal.timeout() as garbage where only AbortSignal.any() has it.
  const controller = new AbortController();
  const abort = () => controller.abort();
  const timer = setTimeout(abort, Math.max(0, Math.min(LONGEST_MS, left - reserve)));
  context.signal.addEventListener("abort", abort, { once: true });
  if (context.signal.aborted) abort();
  try {
    return await wait(controller.signal);
  } finally {
    clearTimeout(timer);
    context.signal.removeEventListener("abort", abort);
  }
}
