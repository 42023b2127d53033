import { eth } from "web3";
import type { AbiEventFragment, AbiFunctionFragment, ContractAbi } from "web3";
import type { RpcLog } from "./rpc.js";

/** Decoded outputs, by position and by name. */
export type Decoded = Readonly<Record<string | number, unknown>>;

/** A contract's ABI, prepared once: encodes its calls, and decodes what comes back. */
export interface ContractCodec {
  encode(name: string, args: readonly unknown[]): string;
  decode(name: string, answer: string): Decoded;
  topic(event: string): string;
  decodeEvent(event: string, data: string, topics: readonly string[]): Decoded;
  /** The custom error behind revert data, such as "UnexpectedNumber(2, 1)". */
  revertReason(data: string | undefined): string | undefined;
}

/** An event's contract, in lower case, and its three indexed values, as words. */
interface Announced {
  readonly contract: string;
  readonly indexed: readonly [string, string, string];
}

/** The logs that announce an event with three indexed values, whichever contract did. */
export function announced(logs: readonly RpcLog[], topic: string): readonly Announced[] {
  return logs.flatMap(({ address, topics: [first, ...indexed] }) =>
    first === topic && isTriple(indexed) ? [{ contract: address.toLowerCase(), indexed }] : [],
  );
}

function isTriple<T>(values: readonly T[]): values is readonly [T, T, T] {
  return values.length === 3;
}

/** Prepares an ABI. */
export function contractOf(abi: ContractAbi): ContractCodec {
  const { encodeFunctionCall, decodeParameters, encodeEventSignature, decodeLog } = eth.abi;
  const fragment = <T>(type: string, name: string): T => {
    const found = abi.find((f) => f.type === type && "name" in f && f.name === name);
    if (found === undefined) throw new Error(`the ABI has no ${type} ${name}`);
    return found as T;
  };
  const errors = abi.filter((f) => f.type === "error") as unknown as AbiFunctionFragment[];
  const errorBySelector = new Map(
    errors.map((f) => [eth.abi.encodeErrorSignature(f as never).slice(0, 10), f]),
  );
  return {
    encode: (name, args) =>
      encodeFunctionCall(fragment<AbiFunctionFragment>("function", name), [...args]),
    decode: (name, answer) =>
      decodeParameters(
        [...(fragment<AbiFunctionFragment>("function", name).outputs ?? [])],
        answer,
      ),
    topic: (event) => encodeEventSignature(fragment<AbiEventFragment>("event", event)),
    decodeEvent: (event, data, topics) =>
      decodeLog(
        [...(fragment<AbiEventFragment>("event", event).inputs ?? [])] as never,
        data,
        topics.slice(1),
      ),
    revertReason: (data) => {
      const error = errorBySelector.get(data?.slice(0, 10) ?? "");
      if (error === undefined) return undefined;
      const values = decodeParameters([...(error.inputs ?? [])], `0x${data?.slice(10)}`);
      return `${error.name}(${(error.inputs ?? []).map((_, i) => String(values[i])).join(", ")})`;
    },
  };
}
