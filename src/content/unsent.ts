import type { createLibp2p } from "libp2p";

type Libp2p = Awaited<ReturnType<typeof createLibp2p>>;
type Connection = ReturnType<Libp2p["getConnections"]>[number];

/** What a connection has still to write to its socket. */
interface Unsent {
  readonly readableLength: number;
  push: (frame: { readonly byteLength: number }) => unknown;
  onEmpty: (options: { readonly signal: AbortSignal }) => Promise<void>;
}

/** What may wait to be written to a peer, in bytes and in frames: more than it is handed at once. */
const MAX_UNSENT = { bytes: 2 * 1024 * 1024, frames: 8192 } as const;

/** What a connection has still to write. The multiplexer keeps it, and libp2p shows that to nobody. */
export function unsent(connection: Connection): Unsent | undefined {
  return (connection as unknown as { readonly muxer?: { readonly source: Unsent } }).muxer?.source;
}

/** Ends a connection at once. */
export function hangUp(connection: Connection, reason: Error): void {
  if (connection.status === "open") connection.abort(reason);
}

/**
 * Hangs up on whoever does not read what is written to it: else it could make us keep any amount, such as
 * the answers to its pings.
 */
export function limitUnsent(libp2p: Libp2p): void {
  libp2p.addEventListener("connection:open", ({ detail: connection }) => {
    const queue = unsent(connection);
    if (queue === undefined) return;
    const push = queue.push.bind(queue);
    let frames = 0; // since there was nothing to write
    queue.push = (frame) => {
      const pushed = push(frame);
      frames = queue.readableLength > frame.byteLength ? frames + 1 : 0;
      if (frames > MAX_UNSENT.frames || queue.readableLength > MAX_UNSENT.bytes) {
        hangUp(connection, new Error("it does not read"));
      }
      return pushed;
    };
  });
}
