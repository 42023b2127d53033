import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { ReceiptChain } from "../../src/core/receipt.js";
import { hex, unhex } from "../../src/core/bytes.js";

/** What a scripted node answers: the form of `chains` in docs/vectors. */
export interface ChainScript {
  readonly chainId: string;
  readonly calls: readonly {
    readonly to: string;
    readonly data: string;
    readonly result?: string;
    readonly error?: object;
  }[];
  readonly transactions: Readonly<
    Record<string, { blockNumber: string; blockHash: string; logs?: readonly TransactionLog[] }>
  >;
  /** What eth_getLogs finds, or the error that it answers with. */
  readonly logs?: readonly ScriptedLog[] | { readonly error: object };
  /** By their numbers; only where certificates need them. */
  readonly blocks?: Readonly<Record<string, object>>;
}

interface TransactionLog {
  readonly address: string;
  readonly topics: readonly string[];
}

interface ScriptedLog {
  readonly address: string;
  readonly topics: readonly string[];
  readonly data: string;
  readonly blockNumber: string;
}

/** What is searched for in a script's logs: the form of an eth_getLogs filter. */
interface LogFilter {
  readonly address: string;
  readonly topics: readonly string[];
  readonly fromBlock: string;
}

type Answer = { readonly result: unknown } | { readonly error: object };

/** What a node tells of a transaction besides what is scripted. */
const MINED = { status: "0x1", gasUsed: "0x0", logs: [] };

/** The answer to one JSON-RPC request. What is not scripted: 0x for calls, else null. */
export function answerOf(script: ChainScript, method: string, params: readonly unknown[]): Answer {
  switch (method) {
    case "eth_chainId":
      return { result: script.chainId };
    case "eth_call": {
      const { to, data } = params[0] as { to: string; data: string };
      const call = script.calls.find((known) => known.to === to && known.data === data);
      return call?.error ? { error: call.error } : { result: call?.result ?? "0x" };
    }
    case "eth_getTransactionReceipt": {
      const found = script.transactions[params[0] as string];
      return { result: found === undefined ? null : { ...MINED, ...found } };
    }
    case "eth_getLogs": {
      const { address, topics, fromBlock } = params[0] as LogFilter;
      const isAsked = (log: ScriptedLog) =>
        log.address === address &&
        log.topics[0] === topics[0] &&
        BigInt(log.blockNumber) >= BigInt(fromBlock);
      const { logs = [] } = script;
      return "error" in logs ? logs : { result: logs.filter(isAsked) };
    }
    case "eth_getBlockByNumber":
      return { result: script.blocks?.[params[0] as string] ?? null };
    default:
      return { error: { code: -32601, message: `no method ${method}` } };
  }
}

/** ABI of the string "anchord.AuditLog", as docs/receipts.md shows it. */
const NAME =
  "0x0000000000000000000000000000000000000000000000000000000000000020" +
  "0000000000000000000000000000000000000000000000000000000000000010" +
  "616e63686f72642e41756469744c6f6700000000000000000000000000000000";

/** Topic of AuditLog's event of a seal, as docs/receipts.md has it. */
const BATCH_SEALED = "0xeb494a8b79e3077d36d920790c3427f400e0a678123e4a6dfde84f2a37a253e4";

/** A chain for checkReceipt that reads the script as a client reads a node. */
export function chainOf(script: ChainScript): ReceiptChain {
  const call = (to: string, data: string): string => {
    const answer = answerOf(script, "eth_call", [{ to, data }, "latest"]);
    return "result" in answer ? (answer.result as string) : "0x";
  };
  return {
    minimumDifficulty: (contract) => Promise.resolve(Number(call(contract, "0x371b879e"))),
    difficultyChanges: (address, fromBlock) => {
      const filter = {
        address,
        topics: ["0xd0c1b4447a0f44c7d080b547a997521e109db938d7d43fe6e7e96faabd157e6a"],
        fromBlock: `0x${fromBlock.toString(16)}`,
      };
      const { result } = answerOf(script, "eth_getLogs", [filter]) as { result: ScriptedLog[] };
      const changes = result.map(({ data, blockNumber }) => {
        return { blockNumber: Number(blockNumber), previous: Number(data.slice(0, 66)) };
      });
      return Promise.resolve(changes);
    },
    chainId: () => Promise.resolve(BigInt(script.chainId)),
    isAuditLog: (contract) =>
      Promise.resolve(
        call(contract, "0x75d0c0dc") === NAME &&
          call(contract, "0x54fd4d50") === `0x${"1".padStart(64, "0")}`,
      ),
    batch: ({ contract, log }, number) => {
      const data = `0x6f74911f${hex(log)}${number.toString(16).padStart(64, "0")}`;
      const words = unhex(call(contract, data));
      if (words.length !== 128 || words.every((byte) => byte === 0))
        return Promise.resolve(undefined);
      return Promise.resolve({
        root: words.subarray(0, 32),
        head: words.subarray(32, 64),
        size: BigInt(`0x${hex(words.subarray(64, 96))}`),
        time: BigInt(`0x${hex(words.subarray(96))}`),
      });
    },
    transaction: (hash) => {
      const found = script.transactions[hash];
      if (found === undefined) return Promise.resolve(undefined);
      const { blockNumber, blockHash, logs = [] } = found;
      const sealed = logs.flatMap(({ address, topics: [event, log = "", number = ""] }) =>
        event === BATCH_SEALED
          ? [{ contract: address, log: unhex(log), number: BigInt(number) }]
          : [],
      );
      return Promise.resolve({ blockNumber: BigInt(blockNumber), blockHash, sealed, anchored: [] });
    },
  };
}

/** Serves a script as JSON-RPC over HTTP on a free port of the loopback interface. */
export async function serveChain(
  scriptOf: (path: string) => ChainScript | undefined,
): Promise<{ readonly url: string; close(): Promise<void> }> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const script = scriptOf((request.url ?? "/").slice(1));
      if (script === undefined) {
        response.writeHead(503).end("no such chain");
        return;
      }
      const { id, method, params } = JSON.parse(Buffer.concat(chunks).toString()) as {
        id: number;
        method: string;
        params: unknown[];
      };
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ jsonrpc: "2.0", id, ...answerOf(script, method, params) }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
