/**
 * Runs inputs through `work` a few at a time, and yields the results in the order of the inputs. An
 * input that `work` throws at, and the end of the inputs, come out after the results before them;
 * nothing is read behind a throw.
 */
export async function* pipelined<I, O>(
  inputs: AsyncIterable<I>,
  depth: number,
  work: (input: I) => Promise<O>,
): AsyncGenerator<O> {
  const queue: Promise<O>[] = [];
  const changed = new Signal();
  let ended = false;
  let abandoned = false;

  const reading = (async () => {
    try {
      for await (const input of inputs) {
        if (abandoned) return;
        const result = work(input);
        result.catch(() => undefined); // it is looked at when its turn comes
        queue.push(result);
        changed.notify();
        while (queue.length >= depth && !abandoned) await changed.wait();
      }
    } catch (error) {
      const failure = Promise.reject(error as Error);
      failure.catch(() => undefined);
      queue.push(failure);
    } finally {
      ended = true;
      changed.notify();
    }
  })();

  try {
    for (;;) {
      const [head] = queue;
      if (head !== undefined) {
        const result = await head;
        queue.shift();
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
