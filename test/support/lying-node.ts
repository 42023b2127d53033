import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { randomOf } from "./random.js";
import type { Random } from "./random.js";
import { until } from "./until.js";

/** How a node misbehaves: each of these so often, in percent of what it is asked. */
export interface Lies {
  /** The connection is closed without an answer. */
  readonly dropped: number;
  /** The answer comes late. */
  readonly delayed: number;
  /** The answer is a refusal of HTTP: too many requests, or an error of the server. */
  readonly refused: number;
  /** The answer is no JSON. */
  readonly garbled: number;
  /** The answer ends in the middle. */
  readonly truncated: number;
  /** The answer is that of another node behind the same address, which is `lag` blocks behind. */
  readonly stale: number;
  /** A block that the node has is null. */
  readonly forgottenBlocks: number;
  /** A search of logs by the blocks' numbers finds nothing. */
  readonly forgottenLogs: number;
  /** The finalized block is far above the head. */
  readonly falselyFinal: number;
}

/** A node's front that misbehaves, at random but alike for the same seed and questions. */
export interface LyingNode {
  readonly url: string;
  /** What it does; it may be changed at any time. */
  lies: Lies;
  /** Blocks that the stale node is behind. */
  lag: number;
  /** Most blocks that may be searched for logs at once. */
  range: number;
  /** How often each lie was told. */
  readonly told: Map<keyof Lies | "range", number>;
  /** How often it was asked for the latest block. */
  looks: number;
  /** Runs something while nothing is on its way to the node; what is asked meanwhile waits. */
  alone<T>(work: () => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** Tells the truth. */
export const HONEST: Lies = {
  dropped: 0,
  delayed: 0,
  refused: 0,
  garbled: 0,
  truncated: 0,
  stale: 0,
  forgottenBlocks: 0,
  forgottenLogs: 0,
  falselyFinal: 0,
};

interface Question {
  readonly id?: unknown;
  readonly method: string;
  readonly params: readonly unknown[];
}

interface RpcAnswer {
  readonly result?: unknown;
  readonly error?: { readonly code: number; readonly message: string };
}

type Ask = (method: string, ...params: readonly unknown[]) => Promise<RpcAnswer>;

const MOST_DELAY_MS = 300;

/** How long the node may take: Ganache never answers to a transaction whose nonce is not next. */
const GATEWAY_MS = 3_000;
const FAR_BLOCKS = 1_000;
const GARBAGE = ["", "<html>bad gateway</html>", "[]", "null", '{"jsonrpc":"2.0"}'];

/** Starts a front of the node at an address, which tells the truth until it is told to lie. */
export async function startLyingNode(target: string, seed: number): Promise<LyingNode> {
  const random = randomOf(seed);
  const door = new Door();
  const server = createServer((request, response) => {
    void door
      .pass(() => answer(node, askOf(target), random, request, response))
      .catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const node: LyingNode = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    lies: HONEST,
    lag: 0,
    range: Infinity,
    told: new Map(),
    looks: 0,
    alone: (work) => door.alone(work),
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return node;
}

/** Lets many through at once, or one alone. */
class Door {
  #inside = 0;
  #closed: Promise<unknown> = Promise.resolve();

  async pass<T>(work: () => Promise<T>): Promise<T> {
    await this.#closed;
    this.#inside += 1;
    try {
      return await work();
    } finally {
      this.#inside -= 1;
    }
  }

  async alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#alone(work);
    this.#closed = done.catch(() => undefined);
    return done;
  }

  async #alone<T>(work: () => Promise<T>): Promise<T> {
    await until("what is on its way is answered", () => this.#inside === 0);
    return work();
  }
}

async function answer(
  node: LyingNode,
  ask: Ask,
  random: Random,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const question = await questionIn(request);
  const isTold = (lie: keyof Lies) => random.between(1, 100) <= node.lies[lie] && note(node, lie);
  const { method, params } = question;
  if (method === "eth_getBlockByNumber" && params[0] === "latest") node.looks += 1;
  if (isTold("dropped")) return void response.destroy();
  if (isTold("delayed")) {
    const ms = random.between(1, MOST_DELAY_MS);
    await new Promise((resolve) => setTimeout(resolve, ms));
  }
  if (isTold("refused")) {
    return void response.writeHead(random.pick([429, 500, 503])).end("try again later");
  }
  const shown = await answerTo(node, ask, question, isTold);
  const text = JSON.stringify({ jsonrpc: "2.0", id: question.id, ...shown });
  response.setHeader("content-type", "application/json");
  if (isTold("garbled")) return void response.end(random.pick(GARBAGE));
  response.end(isTold("truncated") ? text.slice(0, random.between(1, text.length - 1)) : text);
}

/** What the node says, or one beside it that lags. */
async function answerTo(
  node: LyingNode,
  ask: Ask,
  { method, params }: Question,
  isTold: (lie: keyof Lies) => boolean,
): Promise<RpcAnswer> {
  const [first] = params;
  if (method === "eth_getBlockByNumber" && first === "finalized" && isTold("falselyFinal")) {
    const { result } = await ask("eth_getBlockByNumber", "latest", false);
    const block = result as { readonly number: string };
    return { result: { ...block, number: quantity(Number(block.number) + FAR_BLOCKS) } };
  }
  if (method === "eth_getBlockByNumber" && isQuantity(first) && isTold("forgottenBlocks")) {
    return { result: null };
  }
  if (method === "eth_getLogs" && "fromBlock" in (first as object)) {
    const { fromBlock, toBlock } = first as {
      readonly fromBlock: string;
      readonly toBlock: string;
    };
    if (Number(toBlock) - Number(fromBlock) >= node.range && note(node, "range")) {
      return { error: { code: -32005, message: `at most ${node.range} blocks at once` } };
    }
    if (isTold("forgottenLogs")) return { result: [] };
  }
  if (!isTold("stale")) return ask(method, ...params);
  const { result } = await ask("eth_blockNumber");
  return asSeenAt(Math.max(0, Number(result) - node.lag), ask, method, params);
}

/** What a node says that has come to a block, and knows nothing of later ones. */
async function asSeenAt(
  head: number,
  ask: Ask,
  method: string,
  params: readonly unknown[],
): Promise<RpcAnswer> {
  const [first, second] = params;
  switch (method) {
    case "eth_blockNumber":
      return { result: quantity(head) };
    case "eth_getBlockByNumber":
      if (first === "latest") return ask(method, quantity(head), second);
      return isQuantity(first) && Number(first) > head ? { result: null } : ask(method, ...params);
    case "eth_call":
    case "eth_getTransactionCount":
      return ask(method, first, quantity(head));
    case "eth_getTransactionReceipt": {
      const seen = await ask(method, first);
      const receipt = seen.result as { readonly blockNumber: string } | null;
      return Number(receipt?.blockNumber ?? 0) > head ? { result: null } : seen;
    }
    case "eth_getLogs":
      return logsSeenAt(head, ask, first as LogFilter);
    default:
      return ask(method, ...params);
  }
}

interface LogFilter {
  readonly blockHash?: string;
  readonly fromBlock?: string;
  readonly toBlock?: string;
}

/** A block that the node does not know by its hash is an error; by its number, it is left out. */
async function logsSeenAt(head: number, ask: Ask, filter: LogFilter): Promise<RpcAnswer> {
  if (filter.blockHash !== undefined) {
    const { result } = await ask("eth_getBlockByHash", filter.blockHash, false);
    const block = result as { readonly number: string } | null;
    return block === null || Number(block.number) > head
      ? { error: { code: -32000, message: "unknown block" } }
      : ask("eth_getLogs", filter);
  }
  if (Number(filter.fromBlock) > head) return { result: [] };
  const toBlock = quantity(Math.min(head, Number(filter.toBlock)));
  return ask("eth_getLogs", { ...filter, toBlock });
}

function note({ told }: LyingNode, lie: keyof Lies | "range"): true {
  told.set(lie, (told.get(lie) ?? 0) + 1);
  return true;
}

async function questionIn(request: IncomingMessage): Promise<Question> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString()) as Question;
}

function askOf(target: string): Ask {
  return async (method, ...params) => {
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
    const headers = { "content-type": "application/json" };
    const signal = AbortSignal.timeout(GATEWAY_MS);
    const answered = await fetch(target, { method: "POST", headers, body, signal });
    const { result, error } = (await answered.json()) as RpcAnswer;
    return error === undefined ? { result } : { error };
  };
}

function isQuantity(value: unknown): boolean {
  return typeof value === "string" && value.startsWith("0x");
}

function quantity(value: number): string {
  return `0x${value.toString(16)}`;
}
