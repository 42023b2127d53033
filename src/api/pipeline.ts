/** How much may be under way at once. */
export interface Budget<I> {
  /** Inputs are read until those under way weigh this much. */
  readonly most: number;
  readonly weigh: (input: I) => number;
}

/**
 * Runs inputs through `work`, several at a time, and yields the results in the order of the inputs. An
 * input that `work` throws at, and the end of the inputs, come out after the results before them;
 * nothing is read behind a throw.
 */
export async function* pipelined<I, O>(
  inputs: AsyncIterable<I>,
  { most, weigh }: Budget<I>,
  work: (input: I) => Promise<O>,
): AsyncGenerator<O> {
  const queue: { readonly result: Promise<O>; readonly weight: number }[] = [];
  let underWay = 0;
  const changed = new Signal();
  let ended = false;
  let abandoned = false;

  const reading = (async () => {
    try {
      for await (const input of inputs) {
        if (abandoned) return;
        const weight = weigh(input);
        queue.push({ result: handled(work(input)), weight });
        underWay += weight;
        changed.notify();
        while (underWay >= most && !abandoned) await changed.wait();
      }
    } catch (error) {
      queue.push({ result: handled(Promise.reject(error as Error)), weight: 0 });
    } finally {
      ended = true;
      changed.notify();
    }
  })();

  try {
    for (;;) {
      const [head] = queue;
      if (head !== undefined) {
        const result = await head.result;
        queue.shift();
        underWay -= head.weight;
        changed.notify();
        yield result;
      } else if (ended) {
        await reading;
        return;
      } else await changed.wait();
    }
  } finally {
    abandoned = true;
    changed.notify();
  }
}

/** A promise that may fail before anyone looks at it: that happens when its turn comes. */
function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/** Wakes everyone who waits. */
class Signal {
  #waiting: (() => void)[] = [];

  wait(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  notify(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
