import type { HandlerContext } from "@connectrpc/connect";

/** How long a call without a deadline waits at most. */
const LONGEST_MS = 60_000;

/** The part of a deadline that is left for the answer to reach the caller, within these bounds. */
const RESERVE = { part: 0.1, leastMs: 50, mostMs: 1_000 } as const;

/** Aborts when the caller has gone, or shortly before its deadline. */
export function waitSignal(context: HandlerContext): AbortSignal {
  const left = context.timeoutMs() ?? LONGEST_MS;
  const reserve = Math.min(RESERVE.mostMs, Math.max(RESERVE.leastMs, left * RESERVE.part));
  const wait = Math.floor(Math.max(0, Math.min(LONGEST_MS, left - reserve)));
  return AbortSignal.any([context.signal, AbortSignal.timeout(wait)]);
}
