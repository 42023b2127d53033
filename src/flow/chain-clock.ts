import type { Block } from "../chain/port.js";

/** Smaller differences between wall clock and block time count as none, in seconds. */
const TOLERANCE = 15;

/**
 * The time by which the chain decides: the wall clock, and how far the times of new blocks are off from it.
 * A block is new where it stands above the last one that was seen. Any other, as the first, may be of any
 * age, since an idle chain makes none: it counts only where it is ahead.
 */
export class ChainClock {
  /** What the chain's clock is ahead of the wall clock, in seconds. */
  #offset = 0;
  #seen: { readonly block: Block; readonly at: number; readonly isNew: boolean } | undefined;
  /** When the chain was last looked at, by the wall clock in seconds. */
  #lookedAt = 0;

  constructor(
    /** The wall clock, in milliseconds since 1970. */
    private readonly wall: () => number = Date.now,
  ) {}

  /** What the chain's clock shows, in whole seconds since 1970. */
  now(): number {
    return this.#wallSeconds() + this.#offset;
  }

  /** Milliseconds until the chain's clock shows a time; negative where it is past. */
  msUntil(time: number): number {
    return (time - this.#offset) * 1_000 - this.wall();
  }

  /** Time of the last block, in seconds since 1970, where that was new when it was seen. */
  get blockTime(): number | undefined {
    return this.#seen?.isNew === true ? this.#seen.block.time : undefined;
  }

  /** What the chain's clock shows at the least, by the last block, where that was new when it was seen. */
  get atLeast(): number | undefined {
    const { blockTime } = this;
    return blockTime && blockTime + this.#wallSeconds() - (this.#seen?.at ?? 0);
  }

  /** Says what the last block of the chain is now; undefined where that is known to be the same. */
  look(latest: Block | undefined): void {
    const at = this.#wallSeconds();
    if (latest !== undefined && latest.hash !== this.#seen?.block.hash) this.#see(latest, at);
    this.#lookedAt = at;
  }

  #see(block: Block, at: number): void {
    const isNew = this.#seen !== undefined && block.number > this.#seen.block.number;
    this.#seen = { block, at, isNew };
    const ahead = block.time - at;
    const behind = this.#lookedAt - block.time; // it came at some moment since the last look
    if (ahead > TOLERANCE) this.#offset = ahead;
    else if (isNew) this.#offset = behind > TOLERANCE ? -behind : 0;
  }

  #wallSeconds(): number {
    return Math.floor(this.wall() / 1_000);
  }
}
