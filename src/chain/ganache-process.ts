/**
 * Ganache in a process of its own: it would block the service's event loop, and it must outlive an
 * interrupt until the service has drained. Options come as a line of JSON on standard input; the process
 * ends when its standard input does, which happens however its parent ends.
 *
 * Ganache's own server answers pages of any origin, and everyone may rewind its chain. So the door is
 * ours: on loopback, for programs only, and for no method that could rewrite the chain or use its keys.
 */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";

/** What the process is told. */
export interface GanacheOptions {
  /** Port to listen on, on loopback. */
  readonly port: number;
  readonly chainId: number;
  /** Folder of its database. */
  readonly path: string;
  /** The one account that has ether: 0x and 64 hex digits. */
  readonly privateKey: string;
}

interface Provider {
  send(request: unknown, done: (error: Error | null, response?: unknown) => void): void;
  disconnect(): Promise<void>;
}

const BALANCE = "0xd3c21bcecceda1000000"; // one million ether
const MAX_BODY_BYTES = 4 * 1024 * 1024;

/** Reading the chain, and handing in transactions that are signed already. */
const ALLOWED = /^(eth|net|web3)_/;
const REFUSED = /^eth_(sendTransaction|sign.*)$/;

const [line] = await new Promise<[string]>((resolve) => {
  const input = createInterface({ input: process.stdin });
  input.once("line", (text) => resolve([text]));
});
const options = JSON.parse(line) as GanacheOptions;

const ganache = createRequire(import.meta.url)("ganache") as {
  provider(options: unknown): Provider;
};
const provider = ganache.provider({
  chain: { chainId: options.chainId, networkId: options.chainId, hardfork: "shanghai" },
  database: { dbPath: options.path },
  wallet: { accounts: [{ secretKey: options.privateKey, balance: BALANCE }], lock: true },
  logging: { quiet: true },
});

interface RpcRequest {
  readonly id?: unknown;
  readonly method?: unknown;
}

/** The node's answer to one request, errors included. */
function ask(request: RpcRequest): Promise<unknown> {
  const { id = null, method } = request;
  const failed = (code: number, message: string) => ({
    jsonrpc: "2.0",
    id,
    error: { code, message },
  });
  if (typeof method !== "string" || !ALLOWED.test(method) || REFUSED.test(method)) {
    return Promise.resolve(failed(-32601, `the embedded chain does not offer ${String(method)}`));
  }
  return new Promise((resolve) => {
    provider.send({ jsonrpc: "2.0", params: [], ...request }, (error, response) =>
      resolve(response ?? failed(-32603, error?.message ?? "no answer")),
    );
  });
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { host = "", origin } = request.headers;
  // A browser says where a page comes from, or what name it took us for.
  if (origin !== undefined || !/^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/.test(host)) {
    response.writeHead(403).end();
    return;
  }
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_BODY_BYTES) return void response.writeHead(413).end();
    chunks.push(chunk);
  }
  const asked = JSON.parse(Buffer.concat(chunks).toString()) as RpcRequest | RpcRequest[];
  const reply = Array.isArray(asked) ? await Promise.all(asked.map(ask)) : await ask(asked);
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(reply));
}

const server = createServer((request, response) => {
  answer(request, response).catch(() => {
    if (!response.headersSent) response.writeHead(400);
    response.end();
  });
});
await ask({ method: "eth_chainId" }); // its database is open once it answers
server.listen(options.port, "127.0.0.1", () => {
  process.stdout.write(`${JSON.stringify({ port: (server.address() as AddressInfo).port })}\n`);
});

let closing = false;
function stop(): void {
  if (closing) return;
  closing = true;
  server.close();
  server.closeAllConnections();
  void provider.disconnect().finally(() => process.exit(0));
}

process.stdin.on("end", stop).on("error", stop);
process.stdin.resume();
process.on("SIGTERM", stop);
