import type { Entry, Receipt } from "../../gen/ts/anchord/v1/receipt_pb.js";
import { hex, hex0x, sameBytes, sha256 } from "./bytes.js";
import { messageOf } from "./errors.js";
import { genesisHead, nextHead, workAskedIn, workOf } from "./head.js";
import type { DifficultyChange, LogId } from "./head.js";
import { rootFromPath } from "./merkle.js";
import { decodeEntry } from "./record.js";
import { trailLeaf } from "./trail.js";

/** A batch as the contract has it. */
export interface ChainBatch {
  readonly root: Uint8Array;
  readonly head: Uint8Array;
  readonly size: bigint;
  /** Block time in seconds. */
  readonly time: bigint;
}

/** Where a transaction stands on the chain, and what contracts announced in it. */
export interface ChainTransaction {
  readonly blockNumber: bigint;
  readonly blockHash: string;
  /** The batches that an AuditLog sealed. */
  readonly sealed: readonly { contract: string; log: Uint8Array; number: bigint }[];
  /** The evidence that an EvidenceRegistry anchored. */
  readonly anchored: readonly { contract: string; subjectKey: Uint8Array; digest: Uint8Array }[];
}

/** What checking a receipt needs of a chain. Each call may reject when the chain is out of reach. */
export interface ReceiptChain {
  chainId(): Promise<bigint>;
  /** Whether an AuditLog contract of a version that we know answers at the address. */
  isAuditLog(contract: string): Promise<boolean>;
  /** Undefined where the contract has no such batch. */
  batch(id: LogId, number: bigint): Promise<ChainBatch | undefined>;
  /** Undefined where the chain has no such transaction in a block. */
  transaction(hash: string): Promise<ChainTransaction | undefined>;
  /** The work that the contract asks of heads now, in leading zero hex digits. */
  minimumDifficulty(contract: string): Promise<number>;
  /**
   * How that was changed, from a block on, in the order of the chain. Rejects also where the node does not
   * search so many blocks.
   */
  difficultyChanges(contract: string, fromBlock: number): Promise<readonly DifficultyChange[]>;
}

/** The same chain, each of whose questions goes through `once`, under a name that no other question has. */
export function chainThrough(
  chain: ReceiptChain,
  once: <T>(question: string, ask: () => Promise<T>) => Promise<T>,
): ReceiptChain {
  return {
    chainId: () => once("chain", () => chain.chainId()),
    isAuditLog: (contract) => once(`contract ${contract}`, () => chain.isAuditLog(contract)),
    batch: (id, number) =>
      once(`batch ${number} ${id.contract} ${hex(id.log)}`, () => chain.batch(id, number)),
    transaction: (hash) => once(`transaction ${hash}`, () => chain.transaction(hash)),
    minimumDifficulty: (contract) =>
      once(`work ${contract}`, () => chain.minimumDifficulty(contract)),
    difficultyChanges: (contract, fromBlock) =>
      once(`changes ${fromBlock} ${contract}`, () => chain.difficultyChanges(contract, fromBlock)),
  };
}

/** The log that the one who checks expects, as far as they say. */
export interface ExpectedLog {
  readonly chainId?: bigint | undefined;
  /** 0x and 40 hex digits. */
  readonly contract?: string | undefined;
  /** The log within the contract: 32 bytes. */
  readonly log?: Uint8Array | undefined;
  /** Zero hex digits that the batch's head must start with, whatever the contract asks for. */
  readonly difficulty?: number | undefined;
}

/** The steps of a check, in order; docs/receipts.md says what each one compares. */
export type Step =
  | "format"
  | "entry"
  | "identity"
  | "contract"
  | "path"
  | "root"
  | "batch"
  | "head"
  | "anchor"
  | "work";

/** What a check found. */
export type ReceiptCheck =
  | {
      readonly verdict: "valid";
      readonly entry: Entry;
      readonly id: string;
      readonly batch: ChainBatch;
    }
  | { readonly verdict: "not-anchored"; readonly entry: Entry; readonly id: string }
  | { readonly verdict: "invalid"; readonly step: Step; readonly message: string };

/** A receipt that has all of its parts. */
type CompleteReceipt = {
  readonly [K in Exclude<keyof Receipt, "$typeName" | "$unknown">]-?: NonNullable<Receipt[K]>;
};

