import type { BatchSeal, LogId } from "../core/head.js";
import type { ReceiptChain } from "../core/receipt.js";
import type { Cycle, SlaChange, SlaIntent } from "../core/sla.js";

/** A block's place in its chain. Hashes are 0x and 64 lower-case hex digits. */
export interface Block {
  readonly number: number;
  readonly hash: string;
  readonly parentHash: string;
  /** Seconds since 1970. */
  readonly time: number;
}

/** A seal that the chain has, as the contract announced it. */
export interface SealedEvent {
  readonly type: "sealed";
  readonly seal: BatchSeal;
  readonly head: Uint8Array;
  readonly transactionHash: string;
  readonly blockNumber: number;
  readonly blockHash: string;
}

/** An anchor that the registry announced. */
export interface EvidenceEvent {
  readonly type: "evidence";
  /** SHA-256 of the subject. */
  readonly subjectKey: Uint8Array;
  /** SHA-256 of the file. */
  readonly digest: Uint8Array;
  /** Id of the record that tells of it, as whoever anchored it said; 32 zero bytes for none. */
  readonly ref: Uint8Array;
  /** Binary CID, as whoever anchored it said; empty for none. */
  readonly cid: Uint8Array;
  /** The account that anchored it: 0x and 40 lower-case hex digits. */
  readonly submitter: string;
  readonly transactionHash: string;
  readonly blockNumber: number;
  readonly blockHash: string;
  /** Position of the log in its block. */
  readonly logIndex: number;
}

/** A change of a deadline that the registry announced. */
export interface SlaEvent {
  readonly type: "sla";
  /** SHA-256 of the subject. */
  readonly subjectKey: Uint8Array;
  /** Which of the subject's deadlines, from 1. */
  readonly cycle: number;
  readonly change: SlaChange;
  /** Id of the record that tells of it, as whoever changed it said; 32 zero bytes for none. */
  readonly ref: Uint8Array;
  /** The account that changed it: 0x and 40 lower-case hex digits. */
  readonly account: string;
  readonly transactionHash: string;
  readonly blockNumber: number;
  readonly blockHash: string;
  /** Position of the log in its block. */
  readonly logIndex: number;
}

/** What one of the contracts announced. */
export type ContractEvent = SealedEvent | EvidenceEvent | SlaEvent;

/** The contracts of a service, and its log. */
export interface Contracts extends LogId {
  /** Address of EvidenceRegistry: 0x and 40 lower-case hex digits; undefined where there is none. */
  readonly evidence: string | undefined;
  /** Address of SLARegistry: 0x and 40 lower-case hex digits; undefined where there is none. */
  readonly sla: string | undefined;
}

/** Evidence on its way into the registry. */
export interface EvidenceItem {
  /** SHA-256 of the subject. */
  readonly subjectKey: Uint8Array;
  /** SHA-256 of the file. */
  readonly digest: Uint8Array;
  /** Id of the record that tells of it. */
  readonly ref: Uint8Array;
  /** Binary CID, at most 64 bytes; empty for none. */
  readonly cid: Uint8Array;
}

/** The anchor of evidence, as the registry has it. */
export interface EvidenceAnchor {
  /** The account that anchored it: 0x and 40 lower-case hex digits. */
  readonly submitter: string;
  /** Block time in seconds. */
  readonly time: number;
  readonly blockNumber: number;
}

/** A mined transaction. */
export interface Mined {
  readonly blockNumber: number;
  readonly blockHash: string;
  /** False where the contract reverted. */
  readonly succeeded: boolean;
  readonly gasUsed: number;
}

/** A contract call that may be signed. */
export interface Call {
  /** Address: 0x and 40 hex digits. */
  readonly to: string;
  /** ABI-encoded call data: 0x and hex digits. */
  readonly data: string;
  /** Gas limit. */
  readonly gas: number;
}

/** Fees of EIP-1559, in wei a unit of gas. */
export interface Fees {
  readonly maxFeePerGas: bigint;
  readonly maxPriorityFeePerGas: bigint;
}

/**
 * What we need of a chain. Every call rejects with CHAIN_UNAVAILABLE when the node does not answer in
 * time; an implementation MUST NOT retry, cache or reorder calls: its callers decide. What a node says
 * of its head MAY lag or be wrong; callers compare hashes.
 */
