import type { ContractCodec, Decoded } from "./contracts.js";
import { asUnavailable, isRevert } from "./rpc.js";
import type { Rpc } from "./rpc.js";

/** A contract answered otherwise than the ABI says: it is not the contract that we know. */
export class NotTheContract extends Error {}

/** The views of a kind of contract, at a node. Each rejects with CHAIN_UNAVAILABLE or NotTheContract. */
export interface Views {
  ask(to: string, name: string, ...args: readonly unknown[]): Promise<Decoded>;
  /** Whether what stands at an address says that it is this contract, of this version. */
  says(to: string, contractName: string, version: bigint): Promise<boolean>;
  /** Whether an account holds the role that the contract keeps under a name. */
  grants(to: string, role: string, account: string): Promise<boolean>;
}

/** The views of a contract, at the node behind an RPC. */
export function viewsOf(rpc: Rpc, contract: ContractCodec): Views {
  const ask: Views["ask"] = async (to, name, ...args) => {
    let answer: string;
    try {
      const data = contract.encode(name, args);
      answer = await rpc<string>("eth_call", { to, data }, "latest");
    } catch (error) {
      if (!isRevert(error)) throw asUnavailable(error);
      throw new NotTheContract(`${to} reverts on ${name}`, { cause: error });
    }
    try {
      return contract.decode(name, answer);
    } catch (error) {
      throw new NotTheContract(`${to} does not answer ${name} as its ABI says`, { cause: error });
    }
  };
  return {
    ask,
    says: async (to, contractName, version) => {
      const name = await unlessOther(ask(to, "contractName"));
      if (name?.[0] !== contractName) return false;
      return (await unlessOther(ask(to, "version")))?.[0] === version;
    },
    grants: async (to, role, account) => {
      const { 0: key } = await ask(to, role);
      const { 0: may } = await ask(to, "hasRole", key, account);
      return may as boolean;
    },
  };
}

/** The answer of a view; undefined where the contract has no such answer. */
export async function unlessOther(answer: Promise<Decoded>): Promise<Decoded | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof NotTheContract) return undefined;
    throw error;
  }
}
