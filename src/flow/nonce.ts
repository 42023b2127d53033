import { Worker } from "node:worker_threads";
import { findNonce } from "../core/head.js";
import type { BatchSeal } from "../core/head.js";

/** What a search looks for, and from which nonce on. */
export interface NonceSearch {
  readonly head: Uint8Array;
  readonly seal: BatchSeal;
  readonly difficulty: number;
  readonly from: number;
}

/** Nonces that are tried at once: a few milliseconds. */
const TRIED_AT_ONCE = 1_024;

/**
 * The smallest nonce that gives the head after a batch at least `difficulty` leading zero hex digits. A
 * search that takes longer goes on in a thread of its own, so that calls are answered meanwhile. Undefined
 * once the signal aborts.
 */
export async function searchNonce(
  head: Uint8Array,
  seal: BatchSeal,
  difficulty: number,
  signal: AbortSignal,
): Promise<bigint | undefined> {
  const found = findNonce(head, seal, difficulty, { from: 0, to: TRIED_AT_ONCE });
  if (found !== undefined || signal.aborted) return found;
  const workerData: NonceSearch = { head, seal, difficulty, from: TRIED_AT_ONCE };
  const worker = new Worker(new URL("./nonce-worker.js", import.meta.url), { workerData });
  const stop = () => void worker.terminate();
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await new Promise((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
      worker.once("exit", () => resolve(undefined));
    });
  } finally {
    signal.removeEventListener("abort", stop);
    await worker.terminate();
  }
}
