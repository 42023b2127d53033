import { listBatches } from "../store/batches.js";
import type { StoredBatch } from "../store/batches.js";
import type { Database } from "../store/database.js";
import { feedBounds, feedRows } from "../store/feed.js";
import type { FeedRow } from "../store/feed.js";
import { recordPage } from "../store/records.js";
import type { RecordRow } from "../store/records.js";
import { databaseAltered } from "../core/errors.js";
import { SharedCache } from "../core/shared-cache.js";

/** Rows, and batches, that are read and kept at once. */
const PAGE = 64;
const KEPT = 4_096;

/** Records that are read at once: their number, and about how many bytes of entries. */
const PAGE_RECORDS = 256;
const PAGE_BYTES = 1024 * 1024;

/** Bytes of records that are kept. */
const KEPT_BYTES = 16 * 1024 * 1024;
const RECORD_BYTES = 300;

/** What the events are made of, read from the database once for all who need it at about the same time. */
export class FeedSource {
  readonly #rows = new SharedCache<FeedRow | undefined>(KEPT, () => 1);
  readonly #batches = new SharedCache<StoredBatch>(KEPT, () => 1);
  readonly #records = new SharedCache<readonly RecordRow[]>(KEPT_BYTES, bytesOf);

  constructor(private readonly database: Database) {}

  /** Forgets what it has read: rows that cannot be told may be mended by now. */
  forget(): void {
    for (const cache of [this.#rows, this.#batches, this.#records]) cache.clear();
  }

  /** Whether the feed has not been pruned up to a row. */
  async keeps(number: number): Promise<boolean> {
    return (await feedBounds(this.database)).first <= number;
  }

  /** A row; undefined where it is not there any more. Requires that it was written. */
  row(number: number): Promise<FeedRow | undefined> {
    return this.#rows.get(String(number), async () => {
      const [row, ...others] = await feedRows(this.database, number, PAGE);
      for (const other of others) this.#rows.put(String(other.number), other);
      return row?.number === number ? row : undefined;
    });
  }

  /** A batch; where it stands on the chain may have changed since. */
  batch(number: number): Promise<StoredBatch> {
    return this.#batches.get(String(number), async () => {
      const page = await listBatches(
        this.database,
        { below: number + PAGE },
        { newestFirst: true, limit: PAGE },
      );
      let found: StoredBatch | undefined;
      for (const batch of page) {
        if (Number(batch.seal.number) === number) found = batch;
        else this.#batches.put(String(batch.seal.number), batch);
      }
      if (found === undefined)
        throw databaseAltered(`the feed tells of batch ${number}, which is missing`);
      return found;
    });
  }

  /** Records of a batch from an index on: at least one, and the rest of a page if they are small. */
  async records(batch: StoredBatch, index: number): Promise<readonly RecordRow[]> {
    const { firstSeq, seal } = batch;
    const start = index - (index % PAGE_RECORDS);
    const end = firstSeq + Math.min(Number(seal.size), start + PAGE_RECORDS);
    const rest = (await this.#page(firstSeq + start, end)).slice(index - start);
    return rest.length > 0 ? rest : this.#page(firstSeq + index, end);
  }

  #page(fromSeq: number, toSeq: number): Promise<readonly RecordRow[]> {
    return this.#records.get(`${fromSeq}-${toSeq}`, async () => {
      const page = await recordPage(this.database, fromSeq, toSeq, PAGE_BYTES);
      if (page.length === 0)
        throw databaseAltered(`the feed tells of record ${fromSeq}, which is missing`);
      return page;
    });
  }
}

function bytesOf(records: readonly RecordRow[]): number {
  return records.reduce((sum, { entry }) => sum + entry.length + RECORD_BYTES, 0);
}