export interface Chain extends ReceiptChain {
  /** Hash of block 0, which tells chains with the same id apart. */
  genesisHash(): Promise<string>;
  latestBlock(): Promise<Block>;
  /** Undefined where the node has no such block. */
  block(number: number): Promise<Block | undefined>;
  /** Number of the block that the node calls finalized; undefined where it names none. */
  finalizedNumber(): Promise<number | undefined>;
  /**
   * The seals of a log, and what the registries announced where there are any, in a range of blocks,
   * both ends included, in chain order. Rejects with a `RangeRefused` when the node finds the range, or
   * what is in it, too large.
   */
  events(of: Contracts, fromBlock: number, toBlock: number): Promise<ContractEvent[]>;
  /** The same in one block, by its hash; rejects where the node does not have the block. */
  eventsIn(of: Contracts, blockHash: string): Promise<ContractEvent[]>;
  /** The number and head of the last batch of a log. */
  lastSealed(id: LogId): Promise<{ readonly number: bigint; readonly head: Uint8Array }>;
  /** Whether the account may seal. */
  maySeal(contract: string, account: string): Promise<boolean>;
  /** Whether an EvidenceRegistry contract of a version that we know answers at the address. */
  isEvidenceRegistry(contract: string): Promise<boolean>;
  /** Whether the account may anchor evidence. */
  mayAnchor(contract: string, account: string): Promise<boolean>;
  /** Undefined where the registry has no such anchor; rejects where the node does not know the registry. */
  evidenceAnchor(
    contract: string,
    subjectKey: Uint8Array,
    digest: Uint8Array,
  ): Promise<EvidenceAnchor | undefined>;
  /** Whether an SLARegistry contract of a version that we know answers at the address. */
  isSlaRegistry(contract: string): Promise<boolean>;
  /** Whether the account may set, move and end deadlines. */
  mayManage(contract: string, account: string): Promise<boolean>;
  /**
   * A deadline of a subject, the last one unless its number is given; undefined where the registry has
   * none. Rejects where the node does not know the registry.
   */
  slaCycle(contract: string, subjectKey: Uint8Array, cycle?: number): Promise<Cycle | undefined>;
  /** Those of the subjects that have a level due at the time of the latest block, in the order given. */
  slaDue(contract: string, subjectKeys: readonly Uint8Array[]): Promise<Uint8Array[]>;
  /** What the registry announced in a transaction, in order; nothing where no block has the transaction. */
  slaEvents(contract: string, transactionHash: string): Promise<SlaEvent[]>;
  /** Undefined where no block has the transaction. */
  mined(transactionHash: string): Promise<Mined | undefined>;
  /** The next nonce of an account in the latest block. */
  nonce(account: string): Promise<number>;
  /** Fees that a transaction needs now, with room for a rise. */
  fees(): Promise<Fees>;
  /** The call data of a seal. */
  sealCall(id: LogId, previousHead: Uint8Array, seal: BatchSeal): Call;
  /** The call data that anchors evidence. Requires at least one item. */
  anchorCall(contract: string, items: readonly EvidenceItem[]): Call;
  /** The call data that changes a deadline; `ref` is the id of the record that tells of it. */
  slaCall(contract: string, subjectKey: Uint8Array, intent: SlaIntent, ref: Uint8Array): Call;
  /**
   * The call data that raises what is due of subjects; `levels` is the most that it can raise of all of
   * them together. Nothing of it is known before it is mined: a node that runs it earlier raises less.
   */
  escalateCall(contract: string, subjectKeys: readonly Uint8Array[], levels: number): Call;
  /**
   * Runs a call of one of the contracts without sending it. Resolves to the revert's name and arguments, or
   * undefined.
   */
  preflight(call: Call, from: string): Promise<string | undefined>;
  /**
   * Hands a signed transaction to the node. Resolves also when the node knows it already; rejects with
   * a `BroadcastRefused` when the node will not have it.
   */
  broadcast(transaction: Uint8Array): Promise<void>;
}

/** The node answered that it will not search a range of blocks. The message is the node's. */
export class RangeRefused extends Error {
  override readonly name = "RangeRefused";
}

/** The node refused a transaction. The message is the node's. */
export class BroadcastRefused extends Error {
  override readonly name = "BroadcastRefused";
}
