import { WebSocketProvider } from "web3";

/** Pause before another attempt to connect, in milliseconds. */
const RECONNECT_MS = 5_000;

/**
 * Calls back when a node says over a WebSocket that it has a new block. A hint, and nothing more: it may
 * be late, missing or wrong, and no failure of it is one of ours. Returns what ends it.
 */
export function watchHeads(url: string, onHead: () => void): () => void {
  let stopped = false;
  let provider: WebSocketProvider | undefined;
  let timer: NodeJS.Timeout | undefined;
  const connect = () => {
    const opened = new WebSocketProvider(url, {}, { autoReconnect: false });
    provider = opened;
    const again = () => {
      if (stopped || provider !== opened) return;
      provider = undefined;
      timer = setTimeout(connect, RECONNECT_MS);
    };
    opened.on("connect", () => {
      opened
        .request({ id: 1, jsonrpc: "2.0", method: "eth_subscribe", params: ["newHeads"] })
        .catch(again);
      onHead(); // whatever came while there was no connection
    });
    opened.on("message", () => onHead());
    opened.on("error", again);
    opened.on("disconnect", again);
  };
  connect();
  return () => {
    stopped = true;
    clearTimeout(timer);
    provider?.disconnect();
  };
}
