import { Web3 } from "web3";
import { AnchordError, messageOf } from "../core/errors.js";

/** The node answered with a JSON-RPC error. */
export class RpcFault extends Error {
  override readonly name = "RpcFault";

  constructor(
    message: string,
    /** Revert data, where there is some: 0x and hex digits. */
    readonly data: string | undefined,
  ) {
    super(message);
  }
}

/** An event of a contract, as a node has it. */
export interface RpcLog {
  readonly address: string;
  readonly data: string;
  readonly topics: readonly string[];
  readonly transactionHash: string;
  readonly blockNumber: string;
  readonly blockHash: string;
  readonly logIndex: string;
}

/** A shorter part of an address is a word, such as a version or the name of a chain. */
const SHORTEST_KEY = 8;

/** Calls a method of the node; rejects with CHAIN_UNAVAILABLE or an RpcFault. */
export type Rpc = <T>(method: string, ...params: readonly unknown[]) => Promise<T>;

/** JSON-RPC over web3's transport, with a time limit for each call. */
export function connectRpc(url: string, timeoutMs = 10_000): Rpc {
  const hide = keysOf(url);
  const { requestManager } = new Web3(url);
  return async <T>(method: string, ...params: readonly unknown[]): Promise<T> => {
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(unavailable(`no answer in ${timeoutMs} ms`)), timeoutMs);
    });
    try {
      const request = requestManager.send({ method, params } as never) as Promise<T>;
      return await Promise.race([request, timeout]);
    } catch (error) {
      throw asFault(error, hide);
    } finally {
      clearTimeout(timer);
    }
  };
}

/** A number as nodes take it. */
export function quantity(value: number): string {
  return `0x${value.toString(16)}`;
}

/** Whether a node's error is about the call, not about the node, such as a rate limit. */
export function isRevert(error: unknown): error is RpcFault {
  return error instanceof RpcFault && (error.data !== undefined || /revert/i.test(error.message));
}

/** CHAIN_UNAVAILABLE in place of an error that the node answered with. */
export function asUnavailable(error: unknown): unknown {
  if (!(error instanceof RpcFault)) return error;
  const message = `the chain's node refuses to answer (${error.message}): try again`;
  return new AnchordError("CHAIN_UNAVAILABLE", message, { cause: error });
}

function asFault(error: unknown, hide: (message: string) => string): Error {
  if (error instanceof AnchordError) return error;
  const inner = nodeError(error);
  if (inner !== undefined)
    return new RpcFault(hide(withoutAddresses(inner.message)), revertData(inner.data));
  return unavailable(withoutAddresses(messageOf(error)));
}

/** An address may hold a key, as those of hosted nodes do: it goes into no message and no log. */
function withoutAddresses(message: string): string {
  return message.replace(/https?:\/\/\S+/g, "the node");
}

/** Removes from a message the parts of an address that may be a key, which some nodes repeat in their errors. */
function keysOf(address: string): (message: string) => string {
  const { username, password, pathname, search } = new URL(address);
  const parts = [username, password, ...pathname.split("/"), ...search.split(/[?&=]/)];
  const keys = parts.filter(({ length }) => length >= SHORTEST_KEY);
  return (message) => keys.reduce((rest, key) => rest.replaceAll(key, "[secret]"), message);
}

/** The JSON-RPC error object, if the node sent one: web3 hands it on as the cause. */
function nodeError(error: unknown): { message: string; data?: unknown } | undefined {
  const { code, message, data } = ((error as Error | undefined)?.cause ?? {}) as {
    code?: unknown;
    message?: unknown;
    data?: unknown;
  };
  if (typeof code !== "number" || typeof message !== "string") return undefined;
  return { message, data };
}

function revertData(data: unknown): string | undefined {
  if (typeof data === "string" && data.startsWith("0x")) return data;
  const nested = (data as { data?: unknown; result?: unknown } | undefined) ?? {};
  for (const candidate of [nested.data, nested.result]) {
    if (typeof candidate === "string" && candidate.startsWith("0x")) return candidate;
  }
  return undefined;
}

function unavailable(why: string): AnchordError {
  return new AnchordError("CHAIN_UNAVAILABLE", `the chain does not answer (${why}): try again`);
}
