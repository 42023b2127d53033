import { sameBytes } from "../core/bytes.js";
import type { Publication } from "../core/publication.js";
import type { ContentKeys } from "../content/keys.js";
import { findBatch, firstUnanchored, insertBatch, lastBatch } from "../store/batches.js";
import type { StoredBatch } from "../store/batches.js";
import { insertOperation } from "../store/operations.js";
import { insertPublication } from "../store/publications.js";
import { faultPoint } from "./faults.js";
import { Diverged } from "./follow.js";
import type { Turn } from "./loop.js";
import { nextBatch } from "./seal.js";
import type { Errand, Submitter, SubmitterParts } from "./submit.js";

/** What sealing works with. */
export interface SealerParts extends Pick<
  SubmitterParts,
  "database" | "chain" | "signer" | "identity"
> {
  readonly submitter: Submitter;
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
  #difficulty: number | undefined;
  #sealing: { readonly since: number } | undefined;
  #restUntil = 0;

  constructor(private readonly parts: SealerParts) {}

  /** Forgets what it knows of the chain: called when this daemon starts to lead. */
  reset(): void {
    this.parts.submitter.reset();
    this.#difficulty = undefined;
  }

  /** Brings the batches there are to the chain, in their order, or makes the next one. */
  async turn(): Promise<Turn> {
    const { database, submitter } = this.parts;
    const waiting = await firstUnanchored(database);
    try {
      if (waiting !== undefined) return await submitter.submit(this.#errand(waiting));
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
    const { database, identity, keys, maxRecords, submitter } = this.parts;
    const difficulty = await this.#checkChain(last);
    const { current: key } = keys;
    const next = await nextBatch(database, identity, last, { maxRecords, difficulty, key });
    if (next === undefined) return "idle";
    const errand = this.#errand(next.batch);
    await submitter.issue(errand.call, async (call) => {
      await faultPoint("seal.before-commit");
      await database.transact(async (trx) => {
        await insertBatch(trx, next.batch, next.leaves);
        await insertPublication(trx, errand.number, key.id, null);
        await insertOperation(trx, errand, call, Date.now());
      });
      await faultPoint("seal.after-commit");
      this.parts.onSealed(errand.number, next.publication);
      const full = next.leaves.length === maxRecords;
      this.#sealing = full ? undefined : { since };
    });
    return "idle";
  }

  /** What the submitter has to know of a batch. */
  #errand({ seal, head, previousHead }: StoredBatch): Errand {
    const { chain, database, identity } = this.parts;
    const number = Number(seal.number);
    return {
      kind: "SEAL",
      number,
      call: chain.sealCall(identity, previousHead, seal),
      isDone: async () => {
        const onChain = await chain.lastSealed(identity);
        if (onChain.number < seal.number) return false;
        const sealed = await chain.batch(identity, seal.number);
        if (sealed !== undefined && sameBytes(sealed.head, head)) return true;
        throw new Diverged(
          `batch ${number} on chain is not the one in this database: another service seals the ` +
            "same log. Sealing has stopped; run VerifyLog",
        );
      },
      isFollowed: async () => (await findBatch(database, number))?.anchor !== undefined,
      requireRole: () => this.#requireRole(),
      onFailed: () => (this.#difficulty = undefined),
    };
  }

  async #requireRole(): Promise<void> {
    const { chain, identity, signer } = this.parts;
    if (await chain.maySeal(identity.contract, signer.address)) return;
    throw new Error(
      `account ${signer.address} has no SEALER_ROLE on ${identity.contract}: grant it, or set ` +
        "PRIVATE_KEY to an account that has it",
    );
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
    await this.#requireRole();
    this.#difficulty = await chain.minimumDifficulty(identity.contract);
    return this.#difficulty;
  }
}
