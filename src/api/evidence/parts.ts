import { Code, ConnectError } from "@connectrpc/connect";
import { invalidFields } from "../../core/errors.js";

/** A message of a stream that begins with what is said of a file, and goes on with its bytes. */
export interface Part<M> {
  readonly part:
    | { case: "metadata"; value: M }
    | { case: "chunk"; value: Uint8Array }
    | { case: undefined; value?: undefined };
}

/**
 * Reads such a stream: `take` gets the metadata before a chunk is read. Throws INVALID_FIELD where the
 * metadata does not come first, or comes again.
 */
export async function takeParts<M, T>(
  messages: AsyncIterable<Part<M>>,
  take: (metadata: M, chunks: AsyncIterable<Uint8Array>) => Promise<T>,
): Promise<T> {
  const parts = messages[Symbol.asyncIterator]();
  try {
    const first = await parts.next();
    if (first.done === true) throw misplaced("must be the first message, and the stream has none");
    const { part } = first.value;
    if (part.case !== "metadata") throw misplaced("must be the first message, before any chunk");
    return await take(part.value, chunksOf(parts));
  } finally {
    // Where the next message is awaited still, this ends only when that comes.
    void parts.return?.().catch(() => undefined);
  }
}

async function* chunksOf<M>(parts: AsyncIterator<Part<M>>): AsyncGenerator<Uint8Array> {
  for (let next = await parts.next(); next.done !== true; next = await parts.next()) {
    const { part } = next.value;
    if (part.case !== "chunk") throw misplaced("must come once, and here it comes again");
    yield part.value;
  }
}

function misplaced(description: string) {
  return invalidFields([{ field: "metadata", description }]);
}

/** Ends a call whose caller has gone: nobody would learn what came of it. */
export function requireCaller({ aborted }: AbortSignal): void {
  if (aborted) throw new ConnectError("the caller has gone", Code.Canceled);
}
