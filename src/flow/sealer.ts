import type { Publication } from "../core/publication.js";
import type { ContentKeys } from "../content/keys.js";
import { firstUnanchored, insertBatch, lastBatch } from "../store/batches.js";
import type { StoredBatch } from "../store/batches.js";
import { insertOperation } from "../store/operations.js";
import { insertPublication } from "../store/publications.js";
import { faultPoint } from "./faults.js";
import type { Turn } from "./loop.js";
import { nextBatch } from "./seal.js";
import { Submitter } from "./submit.js";
import type { SubmitterParts } from "./submit.js";

/** What sealing works with. */
export interface SealerParts extends Omit<SubmitterParts, "onFailed"> {
  /** What batches are published with. */
  readonly keys: ContentKeys;
  /** Most records of one batch. */
  readonly maxRecords: number;
  /** Whether a caller waits for its record to be on the chain. */
  readonly isAwaited: () => boolean;
  /** Called after a batch was stored. */
  readonly onSealed: (number: number, publication: Publication) => void;
}

/**
 * A seal costs the same for one record as for thousands, so while nobody waits for one, sealing rests
 * for some times as long as the last seal took, within a limit.
 */
const REST = { factor: 4, mostMs: 1_000 } as const;

/**
 * Seals one batch after the other: the next begins when the last is on the chain, so its size adapts
 * to what has gathered meanwhile. Signed transactions are stored before they are broadcast.
 */
export class Sealer {
  readonly #submitter: Submitter;
  #difficulty: number | undefined;
  #sealing: { readonly since: number } | undefined;
  #restUntil = 0;

  constructor(private readonly parts: SealerParts) {
    const onFailed = () => (this.#difficulty = undefined);
    this.#submitter = new Submitter({ ...parts, onFailed });
  }

  /** Forgets what it knows of the chain: called when this daemon starts to lead. */
  reset(): void {
    this.#submitter.reset();
    this.#difficulty = undefined;
  }

  /** Brings the batches there are to the chain, in their order, or makes the next one. */
  async turn(): Promise<Turn> {
    const { database } = this.parts;
    const waiting = await firstUnanchored(database);
    try {
      if (waiting !== undefined) return await this.#submitter.submit(waiting);
      return await this.#sealNext(await lastBatch(database));
    } catch (error) {
      this.reset();
      throw error;
    }
  }

  async #sealNext(last: StoredBatch | undefined): Promise<Turn> {
    const restMs = this.#rest();
    if (restMs > 0) return { restMs };
    const since = Date.now();
    const { database, identity, keys, maxRecords } = this.parts;
    const difficulty = await this.#checkChain(last);
    const { current: key } = keys;
    const next = await nextBatch(database, identity, last, { maxRecords, difficulty, key });
    if (next === undefined) return "idle";
    const signed = await this.#submitter.sign(next.batch);
    await faultPoint("seal.before-commit");
    const number = Number(next.batch.seal.number);
    await database.transact(async (trx) => {
      await insertBatch(trx, next.batch, next.leaves);
      await insertPublication(trx, number, key.id, null);
      await insertOperation(trx, number, signed, Date.now());
    });
    await faultPoint("seal.after-commit");
    this.parts.onSealed(number, next.publication);
    const full = next.leaves.length === maxRecords;
    this.#sealing = full ? undefined : { since };
    await this.#submitter.send(signed);
    return "idle";
  }

  /** How long to gather before the next seal, in milliseconds. */
  #rest(): number {
    const now = Date.now();
    if (this.#sealing !== undefined) {
      const took = now - this.#sealing.since;
      this.#restUntil = now + Math.min(REST.mostMs, REST.factor * took);
      this.#sealing = undefined;
    }
    return this.parts.isAwaited() ? 0 : Math.max(0, this.#restUntil - now);
  }

  /** Before the first seal: the chain must stand where the database says. Returns the difficulty. */
  async #checkChain(last: StoredBatch | undefined): Promise<number> {
    if (this.#difficulty !== undefined) return this.#difficulty;
    const { chain, identity } = this.parts;
    const onChain = await chain.lastSealed(identity);
    if (onChain.number > (last?.seal.number ?? 0n)) {
      throw new Error(
        `the chain has ${onChain.number} batches, this database ${last?.seal.number ?? 0}: it is ` +
          "older than the chain. Sealing waits until following has adopted what is missing; what " +
          "following has passed already, SyncBlocks adopts",
      );
    }
    await this.#submitter.requireRole();
    this.#difficulty = await chain.minimumDifficulty(identity.contract);
    return this.#difficulty;
  }
}