class StepFailed extends Error {
  constructor(
    readonly step: Step,
    message: string,
  ) {
    super(message);
  }
}

/** Checks a receipt against a chain. Rejects only when the chain cannot be asked. */
export async function checkReceipt(
  receipt: Receipt,
  chain: ReceiptChain,
  expected: ExpectedLog = {},
): Promise<ReceiptCheck> {
  try {
    const entry = checkEntry(receipt);
    const id = hex(sha256(receipt.entry));
    if (isBare(receipt)) return { verdict: "not-anchored", entry, id };
    const complete = checkFormat(receipt);
    const log = await checkIdentity(complete, chain, expected);
    checkRoot(complete, leafOf(complete));
    const batch = await checkBatch(complete, log, chain);
    await checkHead(complete, log, batch, chain);
    await checkAnchor(complete, log, batch, chain);
    await checkWork(complete, batch, chain, expected);
    return { verdict: "valid", entry, id, batch };
  } catch (error) {
    if (error instanceof StepFailed) {
      return { verdict: "invalid", step: error.step, message: error.message };
    }
    throw error;
  }
}

/** The leaf of a receipt's record. Requires a complete receipt. */
export function leafOf(receipt: CompleteReceipt): Uint8Array {
  return trailLeaf(sha256(receipt.entry), receipt.trail.index, receipt.trail.previousLeaf);
}

function checkEntry(receipt: Receipt): Entry {
  try {
    return decodeEntry(receipt.entry);
  } catch (error) {
    throw new StepFailed("entry", `the entry cannot be read: ${messageOf(error)}`);
  }
}

/** Whether it has the entry alone: what an accepted record has before it is anchored. */
export function isBare({ identity, trail, inclusion, batch, anchor }: Receipt): boolean {
  return [identity, trail, inclusion, batch, anchor].every((part) => part === undefined);
}

function checkFormat(receipt: Receipt): CompleteReceipt {
  const { entry, identity, trail, inclusion, batch, anchor } = receipt;
  if (!identity || !trail || !inclusion || !batch || !anchor) {
    throw new StepFailed("format", "the receipt has some of its parts, but not all");
  }
  if (!anchor.blockTime) throw new StepFailed("format", "anchor.blockTime is missing");
  const digests: Record<string, Uint8Array> = {
    "identity.log": identity.log,
    "trail.previousLeaf": trail.previousLeaf,
    "batch.previousHead": batch.previousHead,
    "batch.root": batch.root,
    "batch.manifestDigest": batch.manifestDigest,
    "batch.trailsRoot": batch.trailsRoot,
    ...Object.fromEntries(inclusion.path.map((node, i) => [`inclusion.path[${i}]`, node])),
  };
  for (const [name, digest] of Object.entries(digests)) {
    if (digest.length !== 32) throw new StepFailed("format", `${name} is not 32 bytes`);
  }
  checkHex("identity.contract", identity.contract, 20);
  checkHex("anchor.transactionHash", anchor.transactionHash, 32);
  checkHex("anchor.blockHash", anchor.blockHash, 32);
  return { entry, identity, trail, inclusion, batch, anchor };
}

function checkHex(name: string, text: string, bytes: number): void {
  if (!/^0x[0-9a-f]*$/.test(text) || text.length !== 2 + 2 * bytes) {
    throw new StepFailed("format", `${name} is not 0x and ${2 * bytes} lower-case hex digits`);
  }
}

async function checkIdentity(
  { identity }: CompleteReceipt,
  chain: ReceiptChain,
  expected: ExpectedLog,
): Promise<LogId> {
  const { chainId, contract, log } = identity;
  const differs = (what: string, theirs: unknown, ours: unknown) =>
    new StepFailed("identity", `the receipt is for ${what} ${theirs}, not ${ours}`);
  if (expected.chainId !== undefined && expected.chainId !== chainId) {
    throw differs("chain", chainId, expected.chainId);
  }
  if (expected.contract !== undefined && expected.contract.toLowerCase() !== contract) {
    throw differs("contract", contract, expected.contract);
  }
  if (expected.log !== undefined && !sameBytes(expected.log, log)) {
    throw differs("log", hex0x(log), hex0x(expected.log));
  }
  const actual = await chain.chainId();
  if (actual !== chainId) throw differs("chain", chainId, `${actual}, which the RPC node serves`);
  if (!(await chain.isAuditLog(contract))) {
    throw new StepFailed("contract", `no AuditLog contract answers at ${contract}`);
  }
  return { chainId, contract, log };
}

