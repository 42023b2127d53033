import { hex } from "../core/bytes.js";
import type { StoredBatch } from "../store/batches.js";
import type { Level } from "../store/feed.js";
import type { FeedRow } from "../store/feed.js";
import type { RecordRow } from "../store/records.js";
import { nextRow, WHOLE } from "./cursor.js";
import type { Position } from "./cursor.js";
import type { EventFilter, Kind } from "./filter.js";
import { sectionsOf } from "./sections.js";
import type { BatchRow, Section } from "./sections.js";
import type { FeedSource } from "./source.js";

/** An event as it is told, of a batch or of a record in it. */
export interface BatchTelling {
  readonly kind: Kind;
  readonly row: BatchRow;
  readonly finality: Level;
  readonly state: Section["state"];
  /** The batch as it stood then. */
  readonly batch: StoredBatch;
  /** The record that it is about; undefined where it is about the batch. */
  readonly record: RecordRow | undefined;
}

/** An event of no block. */
export interface OtherTelling {
  readonly kind: Kind;
  readonly row: Exclude<FeedRow, BatchRow>;
}

/** An event that a subscriber is told. */
export type Telling = BatchTelling | OtherTelling;

/** What lies between two positions, as far as a filter lets it pass. */
export interface Chunk {
  readonly tellings: readonly Telling[];
  readonly to: Position;
}

/** Most events of a chunk. */
export const MOST_EVENTS = 256;

/** A chunk is full with so many bytes of entries, too; or if so much was looked at. */
const MOST_BYTES = 128 * 1024;
const MOST_ROWS = 256;
const MOST_RECORDS = 4_096;

/**
 * What follows a position, up to the row `next`, and about so many events at most; undefined where that is
 * no longer kept. Requires a row between.
 */
export async function chunkFrom(
  source: FeedSource,
  filter: EventFilter,
  from: Position,
  { next, mostEvents }: { readonly next: number; readonly mostEvents: number },
): Promise<Chunk | undefined> {
  const made = new ChunkMaker(source, filter, mostEvents);
  let to = from;
  while (!made.isFull && nextRow(to) < next) {
    const wanted = nextRow(to);
    const row = await source.row(wanted);
    if (row === undefined) {
      if (!(await source.keeps(wanted))) return undefined;
      to = { number: wanted, done: WHOLE }; // somebody has deleted it: a stream must not end there
      continue;
    }
    to = { number: row.number, done: await made.addRow(row, to.done === WHOLE ? 0 : to.done) };
  }
  return { tellings: made.tellings, to };
}

/** Gathers tellings until there are enough. */
class ChunkMaker {
  readonly tellings: Telling[] = [];
  #bytes = 0;
  #rows = 0;
  #records = 0;

  constructor(
    private readonly source: FeedSource,
    private readonly filter: EventFilter,
    private readonly mostEvents: number,
  ) {}

  get isFull(): boolean {
    return (
      this.tellings.length >= this.mostEvents ||
      this.#bytes >= MOST_BYTES ||
      this.#rows >= MOST_ROWS ||
      this.#records >= MOST_RECORDS
    );
  }

  /** Adds what is left of a row behind an offset, as far as there is room. Returns how far it came. */
  async addRow(row: FeedRow, from: number): Promise<number> {
    this.#rows += 1;
    if (!("anchor" in row)) {
      if (this.filter.tells(row.kind)) this.tellings.push({ kind: row.kind, row });
      return WHOLE;
    }
    const batch = await this.source.batch(row.batchNumber);
    let done = from;
    for (const section of sectionsOf(row, Number(batch.seal.size), this.filter.minimum)) {
      if (done >= section.end) continue;
      if (this.isFull) return done;
      done = await this.#addSection(row, batch, section, done);
      if (done < section.end) return done;
    }
    return WHOLE;
  }

  /** Adds a section from an offset on, as far as there is room. Returns the offset that it came to. */
  async #addSection(
    row: BatchRow,
    batch: StoredBatch,
    { start, end, isTold, batchKind, recordKind, finality, state }: Section,
    from: number,
  ): Promise<number> {
    if (!isTold) return end;
    const anchor = state === "ACCEPTED" ? undefined : row.anchor;
    const common = { row, finality, state, batch: { ...batch, anchor } };
    if (from === start && this.filter.tells(batchKind)) {
      this.tellings.push({ ...common, kind: batchKind, record: undefined });
    }
    if (!this.filter.tellsRecords(recordKind)) return end;
    let done = Math.max(from, start + 1);
    while (done < end && !this.isFull) {
      for (const record of await this.source.records(batch, done - start - 1)) {
        if (this.isFull) break;
        done += 1;
        this.#records += 1;
        if (!this.filter.matches(record)) continue;
        this.tellings.push({ ...common, kind: recordKind, record });
        this.#bytes += record.entry.length;
      }
    }
    return done;
  }
}

/** The same for the same happening, whatever the filter and the numbering of the database. */
export function eventKey(telling: Telling, epoch: string): string {
  const { kind, row } = telling;
  if (!("batch" in telling)) return `${epoch}-${row.number}`;
  const { blockNumber, blockHash } = telling.row.anchor;
  const what = kind.toLowerCase().replace("_", ".");
  const which = telling.record?.seq ?? row.batchNumber;
  const again = row.occurrence > 0 ? `.${row.occurrence}` : "";
  return `${blockNumber}-${hex(blockHash).slice(0, 16)}-${what}-${which}${again}`;
}
