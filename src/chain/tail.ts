import { hex0x, unhex } from "../core/bytes.js";
import type { LogId } from "../core/head.js";
import type { Block, Chain, SealedEvent } from "./port.js";

/** A block that was followed. */
export interface KnownBlock {
  readonly number: number;
  readonly hash: Uint8Array;
}

/** How far a chain was followed. */
export interface TailState {
  /** Number of the last block followed. */
  readonly blockNumber: number;
  /** Number of the last block that is final; −1 before there is one. */
  readonly finalNumber: number;
  /** Recent blocks, newest first, the last one followed among them. */
  readonly blocks: readonly KnownBlock[];
}

/** A seal in a block that was followed. */
export interface FollowedSeal extends SealedEvent {
  /** The block's time, in seconds since 1970. */
  readonly blockTime: number;
}

/** What a chain did since it was last looked at. */
export type ChainStep =
  | {
      readonly type: "advanced";
      readonly blocks: readonly KnownBlock[];
      readonly seals: readonly FollowedSeal[];
      readonly blockNumber: number;
      readonly finalNumber: number;
    }
  | {
      /** Blocks above this number have left the chain. */
      readonly type: "reorganised";
      readonly toBlock: number;
    }
  | {
      /** The node's head is behind ours, with the same hashes. */
      readonly type: "behind";
      readonly headHash: string;
    };

/** How a chain is followed. */
export interface TailOptions {
  /** Blocks on top of a block that make it final. */
  readonly confirmations: number;
  /** Blocks asked for at once. */
  readonly range: number;
  /** Whether a head behind ours means that the blocks above it are gone, not that the node lags. */
  readonly trustsShorter: boolean;
}

/** Blocks beyond finality that are remembered, to say how deep a forbidden reorganisation went. */
const EXTRA_BLOCKS = 16;

/** The chain took back what was final: nothing may be undone, a person has to look. */
export class FinalityViolated extends Error {
  override readonly name = "FinalityViolated";
}

/** The chain changed while it was read; reading again gives a consistent view. */
class ChainMoved extends Error {
  override readonly name = "ChainMoved";
}

/**
 * Yields what the chain did since `state`, oldest first, and ends when it has caught up. Each step
 * assumes that the ones before it were applied. A node whose head is behind ours, with the same
 * hashes, most likely lags: that is no reorganisation unless the options say so.
 *
 * Invariant: every block yielded is a child of the one before it, or of the last in `state.blocks`.
 */
export async function* chainSteps(
  chain: Chain,
  id: LogId,
  state: TailState,
  options: TailOptions,
): AsyncGenerator<ChainStep> {
  const latest = await chain.latestBlock();
  const fork = await forkPoint(chain, state, latest);
  if (fork === latest.number && fork < state.blockNumber && !options.trustsShorter) {
    yield { type: "behind", headHash: latest.hash };
    return;
  }
  let { blockNumber, blocks } = state;
  if (fork < blockNumber) {
    if (fork < state.finalNumber) {
      throw new FinalityViolated(
        `the chain took back block ${fork + 1}, which was final up to ${state.finalNumber}: ` +
          "check the node, or raise CONFIRMATIONS",
      );
    }
    yield { type: "reorganised", toBlock: fork };
    blockNumber = fork;
    blocks = blocks.filter(({ number }) => number <= fork);
  }
  const finalNumber = Math.max(state.finalNumber, latest.number - options.confirmations);
  const remembered = latest.number - options.confirmations - EXTRA_BLOCKS;
  while (blockNumber < latest.number) {
    const to = Math.min(latest.number, blockNumber + options.range);
    const step = await readRange(chain, id, {
      from: blockNumber + 1,
      to,
      remembered,
      latest,
      parent: blocks[0],
    });
    yield { ...step, finalNumber: Math.min(finalNumber, to) };
    blockNumber = to;
    blocks = step.blocks.length > 0 ? [...step.blocks].reverse() : blocks;
  }
  if (finalNumber > state.finalNumber && state.blockNumber === latest.number) {
    yield { type: "advanced", blocks: [], seals: [], blockNumber, finalNumber };
  }
}

/** The last followed block that the chain still has; its head, where that is behind all we know. */
async function forkPoint(
  chain: Chain,
  { blocks, blockNumber }: TailState,
  latest: Block,
): Promise<number> {
  const oldest = blocks.at(-1)?.number ?? blockNumber + 1;
  if (latest.number < oldest) return Math.min(latest.number, blockNumber);
  for (const known of blocks) {
    if (known.number > latest.number) continue;
    if ((await hashAt(chain, known.number, latest)) === hex0x(known.hash)) return known.number;
  }
  return blocks.length === 0 ? blockNumber : oldest - 1;
}

/** The hash of a block of the chain that ends with `latest`, which itself names two of them. */
async function hashAt(chain: Chain, number: number, latest: Block): Promise<string | undefined> {
  if (number === latest.number) return latest.hash;
  if (number === latest.number - 1) return latest.parentHash;
  return (await chain.block(number))?.hash;
}

/**
 * Reads a range of blocks; those above `remembered` one by one, with their links checked. Their seals
 * are asked for by the block's hash: asked for by number, a node that lags or has just changed forks
 * leaves out what it does not have, without a word.
 */
async function readRange(
  chain: Chain,
  id: LogId,
  range: {
    readonly from: number;
    readonly to: number;
    readonly remembered: number;
    readonly latest: Block;
    readonly parent: KnownBlock | undefined;
  },
) {
  const { from, to, remembered, latest } = range;
  const recent = Math.max(from, Math.min(to, remembered));
  const events = recent > from ? await chain.sealedEvents(id, from, recent - 1) : [];
  const read = new Map<number, Block>();
  let previous = range.parent;
  for (let number = recent; number <= to; number++) {
    const block = number === latest.number ? latest : await requireBlock(chain, number);
    if (previous?.number === number - 1 && block.parentHash !== hex0x(previous.hash)) {
      throw new ChainMoved(`block ${number} has another parent than was read`);
    }
    previous = { number, hash: unhex(block.hash) };
    read.set(number, block);
    events.push(...(await chain.sealedEventsIn(id, block.hash)));
  }
  const seals: FollowedSeal[] = [];
  for (const event of events) {
    const block = read.get(event.blockNumber) ?? (await requireBlock(chain, event.blockNumber));
    if (block.hash !== event.blockHash) {
      throw new ChainMoved(`block ${block.number} was replaced while it was read`);
    }
    seals.push({ ...event, blockTime: block.time });
  }
  const blocks = [...read.values()].map(({ number, hash }) => ({ number, hash: unhex(hash) }));
  return { type: "advanced" as const, blocks, seals, blockNumber: to };
}

async function requireBlock(chain: Chain, number: number): Promise<Block> {
  const block = await chain.block(number);
  if (block === undefined) throw new ChainMoved(`block ${number} has gone while it was read`);
  return block;
}
