import { Level } from "../store/feed.js";
import type { BatchHappening, FeedRow } from "../store/feed.js";
import type { Kind } from "./filter.js";

/** A row about a batch on the chain. */
export type BatchRow = Extract<FeedRow, BatchHappening>;

/**
 * A stretch of a row's offset space: the batch's event, then one of each record, in log order. The space
 * is the same whatever is told of it, so that an offset means the same to everyone.
 */
export interface Section {
  readonly batchKind: Kind;
  readonly recordKind: Kind;
  /** How sure the block was. */
  readonly finality: Level;
  readonly state: "ANCHORED" | "FINAL" | "ACCEPTED";
  /** Offset of the batch's event; its records follow. */
  readonly start: number;
  /** Offset behind the last record. */
  readonly end: number;
  /** Whether a subscriber with the minimum finality is told. */
  readonly isTold: boolean;
}

/** The sections of a row about a batch of so many records, for a minimum finality. */
export function sectionsOf(
  { kind, level }: BatchRow,
  size: number,
  minimum: BatchHappening["level"],
): Section[] {
  const first = { start: 0, end: 1 + size };
  if (kind === "RETRACTED")
    return [{ ...RETRACTED, ...first, finality: level, isTold: minimum <= level }];
  const state = level === Level.Final ? "FINAL" : "ANCHORED";
  const sealed = {
    ...SEALED,
    ...first,
    state,
    finality: level,
    isTold: minimum === level,
  } as const;
  if (level !== Level.Final) return [sealed];
  return [
    sealed,
    { ...FINAL, start: 1 + size, end: 2 * (1 + size), finality: level, isTold: true },
  ];
}

const SEALED = { batchKind: "BATCH_SEALED", recordKind: "RECORD_ANCHORED" } as const;
const FINAL = { batchKind: "BATCH_FINAL", recordKind: "RECORD_FINAL", state: "FINAL" } as const;
const RETRACTED = {
  batchKind: "BATCH_RETRACTED",
  recordKind: "RECORD_RETRACTED",
  state: "ACCEPTED",
} as const;
