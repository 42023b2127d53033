import { AnchordError } from "../core/errors.js";
import type { ContractCodec, Decoded } from "./contracts.js";
import { asUnavailable, isRevert } from "./rpc.js";
import type { Rpc } from "./rpc.js";

/** A contract answered otherwise than the ABI says: it is not the contract that we know. */
export class NotTheContract extends AnchordError {
  constructor(what: string, cause: unknown) {
    const why = "the node lags, or is another chain's: anchord doctor says which";
    super("CHAIN_UNAVAILABLE", `${what}: ${why}`, { cause });
  }
}

/** The views of a kind of contract, at a node. Each rejects with CHAIN_UNAVAILABLE, as NotTheContract too. */
export interface Views {
  ask(to: string, name: string, ...args: readonly unknown[]): Promise<Decoded>;
  /**
   * The same; undefined where the contract says itself that it has no such thing: by this error, which
   * begins with the same arguments. Whatever else answers knows nothing of it: a node that lags, say.
   * Rejects with CHAIN_UNAVAILABLE there.
   */
  find(
    to: string,
    name: string,
    error: string,
    ...args: readonly unknown[]
  ): Promise<Decoded | undefined>;
  /** Whether what stands at an address says that it is this contract, of the version that we know. */
  isThere(to: string): Promise<boolean>;
  /** Whether an account holds the role that the contract keeps under a name. */
  grants(to: string, role: string, account: string): Promise<boolean>;
}

/** How a contract calls itself. */
export interface ContractIdentity {
  /** Its name without the "anchord." before it. */
  readonly name: string;
  readonly version: bigint;
}

/** The views of a contract, at the node behind an RPC. */
export function viewsOf(rpc: Rpc, contract: ContractCodec, identity: ContractIdentity): Views {
  const ask: Views["ask"] = async (to, name, ...args) => {
    let answer: string;
    try {
      const data = contract.encode(name, args);
      answer = await rpc<string>("eth_call", { to, data }, "latest");
    } catch (error) {
      if (!isRevert(error)) throw asUnavailable(error);
      throw new NotTheContract(`${to} reverts on ${name}`, error);
    }
    try {
      return contract.decode(name, answer);
    } catch (error) {
      throw new NotTheContract(`${to} does not answer ${name} as its ABI says`, error);
    }
  };
  return {
    ask,
    find: async (to, name, error, ...args) => {
      try {
        return await ask(to, name, ...args);
      } catch (thrown) {
        if (!(thrown instanceof NotTheContract)) throw thrown;
        const { cause } = thrown;
        const reason = isRevert(cause) ? contract.revertReason(cause.data) : undefined;
        if (reason !== undefined && isAbout(reason, error, args)) return undefined;
        const message =
          `the node does not know the ${identity.name} at ${to}: it lags, or is another chain's. ` +
          "Try again, or ask another node";
        throw new AnchordError("CHAIN_UNAVAILABLE", message, { cause: thrown });
      }
    },
    isThere: async (to) => {
      const name = await unlessOther(ask(to, "contractName"));
      if (name?.[0] !== `anchord.${identity.name}`) return false;
      return (await unlessOther(ask(to, "version")))?.[0] === identity.version;
    },
    grants: async (to, role, account) => {
      const { 0: key } = await ask(to, role);
      const { 0: may } = await ask(to, "hasRole", key, account);
      return may as boolean;
    },
  };
}

/** Whether a revert is by this error, with these arguments first. */
function isAbout(reason: string, error: string, args: readonly unknown[]): boolean {
  const start = `${error}(${args.join(", ")}`;
  return reason === `${start})` || reason.startsWith(`${start}, `);
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
