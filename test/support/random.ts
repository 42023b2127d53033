/** A source of numbers that repeats itself for the same seed. */
export interface Random {
  /** A whole number: low ≤ number ≤ high. */
  between(low: number, high: number): number;
  /** One of these. Requires at least one. */
  pick<T>(choices: readonly T[]): T;
}

/** The seed of this run: SEED, where it is set. */
export function seedOfRun(): number {
  return Number(process.env["SEED"] ?? Date.now() % 2 ** 31);
}

/** Numbers that follow from a seed (Mulberry32). */
export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const between = (low: number, high: number): number =>
    low + Math.floor(next() * (high - low + 1));
  return { between, pick: (choices) => choices[between(0, choices.length - 1)]! };
}
