import { hex0x } from "../core/bytes.js";
import type { ChainTransaction } from "../core/receipt.js";
import { AUDIT_LOG, auditLogCalls, sealedIn } from "./audit-log.js";
import { eventCalls } from "./events.js";
import { anchoredIn, EVIDENCE_REGISTRY, evidenceRegistryCalls } from "./evidence-registry.js";
import { BroadcastRefused } from "./port.js";
import type { Block, Call, Chain, Fees, Mined } from "./port.js";
import { asUnavailable, connectRpc, isRevert, quantity, RpcFault } from "./rpc.js";
import type { Rpc, RpcLog } from "./rpc.js";
import { SLA_REGISTRY, slaRegistryCalls } from "./sla-registry.js";

/** Those whose errors are named. */
const CONTRACTS = [AUDIT_LOG, EVIDENCE_REGISTRY, SLA_REGISTRY];

/** Used where the node does not name a priority fee: 1 gwei. */
const DEFAULT_PRIORITY_FEE = 1_000_000_000n;

/** Connects to the node at an HTTP address. */
export function web3Chain(url: string): Chain {
  const rpc = connectRpc(url);
  const registries = { ...evidenceRegistryCalls(rpc), ...slaRegistryCalls(rpc) };
  return Object.assign(new Web3Node(rpc), auditLogCalls(rpc), registries, eventCalls(rpc));
}

interface RpcBlock {
  readonly number: string;
  readonly hash: string;
  readonly parentHash: string;
  readonly timestamp: string;
  readonly baseFeePerGas?: string;
}

interface RpcReceipt {
  readonly blockNumber: string | null;
  readonly blockHash: string;
  readonly status: string;
  readonly gasUsed: string;
  readonly logs: readonly RpcLog[];
}

type MinedReceipt = RpcReceipt & { readonly blockNumber: string };

/** What a node answers without any contract of ours. */
class Web3Node {
  constructor(private readonly rpc: Rpc) {}

  async chainId(): Promise<bigint> {
    return BigInt(await this.#ask<string>("eth_chainId"));
  }

  async genesisHash(): Promise<string> {
    const genesis = await this.#ask<RpcBlock>("eth_getBlockByNumber", "0x0", false);
    return genesis.hash;
  }

  async latestBlock(): Promise<Block> {
    return asBlock(await this.#ask<RpcBlock>("eth_getBlockByNumber", "latest", false));
  }

  async block(number: number): Promise<Block | undefined> {
    const block = await this.#ask<RpcBlock | null>("eth_getBlockByNumber", quantity(number), false);
    return block === null ? undefined : asBlock(block);
  }

  async finalizedNumber(): Promise<number | undefined> {
    try {
      const block = await this.rpc<RpcBlock | null>("eth_getBlockByNumber", "finalized", false);
      return block === null ? undefined : Number(block.number);
    } catch (error) {
      if (error instanceof RpcFault) return undefined; // the node does not know the word, or no block
      throw error;
    }
  }

  async transaction(hash: string): Promise<ChainTransaction | undefined> {
    const receipt = await this.#receipt(hash);
    return (
      receipt && {
        blockNumber: BigInt(receipt.blockNumber),
        blockHash: receipt.blockHash,
        sealed: sealedIn(receipt.logs),
        anchored: anchoredIn(receipt.logs),
      }
    );
  }

  async mined(transactionHash: string): Promise<Mined | undefined> {
    const receipt = await this.#receipt(transactionHash);
    return (
      receipt && {
        blockNumber: Number(receipt.blockNumber),
        blockHash: receipt.blockHash,
        succeeded: BigInt(receipt.status) === 1n,
        gasUsed: Number(receipt.gasUsed),
      }
    );
  }

  async #receipt(hash: string): Promise<MinedReceipt | undefined> {
    const receipt = await this.#ask<RpcReceipt | null>("eth_getTransactionReceipt", hash);
    const blockNumber = receipt?.blockNumber ?? undefined; // some nodes answer for pending ones
    return receipt === null || blockNumber === undefined ? undefined : { ...receipt, blockNumber };
  }

  async nonce(account: string): Promise<number> {
    return Number(await this.#ask<string>("eth_getTransactionCount", account, "latest"));
  }

  /** Twice the base fee outlasts six full blocks in a row (EIP-1559: at most +12.5 % a block). */
  async fees(): Promise<Fees> {
    const latest = await this.#ask<RpcBlock>("eth_getBlockByNumber", "latest", false);
    const maxPriorityFeePerGas = await this.#priorityFee();
    const baseFee = BigInt(latest.baseFeePerGas ?? "0x0");
    return { maxFeePerGas: baseFee * 2n + maxPriorityFeePerGas, maxPriorityFeePerGas };
  }

  async preflight({ to, data, gas }: Call, from: string): Promise<string | undefined> {
    try {
      await this.rpc<string>("eth_call", { from, to, data, gas: quantity(gas) }, "latest");
      return undefined;
    } catch (error) {
      if (!isRevert(error)) throw asUnavailable(error);
      const [reason] = CONTRACTS.flatMap((contract) => contract.revertReason(error.data) ?? []);
      return reason ?? error.message;
    }
  }

  async broadcast(transaction: Uint8Array): Promise<void> {
    try {
      await this.rpc<string>("eth_sendRawTransaction", hex0x(transaction));
    } catch (error) {
      if (!(error instanceof RpcFault)) throw error;
      if (/already ?known|known transaction|already imported/i.test(error.message)) return;
      throw new BroadcastRefused(error.message);
    }
  }

  /** Calls a method that no request of ours can make fail: an error is the node's. */
  async #ask<T>(method: string, ...params: readonly unknown[]): Promise<T> {
    try {
      return await this.rpc<T>(method, ...params);
    } catch (error) {
      throw asUnavailable(error);
    }
  }

  async #priorityFee(): Promise<bigint> {
    try {
      return BigInt(await this.rpc<string>("eth_maxPriorityFeePerGas"));
    } catch (error) {
      if (error instanceof RpcFault) return DEFAULT_PRIORITY_FEE;
      throw error;
    }
  }
}

function asBlock({ number, hash, parentHash, timestamp }: RpcBlock): Block {
  return { number: Number(number), hash, parentHash, time: Number(timestamp) };
}
