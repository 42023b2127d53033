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
  return sha256(preimageOf(head, seal));
}

/** What the head after a batch is the hash of; the last 8 bytes are the nonce. */
function preimageOf(head: Uint8Array, seal: BatchSeal): Buffer {
  const { number, root, size, manifestDigest, trailsRoot, nonce } = seal;
  const parts = [head, u64(number), root, u64(size), manifestDigest, trailsRoot, u64(nonce)];
  return Buffer.concat(parts);
}

/** How many zero hex digits a head starts with: its proof of work. */
export function workOf(head: Uint8Array): number {
  const zeros = head.findIndex((byte) => byte !== 0);
  if (zeros < 0) return 2 * head.length;
  return 2 * zeros + ((head[zeros] as number) < 0x10 ? 1 : 0);
}

/** Nonces that are tried, the end not among them. */
interface NonceRange {
  readonly from: number;
  readonly to: number;
}

/**
 * The smallest nonce of a range that gives the head at least `difficulty` leading zero hex digits;
 * undefined where none does.
 */
export function findNonce(
  head: Uint8Array,
  seal: BatchSeal,
  difficulty: number,
  { from, to }: NonceRange,
): bigint | undefined {
  const preimage = preimageOf(head, seal);
  const at = preimage.length - 8;
  for (let nonce = from; nonce < to; nonce++) {
    preimage.writeUInt32BE(Math.floor(nonce / 2 ** 32), at);
    preimage.writeUInt32BE(nonce % 2 ** 32, at + 4);
    if (workOf(sha256(preimage)) >= difficulty) return BigInt(nonce);
  }
  return undefined;
}

/** A change of the work that a contract asks of heads, in zero hex digits. */
export interface DifficultyChange {
  readonly blockNumber: number;
  /** What was asked until then. */
  readonly previous: number;
}

/**
 * The least work that was asked for at any time while a block was made. Requires the changes from that
 * block on, in the order of the chain, and what is asked now.
 */
export function workAskedIn(
  blockNumber: number,
  changes: readonly DifficultyChange[],
  asked: number,
): number {
  const inside = changes.filter((change) => change.blockNumber === blockNumber);
  const next = changes.find((change) => change.blockNumber > blockNumber);
  return Math.min(next?.previous ?? asked, ...inside.map(({ previous }) => previous));
}
