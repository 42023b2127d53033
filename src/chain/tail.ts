import { hex0x, unhex } from "../core/bytes.js";
import { AnchordError } from "../core/errors.js";
import { RangeRefused } from "./port.js";
import type { Block, Chain, ContractEvent, Contracts } from "./port.js";

/** Most blocks that are asked for at once. */
export const BLOCK_RANGE = 1_000;

/** A block that was followed. */
export interface KnownBlock {
  readonly number: number;
  readonly hash: Uint8Array;
}

/** How far a chain was followed. */
export interface TailState {
  /** Number of the last block followed. */
  readonly blockNumber: number;
  /** Number of the last block that has its confirmations; −1 before there is one. */
  readonly confirmedNumber: number;
  /** Number of the last block that is final; −1 before there is one. */
  readonly finalNumber: number;
  /** Recent blocks, newest first, the last one followed among them. */
  readonly blocks: readonly KnownBlock[];
}

/** What a contract announced in a block that was followed. */
export type FollowedEvent = ContractEvent & {
  /** The block's time, in seconds since 1970. */
  readonly blockTime: number;
};

/** What a chain did since it was last looked at. */
export type ChainStep =
  | {
      readonly type: "advanced";
      readonly blocks: readonly KnownBlock[];
      readonly events: readonly FollowedEvent[];
      readonly blockNumber: number;
      readonly confirmedNumber: number;
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

/** When a block counts as confirmed, and as final. */
export interface Finality {
  /** Blocks on top of a block that confirm it. */
  readonly confirmations: number;
  /** Whether a block is final only once the node calls it finalized, where it names such a block. */
  readonly asksFinalized: boolean;
}

/** How a chain is followed. */
export interface TailOptions extends Finality {
  /** Most blocks asked for at once; fewer where the node refuses so many. */
  readonly range: number;
  /** Whether a head behind ours means that the blocks above it are gone, not that the node lags. */
  readonly trustsShorter: boolean;
}

/** Blocks beyond finality that are remembered, to say how deep a forbidden reorganisation went. */
const EXTRA_BLOCKS = 16;

/** Most blocks without finality that are remembered, should it not come for days. */
const MOST_BLOCKS = 1_024;

/** Number of the oldest block worth remembering. */
export function rememberedFrom(
  blockNumber: number,
  finalNumber: number,
  confirmations: number,
): number {
  return Math.max(finalNumber, blockNumber - confirmations - MOST_BLOCKS) - EXTRA_BLOCKS;
}

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
  of: Contracts,
  state: TailState,
  options: TailOptions,
): AsyncGenerator<ChainStep> {
  const latest = await chain.latestBlock();
  const fork = await forkPoint(chain, state, latest);
  if (fork === latest.number && fork < state.blockNumber && !options.trustsShorter) {
    yield { type: "behind", headHash: latest.hash };
    return;
  }
  let { blockNumber, confirmedNumber, blocks } = state;
  if (fork < blockNumber) {
    if (fork < state.finalNumber) {
      throw new FinalityViolated(
        `the chain took back block ${fork + 1}, which was final up to ${state.finalNumber}: ` +
          "check the node, or raise CONFIRMATIONS",
      );
    }
    yield { type: "reorganised", toBlock: fork };
    blockNumber = fork;
    confirmedNumber = Math.min(confirmedNumber, fork);
    blocks = blocks.filter(({ number }) => number <= fork);
  }
  const confirmed = Math.max(confirmedNumber, latest.number - options.confirmations);
  const finalized = options.asksFinalized ? await chain.finalizedNumber() : undefined;
  const final = Math.max(state.finalNumber, Math.min(confirmed, finalized ?? confirmed));
  const levelsAt = (number: number) => ({
    confirmedNumber: Math.min(confirmed, number),
    finalNumber: Math.min(final, number),
  });
  const remembered = rememberedFrom(latest.number, final, options.confirmations);
  const range = new ShrinkingRange(options.range);
  while (blockNumber < latest.number) {
    const from = blockNumber + 1;
    const step = await range.read((count) =>
      readRange(chain, of, {
        from,
        to: Math.min(latest.number, blockNumber + count),
        remembered,
        latest,
        parent: blocks[0],
      }),
    );
    blockNumber = step.blockNumber;
    yield { ...step, ...levelsAt(blockNumber) };
    blocks = step.blocks.length > 0 ? [...step.blocks].reverse() : blocks;
  }
  const isMoreCertain = final > state.finalNumber || confirmed > confirmedNumber;
  if (isMoreCertain && fork === latest.number) {
    yield { type: "advanced", blocks: [], events: [], blockNumber, ...levelsAt(blockNumber) };
  }
}

