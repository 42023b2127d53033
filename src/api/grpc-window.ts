import type { Http2Server, ServerHttp2Session } from "node:http2";
import type { Server } from "@grpc/grpc-js";

/** How many bytes a caller may send before it hears that they were read. Node's 64 KiB make it wait. */
const WINDOW_BYTES = 1024 * 1024;

/** What grpc-js listens with. It has an option for the windows of clients, and none for those of servers. */
interface Listening {
  readonly http2Servers: ReadonlyMap<Http2Server, unknown>;
}

/**
 * Lets the callers of a server that listens send more at once, so that uploads wait less for answers, above
 * all from afar. What waits unread is at most as much for each connection.
 */
export function widenWindows(server: Server): void {
  for (const http2 of (server as unknown as Listening).http2Servers.keys()) {
    http2.on("session", (session: ServerHttp2Session) => {
      session.settings({ initialWindowSize: WINDOW_BYTES });
      session.setLocalWindowSize(WINDOW_BYTES);
    });
  }
}
