import { sha256, u256, u64, unhex } from "./bytes.js";

const GENESIS_TAG = Buffer.from("anchord/head/v1");

/** Which log: a contract on a chain may keep many. */
export interface LogId {
  /** Chain id of EIP-155. */
  readonly chainId: bigint;
  /** Address of the AuditLog contract: 0x and 40 lower-case hex digits. */
  readonly contract: string;
  /** The log within the contract: 32 bytes. */
  readonly log: Uint8Array;
}

/** Everything that the head of a batch commits to, besides the head before it. */
export interface BatchSeal {
  /** Number of the batch, from 1. */
  readonly number: bigint;
  /** Merkle root of its leaves. */
  readonly root: Uint8Array;
  /** How many records it has. */
  readonly size: bigint;
  /** SHA-256 of its published content, or 32 zero bytes. */
  readonly manifestDigest: Uint8Array;
  /** Root of the map of trail heads, or 32 zero bytes. */
  readonly trailsRoot: Uint8Array;
  /** Proof of work. */
  readonly nonce: bigint;
}

/** The log id of a name: its SHA-256. */
export function logIdOf(name: string): Buffer {
  return sha256(Buffer.from(name, "utf8"));
}

/** The head of an empty log: SHA-256("anchord/head/v1" ‖ chain id u256 ‖ contract 20 ‖ log 32). */
export function genesisHead({ chainId, contract, log }: LogId): Buffer {
  return sha256(GENESIS_TAG, u256(chainId), unhex(contract), log);
}

/** The head after a batch: SHA-256(head ‖ number u64 ‖ root ‖ size u64 ‖ manifest ‖ trails ‖ nonce u64). */
export function nextHead(head: Uint8Array, seal: BatchSeal): Buffer {
  const { number, root, size, manifestDigest, trailsRoot, nonce } = seal;
  return sha256(head, u64(number), root, u64(size), manifestDigest, trailsRoot, u64(nonce));
}

/** How many zero hex digits a head starts with: its proof of work. */
export function workOf(head: Uint8Array): number {
  const zeros = /^0*/.exec(Buffer.from(head).toString("hex"));
  return zeros?.[0].length ?? 0;
}

/** The smallest nonce that gives the head at least `difficulty` leading zero hex digits. */
export function findNonce(head: Uint8Array, seal: BatchSeal, difficulty: number): bigint {
  let nonce = 0n;
  while (workOf(nextHead(head, { ...seal, nonce })) < difficulty) nonce += 1n;
  return nonce;
}
