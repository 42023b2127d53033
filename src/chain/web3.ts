import { auditLogAbi } from "../../gen/contracts/audit-log.js";
import { hex0x, sameBytes, unhex, ZERO32 } from "../core/bytes.js";
import { AnchordError } from "../core/errors.js";
import type { BatchSeal, LogId } from "../core/head.js";
import type { ChainBatch } from "../core/receipt.js";
import { contractOf } from "./contracts.js";
import type { Decoded } from "./contracts.js";
import { BroadcastRefused, RangeRefused } from "./port.js";
import type { Block, Call, Chain, Fees, Mined, SealedEvent } from "./port.js";
import { connectRpc, RpcFault } from "./rpc.js";
import type { Rpc } from "./rpc.js";

const AUDIT_LOG = contractOf(auditLogAbi);
const CONTRACT_NAME = "anchord.AuditLog";
const CONTRACT_VERSION = 1n;

/** Gas limit of a seal: about half as much again as the most that one was measured to need. */
export const SEAL_GAS = 200_000;

/** Used where the node does not name a priority fee: 1 gwei. */
const DEFAULT_PRIORITY_FEE = 1_000_000_000n;

/** Connects to the node at an HTTP address. */
export function web3Chain(url: string): Chain {
  return new Web3Chain(connectRpc(url));
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
}

interface RpcLog {
  readonly data: string;
  readonly topics: string[];
  readonly transactionHash: string;
  readonly blockNumber: string;
  readonly blockHash: string;
}

class Web3Chain implements Chain {
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

  async sealedEvents(id: LogId, fromBlock: number, toBlock: number): Promise<SealedEvent[]> {
    const range = { fromBlock: quantity(fromBlock), toBlock: quantity(toBlock) };
    try {
      return await this.#sealsWhere(id, range);
    } catch (error) {
      // Every node words it differently, and has its own code for it.
      if (error instanceof RpcFault) throw new RangeRefused(error.message, { cause: error });
      throw error;
    }
  }

  async sealedEventsIn(id: LogId, blockHash: string): Promise<SealedEvent[]> {
    try {
      return await this.#sealsWhere(id, { blockHash });
    } catch (error) {
      throw asUnavailable(error);
    }
  }

  async lastSealed({ contract, log }: LogId): Promise<{ number: bigint; head: Uint8Array }> {
    const { number, head } = await this.#view(contract, "headOf", [hex0x(log)]);
    return { number: BigInt(number as string), head: unhex(head as string) };
  }

  async minimumDifficulty(contract: string): Promise<number> {
    const { 0: difficulty } = await this.#view(contract, "minimumDifficulty", []);
    return Number(difficulty);
  }

  async maySeal(contract: string, account: string): Promise<boolean> {
    const { 0: role } = await this.#view(contract, "SEALER_ROLE", []);
    const { 0: may } = await this.#view(contract, "hasRole", [role, account]);
    return may as boolean;
  }

  async isAuditLog(contract: string): Promise<boolean> {
    try {
      const { 0: name } = await this.#view(contract, "contractName", []);
      const { 0: version } = await this.#view(contract, "version", []);
      return name === CONTRACT_NAME && version === CONTRACT_VERSION;
    } catch (error) {
      if (error instanceof NotTheContract) return false;
      throw error;
    }
  }

  async batch({ contract, log }: LogId, number: bigint): Promise<ChainBatch | undefined> {
    try {
      const found = await this.#view(contract, "batchOf", [hex0x(log), number]);
      const root = unhex(found["root"] as string);
      const head = unhex(found["head"] as string);
      const size = BigInt(found["size"] as string);
      const time = BigInt(found["time"] as string);
      const absent =
        [root, head].every((digest) => sameBytes(digest, ZERO32)) && size + time === 0n;
      return absent ? undefined : { root, head, size, time };
    } catch (error) {
      if (error instanceof NotTheContract) return undefined;
      throw error;
    }
  }

  async transaction(hash: string) {
    const mined = await this.mined(hash);
    return mined && { blockNumber: BigInt(mined.blockNumber), blockHash: mined.blockHash };
  }

