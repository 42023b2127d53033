import type { Chain, SealedEvent } from "../chain/port.js";
import { BLOCK_RANGE } from "../chain/tail.js";
import type { Finality } from "../chain/tail.js";
import { lastBatch } from "../store/batches.js";
import type { Database } from "../store/database.js";
import { hasOperations } from "../store/operations.js";
import { logLength } from "../store/records.js";
import { adoptBatch } from "./adopt.js";
import { Misconfigured } from "../core/errors.js";
import { connectLog } from "./connect.js";
import type { ConfiguredLog } from "./connect.js";
import { followChain } from "./follow.js";
import type { Archive } from "./publish.js";

/** How far a rebuild has come. */
export interface RebuildProgress {
  readonly batches: number;
  /** Batches that the chain had when the rebuild began. */
  readonly batchesTotal: number;
  readonly records: number;
}

/**
 * Fills an empty database with everything that was sealed and published, from the chain and the content
 * store alone. One that was cut short goes on where it was. Throws Misconfigured where the database is
 * not empty, NotAdoptable where a batch cannot be brought back.
 */
export async function rebuildDatabase(
  database: Database,
  archive: Archive,
  { chain, ...at }: ConfiguredLog & { readonly chain: Chain },
  finality: Finality,
  report: (progress: RebuildProgress) => void,
): Promise<RebuildProgress> {
  await requireRebuildable(database);
  const identity = await connectLog(database, chain, at, { mayHaveBatches: true });
  const batchesTotal = Number((await chain.lastSealed(identity)).number);
  const progress = async (): Promise<RebuildProgress> => {
    const last = await lastBatch(database);
    const records = last === undefined ? 0 : last.firstSeq + Number(last.seal.size);
    return { batches: Number(last?.seal.number ?? 0n), batchesTotal, records };
  };
  const adopt = async (event: SealedEvent) => {
    await adoptBatch(database, archive, identity, event);
    report(await progress());
  };
  const options = { ...finality, range: BLOCK_RANGE, trustsShorter: false };
  for (;;) {
    const { changed } = await followChain(database, chain, identity, options, adopt);
    if (!changed || (await progress()).batches >= batchesTotal) break;
  }
  const reached = await progress();
  if (reached.batches >= batchesTotal) return reached;
  throw new Error(
    `the chain has ${batchesTotal} batches, but the node told of ${reached.batches}: begin again with an ` +
      "empty database and another node",
  );
}

/** A database that has sealed anything itself, or that has records of its own, is not for rebuilding. */
async function requireRebuildable(database: Database): Promise<void> {
  const last = await lastBatch(database);
  const sealed = last === undefined ? 0 : last.firstSeq + Number(last.seal.size);
  const length = await logLength(database);
  if (length === sealed && !(await hasOperations(database))) return;
  throw new Misconfigured(
    `this database has ${length} records already: a rebuild fills an empty one. Move it away, or name ` +
      "another with DATABASE_URL or DATA_DIR",
  );
}
