/** One measurement, next to what it is held against in the same run. */
export interface Row {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** The ceiling or rival, in the same unit. */
  readonly against: number;
  /** value / against */
  readonly ratio: number;
  /** What the ratio is meant to reach. */
  readonly reach: number;
  /** Which side of the reach is good. */
  readonly better: "higher" | "lower";
}

/** How much to measure. */
export interface Extent {
  /** Measures less, for a first impression. */
  readonly quick: boolean;
  /** Records of the memory measurement. */
  readonly records: number;
}

/** Measures; what it says meanwhile goes to standard error. */
export type Measurement = (extent: Extent) => Promise<readonly Row[]>;

/** Makes a row of a measurement. */
export function row(measured: Omit<Row, "ratio">): Row {
  return { ...measured, ratio: measured.value / measured.against };
}

/** Whether a row reaches its mark. */
export function isReached({ ratio, reach, better }: Row): boolean {
  return better === "higher" ? ratio >= reach : ratio <= reach;
}

/** The value in the middle. Requires at least one. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;
}

/** Of several rounds, the one whose ratio is in the middle, so that value and rival belong together. */
export function middleRound<R extends { readonly value: number; readonly against: number }>(
  rounds: readonly R[],
): R {
  const ratio = ({ value, against }: R) => value / against;
  return [...rounds].sort((a, b) => ratio(a) - ratio(b))[Math.floor(rounds.length / 2)] as R;
}