  async mined(transactionHash: string): Promise<Mined | undefined> {
    const receipt = await this.#ask<RpcReceipt | null>(
      "eth_getTransactionReceipt",
      transactionHash,
    );
    if (receipt?.blockNumber == null) return undefined; // some nodes answer for pending ones
    return {
      blockNumber: Number(receipt.blockNumber),
      blockHash: receipt.blockHash,
      succeeded: BigInt(receipt.status) === 1n,
      gasUsed: Number(receipt.gasUsed),
    };
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

  sealCall(id: LogId, previousHead: Uint8Array, seal: BatchSeal): Call {
    const data = AUDIT_LOG.encode("sealBatch", [
      hex0x(id.log),
      {
        number: seal.number,
        size: seal.size,
        nonce: seal.nonce,
        previousHead: hex0x(previousHead),
        root: hex0x(seal.root),
        manifestDigest: hex0x(seal.manifestDigest),
        trailsRoot: hex0x(seal.trailsRoot),
      },
    ]);
    return { to: id.contract, data, gas: SEAL_GAS };
  }

  async preflight({ to, data, gas }: Call, from: string): Promise<string | undefined> {
    try {
      await this.rpc<string>("eth_call", { from, to, data, gas: quantity(gas) }, "latest");
      return undefined;
    } catch (error) {
      if (!isRevert(error)) throw asUnavailable(error);
      return AUDIT_LOG.revertReason(error.data) ?? error.message;
    }
  }

  async broadcast(transaction: Uint8Array): Promise<void> {
    try {
      await this.rpc<string>("eth_sendRawTransaction", hex0x(transaction));
    } catch (error) {
      if (!(error instanceof RpcFault)) throw error;
      if (/already known|known transaction|already imported/i.test(error.message)) return;
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

  async #sealsWhere({ contract, log }: LogId, where: object): Promise<SealedEvent[]> {
    const topics = [AUDIT_LOG.topic("BatchSealed"), hex0x(log)];
    const logs = await this.rpc<RpcLog[]>("eth_getLogs", { address: contract, topics, ...where });
    return logs.map(asSealedEvent);
  }

  async #priorityFee(): Promise<bigint> {
    try {
      return BigInt(await this.rpc<string>("eth_maxPriorityFeePerGas"));
    } catch (error) {
      if (error instanceof RpcFault) return DEFAULT_PRIORITY_FEE;
      throw error;
    }
  }

  async #view(to: string, name: string, args: readonly unknown[]): Promise<Decoded> {
    let answer: string;
    try {
      answer = await this.rpc<string>(
        "eth_call",
        { to, data: AUDIT_LOG.encode(name, args) },
        "latest",
      );
    } catch (error) {
      if (!isRevert(error)) throw asUnavailable(error);
      throw new NotTheContract(`${to} reverts on ${name}, which AuditLog does not`, {
        cause: error,
      });
    }
    try {
      return AUDIT_LOG.decode(name, answer);
    } catch (error) {
      throw new NotTheContract(`${to} does not answer ${name} as AuditLog does`, { cause: error });
    }
  }
}

/** A contract answered otherwise than the ABI says: it is not the contract that we know. */
class NotTheContract extends Error {}

/** Whether a node's error is about the call, not about the node, such as a rate limit. */
function isRevert(error: unknown): error is RpcFault {
  return error instanceof RpcFault && (error.data !== undefined || /revert/i.test(error.message));
}

function asUnavailable(error: unknown): unknown {
  if (!(error instanceof RpcFault)) return error;
  const message = `the chain's node refuses to answer (${error.message}): try again`;
  return new AnchordError("CHAIN_UNAVAILABLE", message, { cause: error });
}

function asBlock({ number, hash, parentHash, timestamp }: RpcBlock): Block {
  return { number: Number(number), hash, parentHash, time: Number(timestamp) };
}

function asSealedEvent(log: RpcLog): SealedEvent {
  const event = AUDIT_LOG.decodeEvent("BatchSealed", log.data, log.topics);
  return {
    seal: {
      number: BigInt(event["number"] as string),
      root: unhex(event["root"] as string),
      size: BigInt(event["size"] as string),
      manifestDigest: unhex(event["manifestDigest"] as string),
      trailsRoot: unhex(event["trailsRoot"] as string),
      nonce: BigInt(event["nonce"] as string),
    },
    head: unhex(event["head"] as string),
    transactionHash: log.transactionHash,
    blockNumber: Number(log.blockNumber),
    blockHash: log.blockHash,
  };
}

function quantity(value: number): string {
  return `0x${value.toString(16)}`;
}