function checkRoot({ inclusion, batch }: CompleteReceipt, leaf: Uint8Array): void {
  if (inclusion.leafIndex >= batch.size) {
    throw new StepFailed("path", `leaf ${inclusion.leafIndex} is outside a batch of ${batch.size}`);
  }
  const root = rootFromPath(leaf, inclusion.leafIndex, batch.size, inclusion.path);
  if (root === undefined) {
    throw new StepFailed("path", "the path has not the length that its position asks for");
  }
  if (!sameBytes(root, batch.root)) {
    throw new StepFailed(
      "root",
      `entry, trail and path lead to root ${hex(root)}, not ${hex(batch.root)}`,
    );
  }
}

async function checkBatch(
  { batch }: CompleteReceipt,
  log: LogId,
  chain: ReceiptChain,
): Promise<ChainBatch> {
  const onChain = await chain.batch(log, batch.number);
  if (batch.number === 0n || onChain === undefined) {
    throw new StepFailed("batch", `the chain has no batch ${batch.number} in this log`);
  }
  if (!sameBytes(onChain.root, batch.root)) {
    throw new StepFailed("batch", `batch ${batch.number} has root ${hex(onChain.root)} on chain`);
  }
  if (onChain.size !== batch.size) {
    throw new StepFailed("batch", `batch ${batch.number} has ${onChain.size} records on chain`);
  }
  return onChain;
}

async function checkHead(
  { batch }: CompleteReceipt,
  log: LogId,
  onChain: ChainBatch,
  chain: ReceiptChain,
): Promise<void> {
  const previous =
    batch.number === 1n ? genesisHead(log) : (await chain.batch(log, batch.number - 1n))?.head;
  if (previous === undefined || !sameBytes(previous, batch.previousHead)) {
    throw new StepFailed("head", "previousHead is not the head of the batch before");
  }
  if (!sameBytes(nextHead(previous, batch), onChain.head)) {
    throw new StepFailed("head", "the batch's fields do not lead to its head on chain");
  }
}

async function checkAnchor(
  { anchor, batch }: CompleteReceipt,
  { contract, log }: LogId,
  onChain: ChainBatch,
  chain: ReceiptChain,
): Promise<void> {
  const fail = (message: string) =>
    new StepFailed(
      "anchor",
      `${message}; the record itself is on the chain: fetch the receipt again`,
    );
  const found = await chain.transaction(anchor.transactionHash);
  if (found === undefined) throw fail(`transaction ${anchor.transactionHash} is in no block`);
  if (found.blockNumber !== anchor.blockNumber || found.blockHash !== anchor.blockHash) {
    throw fail(`the transaction is in block ${found.blockNumber} ${found.blockHash}`);
  }
  const isIt = (each: ChainTransaction["sealed"][number]) =>
    each.contract === contract && sameBytes(each.log, log) && each.number === batch.number;
  if (!found.sealed.some(isIt)) {
    throw fail(`transaction ${anchor.transactionHash} did not seal batch ${batch.number}`);
  }
  if (anchor.blockTime?.seconds !== onChain.time || anchor.blockTime.nanos !== 0) {
    throw fail(`the contract has block time ${onChain.time}`);
  }
}

async function checkWork(
  { identity: { contract }, anchor }: CompleteReceipt,
  { head }: ChainBatch,
  chain: ReceiptChain,
  { difficulty = 0 }: ExpectedLog,
): Promise<void> {
  const work = workOf(head);
  const asked = Math.max(difficulty, await askedWork(work, contract, anchor.blockNumber, chain));
  if (work >= asked) return;
  throw new StepFailed(
    "work",
    `the batch's head starts with ${work} zero hex digits, not ${asked}`,
  );
}

/** What the contract asked of a head that has this work: what it asks now, unless it has raised that since. */
async function askedWork(
  work: number,
  contract: string,
  blockNumber: bigint,
  chain: ReceiptChain,
): Promise<number> {
  const asked = await chain.minimumDifficulty(contract);
  if (work >= asked) return asked;
  const sealedIn = Number(blockNumber);
  return workAskedIn(sealedIn, await chain.difficultyChanges(contract, sealedIn), asked);
}
