import { AnchordError } from "../core/errors.js";

/** The pieces of a file. Throws OVERLOADED where it waits for so long and no byte comes: others need the place. */
export async function* unlessIdle(
  pieces: AsyncIterable<Uint8Array>,
  idleMs: number,
): AsyncGenerator<Uint8Array> {
  const iterator = pieces[Symbol.asyncIterator]();
  let isWaiting = false;
  try {
    for (let since = performance.now(); ;) {
      isWaiting = true;
      const next = await within(since + idleMs - performance.now(), iterator.next(), idleMs);
      isWaiting = false;
      if (next.done === true) return;
      if (next.value.length === 0) continue; // it is no sign of a file
      yield next.value;
      since = performance.now();
    }
  } finally {
    const returned = iterator.return?.();
    // One that is waiting ends only when what it waits for comes.
    if (isWaiting) returned?.catch(() => undefined);
    else await returned;
  }
}

async function within<T>(ms: number, coming: Promise<T>, idleMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(idle(idleMs)), ms);
  });
  try {
    return await Promise.race([coming, late]);
  } finally {
    clearTimeout(timer);
  }
}

function idle(idleMs: number): AnchordError {
  const message = `the upload was ended, as no byte of it came for ${idleMs / 1000} seconds: send it again, without a break`;
  return new AnchordError("OVERLOADED", message);
}
