import { WebSocket } from "ws";

/** Pause before another attempt to connect, in milliseconds. */
const RECONNECT_MS = 5_000;

/** How long a node may take to answer: the handshake, and each ping. */
const ANSWER_MS = 30_000;

/** What a node may send at once: the header of a block is a few kilobytes. */
const MAX_BYTES = 1024 * 1024;

const SUBSCRIBE = JSON.stringify({
  jsonrpc: "2.0",
  id: 1,
  method: "eth_subscribe",
  params: ["newHeads"],
});

/** How long a watch waits, in milliseconds. */
export interface WatchTimes {
  /** Before it connects again. Default: 5 seconds. */
  readonly reconnectMs?: number;
  /** For the answer of a node, before it counts as gone. Default: 30 seconds. */
  readonly answerMs?: number;
}

/**
 * Calls back when a node says over a WebSocket that it has a new block. A hint, and nothing more: it may
 * be late, missing or wrong, and no failure of it is one of ours. Returns what ends it.
 */
export function watchHeads(url: string, onHead: () => void, times: WatchTimes = {}): () => void {
  const { reconnectMs = RECONNECT_MS, answerMs = ANSWER_MS } = times;
  const address = new URL(url);
  address.hash = ""; // means nothing to a server, and is refused
  let end: () => void;
  let timer: NodeJS.Timeout | undefined;
  const connect = () => {
    end = open(address, answerMs, onHead, () => {
      timer = setTimeout(connect, reconnectMs);
    });
  };
  connect();
  return () => {
    clearTimeout(timer);
    end();
  };
}

/** One connection: `onEnd` is called once, however it ends, unless what is returned has ended it. */
function open(url: URL, answerMs: number, onHead: () => void, onEnd: () => void): () => void {
  const socket = new WebSocket(url, {
    handshakeTimeout: answerMs,
    maxPayload: MAX_BYTES,
    perMessageDeflate: false,
    autoPong: false,
  });
  let answered = true;
  const pings = setInterval(() => {
    if (socket.readyState !== WebSocket.OPEN) return;
    if (!answered) return socket.terminate();
    answered = false;
    socket.ping(undefined, undefined, () => undefined);
  }, answerMs);
  let stopped = false;
  socket.on("open", () => {
    socket.send(SUBSCRIBE, () => undefined);
    onHead(); // whatever came while there was no connection
  });
  socket.on("message", () => {
    if (!stopped) onHead();
  });
  socket.on("ping", (data: Buffer) => {
    if (socket.bufferedAmount > MAX_BYTES) return socket.terminate(); // it does not read
    socket.pong(data, undefined, () => undefined);
  });
  socket.on("pong", () => {
    answered = true;
  });
  socket.on("error", () => undefined); // a close follows
  socket.on("close", () => {
    clearInterval(pings);
    if (!stopped) onEnd();
  });
  return () => {
    stopped = true;
    clearInterval(pings);
    socket.terminate();
  };
}