/**
 * The events of a range of blocks, both ends included, in chain order, with the last block of each part
 * that was read. Whether the blocks are still those of the chain is not asked.
 */
export async function* eventsBetween(
  chain: Chain,
  of: Contracts,
  fromBlock: number,
  toBlock: number,
): AsyncGenerator<{ readonly to: number; readonly events: readonly FollowedEvent[] }> {
  const range = new ShrinkingRange(BLOCK_RANGE);
  for (let from = fromBlock; from <= toBlock;) {
    const part = await range.read(async (count) => {
      const to = Math.min(toBlock, from + count - 1);
      return { to, events: await timed(chain, await chain.events(of, from, to), new Map()) };
    });
    yield part;
    from = part.to + 1;
  }
}

/** How many blocks a node is asked for at once: half as many after a refusal, slowly more again. */
class ShrinkingRange {
  #count: number;

  constructor(private readonly most: number) {
    this.#count = most;
  }

  async read<T>(ask: (count: number) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        const answer = await ask(this.#count);
        this.#count = Math.min(this.most, this.#count + Math.ceil(this.#count / 8));
        return answer;
      } catch (error) {
        if (!(error instanceof RangeRefused)) throw error;
        if (this.#count === 1) throw refused(error);
        this.#count = Math.floor(this.#count / 2);
      }
    }
  }
}

function refused(error: RangeRefused): AnchordError {
  const message = `the chain's node refuses to search even one block (${error.message}): try again`;
  return new AnchordError("CHAIN_UNAVAILABLE", message, { cause: error });
}

/** The last followed block that the chain still has; its head, where that is behind all we know. */
async function forkPoint(
  chain: Chain,
  { blocks, blockNumber, finalNumber }: TailState,
  latest: Block,
): Promise<number> {
  const oldest = blocks.at(-1)?.number ?? blockNumber + 1;
  if (latest.number < oldest) return Math.min(latest.number, blockNumber);
  for (const known of blocks) {
    if (known.number > latest.number) continue;
    if ((await hashAt(chain, known.number, latest)) === hex0x(known.hash)) return known.number;
  }
  if (blocks.length === 0) return blockNumber;
  // Deeper than is remembered: what is final is all that is known to stand.
  return finalNumber < 0 ? oldest - 1 : Math.min(oldest - 1, finalNumber);
}

/** The hash of a block of the chain that ends with `latest`, which itself names two of them. */
async function hashAt(chain: Chain, number: number, latest: Block): Promise<string> {
  if (number === latest.number) return latest.hash;
  if (number === latest.number - 1) return latest.parentHash;
  return (await requireBlock(chain, number)).hash; // a node without it lags behind the one of `latest`
}

/**
 * Reads a range of blocks; those above `remembered` one by one, with their links checked. Their events
 * are asked for by the block's hash: asked for by number, a node that lags or has just changed forks
 * leaves out what it does not have, without a word.
 */
async function readRange(
  chain: Chain,
  of: Contracts,
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
  const found = recent > from ? await chain.events(of, from, recent - 1) : [];
  const read = new Map<number, Block>();
  let previous = range.parent;
  for (let number = recent; number <= to; number++) {
    const block = number === latest.number ? latest : await requireBlock(chain, number);
    if (previous?.number === number - 1 && block.parentHash !== hex0x(previous.hash)) {
      throw new ChainMoved(`block ${number} has another parent than was read`);
    }
    previous = { number, hash: unhex(block.hash) };
    read.set(number, block);
    found.push(...(await chain.eventsIn(of, block.hash)));
  }
  const events = await timed(chain, found, read);
  const blocks = [...read.values()].map(({ number, hash }) => ({ number, hash: unhex(hash) }));
  return { type: "advanced" as const, blocks, events, blockNumber: to };
}

/** The events with the times of their blocks, of which some were read already. */
async function timed(
  chain: Chain,
  found: readonly ContractEvent[],
  read: ReadonlyMap<number, Block>,
): Promise<FollowedEvent[]> {
  const events: FollowedEvent[] = [];
  const blocks = new Map(read);
  for (const event of found) {
    const { blockNumber } = event;
    const block = blocks.get(blockNumber) ?? (await requireBlock(chain, blockNumber));
    blocks.set(blockNumber, block);
    if (block.hash !== event.blockHash) {
      throw new ChainMoved(`block ${block.number} was replaced while it was read`);
    }
    events.push({ ...event, blockTime: block.time });
  }
  return events;
}

async function requireBlock(chain: Chain, number: number): Promise<Block> {
  const block = await chain.block(number);
  if (block === undefined) throw new ChainMoved(`block ${number} has gone while it was read`);
  return block;
}
