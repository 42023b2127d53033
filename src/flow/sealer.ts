import { sameBytes } from "../core/bytes.js";
import type { Publication } from "../core/publication.js";
import type { ContentKeys } from "../content/keys.js";
import {
  findBatch,
  firstUnanchored,
  insertBatch,
  lastBatch,
  replaceHead,
} from "../store/batches.js";
import type { StoredBatch } from "../store/batches.js";
import { insertOperation } from "../store/operations.js";
import { insertPublication } from "../store/publications.js";
import { requestedSeal } from "../store/seal-request.js";
import { faultPoint } from "./faults.js";
import { Diverged } from "./follow.js";
import type { Turn } from "./loop.js";
import { nextBatch, workedHead } from "./seal.js";
import { refusedCall } from "./submit.js";
import type { Errand, Submitter, SubmitterParts } from "./submit.js";

/** When batches are sealed, and with how much work. */
export interface SealingMode {
  /** Whether batches are sealed by themselves; else only when that is asked for. */
  readonly isAutomatic: boolean;
  /** Milliseconds from one batch to the next at least, unless one is asked for; 0 adapts to what comes. */
  readonly intervalMs: number;
  /** Zero hex digits that heads start with at least; the contract may ask for more. */
  readonly difficulty: number;
}

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
  readonly mode: SealingMode;
  /** Ends a search for a nonce. */
  readonly signal: AbortSignal;
  /** Whether a caller waits for its record to be on the chain. */
  readonly isAwaited: () => boolean;
  /** Called after a batch was stored. */
  readonly onSealed: (number: number, publication: Publication) => void;
}

/**
 * A seal costs the same for one record as for thousands, so while nobody waits for one, sealing rests
 * for four times as long as the last seal took, within a limit.
 */
const REST = { factor: 4, mostMs: 1_000 } as const;

/** Another daemon may be asked to seal: this one looks that often. */
const LOOK_MS = 1_000;

/** How often a search that takes long asks whether less work is enough by now. */
const DIFFICULTY_LOOK_MS = 2_000;

/**
 * Seals one batch after the other: the next begins when the last is on the chain, so its size adapts
 * to what has gathered meanwhile. Signed transactions are stored before they are broadcast.
 */
export class Sealer {
  #isChecked = false;
  #sealing: { readonly since: number } | undefined;
  #restUntil = 0;

  constructor(private readonly parts: SealerParts) {}

  /** Forgets what it knows of the chain: called when this daemon starts to lead. */
  reset(): void {
    this.parts.submitter.reset();
    this.#isChecked = false;
  }

  /** Brings the batches there are to the chain, in their order, or makes the next one. */
  async turn(): Promise<Turn> {
    const { database, submitter } = this.parts;
    const waiting = await firstUnanchored(database);
    try {
      if (waiting !== undefined) return await submitter.submit(this.#errand(waiting));
      this.#endSeal();
      return await this.#sealNext(await lastBatch(database));
    } catch (error) {
      this.reset();
      throw error;
    }
  }

  /** Begins the rest after a seal, which has ended once no batch waits for the chain. */
  #endSeal(): void {
    if (this.#sealing === undefined) return;
    const now = Date.now();
    this.#restUntil = now + Math.min(REST.mostMs, REST.factor * (now - this.#sealing.since));
    this.#sealing = undefined;
  }

  async #sealNext(last: StoredBatch | undefined): Promise<Turn> {
    const restMs = this.#rest(last);
    if (restMs > 0 && !(await this.#isAsked(last))) return { restMs: Math.min(restMs, LOOK_MS) };
    const since = Date.now();
    const { database, identity, keys, maxRecords, submitter } = this.parts;
    await this.#checkChain(last);
    const next = await this.#searching((work) =>
      nextBatch(database, identity, last, { maxRecords, key: keys.current, ...work }),
    );
    if (next === undefined) return "idle";
    const errand = this.#errand(next.batch);
    await submitter.issue(errand.call, async (call) => {
      await faultPoint("seal.before-commit");
      await database.transact(async (trx) => {
        await insertBatch(trx, next.batch, next.leaves);
        await insertPublication(trx, errand.number, keys.current.id, null);
        await insertOperation(trx, errand, call, Date.now());
      });
      await faultPoint("seal.after-commit");
      this.parts.onSealed(errand.number, next.publication);
      const full = next.leaves.length === maxRecords;
      this.#sealing = full ? undefined : { since };
      return errand;
    });
    return "idle";
  }

  /** What the submitter has to know of a batch. */
  #errand(batch: StoredBatch): Errand {
    const { chain, database, identity } = this.parts;
    const { seal, previousHead } = batch;
    const number = Number(seal.number);
    return {
      kind: "SEAL",
      number,
      call: chain.sealCall(identity, previousHead, seal),
      isDone: async () => {
        const onChain = await chain.lastSealed(identity);
        if (onChain.number < seal.number) return false;
        const sealed = await chain.batch(identity, seal.number);
        // By its root, for its nonce may be another: following takes the chain's.
        if (sealed !== undefined && sameBytes(sealed.root, seal.root)) return true;
        throw new Diverged(
          `batch ${number} on chain is not the one in this database: another service seals the ` +
            "same log. Sealing has stopped; run VerifyLog",
        );
      },
      isFollowed: async () => (await findBatch(database, number))?.anchor !== undefined,
      requireRole: () => this.#requireRole(),
      onRefused: (refusal) => this.#workAgain(batch, refusal),
      onFailed: () => (this.#isChecked = false),
    };
  }

  /**
   * Gives a batch that the chain does not have another head, with the work that the contract asks for by now,
   * on the head that the batch before it has by now. Throws where that is not what it was refused for.
   */
  async #workAgain({ seal, previousHead, head }: StoredBatch, refusal: string): Promise<void> {
    const { database } = this.parts;
    const number = Number(seal.number);
    const before = (await findBatch(database, number - 1))?.head ?? previousHead;
    const lacksWork = refusal.startsWith("InsufficientWork(");
    if (!lacksWork && sameBytes(before, previousHead)) {
      throw refusedCall({ kind: "SEAL", number }, refusal);
    }
    const worked = await this.#searching(({ difficulty, signal }) =>
      workedHead(before, seal, difficulty, signal),
    );
    if (worked === undefined) return;
    await database.transact((trx) => replaceHead(trx, { seal, head }, worked));
    await faultPoint("work.after-commit");
  }

  /** Searches with the work that heads need now; ends without a find once less is enough, or nobody waits. */
  async #searching<T>(
    search: (work: { readonly difficulty: number; readonly signal: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    const difficulty = await this.#difficulty();
    const lowered = new AbortController();
    const look = async () => {
      if ((await this.#difficulty()) < difficulty) lowered.abort();
    };
    const timer = setInterval(() => void look().catch(() => undefined), DIFFICULTY_LOOK_MS);
    try {
      const signal = AbortSignal.any([this.parts.signal, lowered.signal]);
      return await search({ difficulty, signal });
    } finally {
      clearInterval(timer);
    }
  }

  /** The work that heads need now: never less than the contract asks for. */
  async #difficulty(): Promise<number> {
    const { chain, identity, mode } = this.parts;
    return Math.max(mode.difficulty, await chain.minimumDifficulty(identity.contract));
  }

  async #requireRole(): Promise<void> {
    const { chain, identity, signer } = this.parts;
    if (await chain.maySeal(identity.contract, signer.address)) return;
    throw new Error(
      `account ${signer.address} has no SEALER_ROLE on ${identity.contract}: grant it, or set ` +
        "PRIVATE_KEY to an account that has it",
    );
  }

  /** Whether SealNow was called, on whichever replica, for records that are in no batch. */
  async #isAsked(last: StoredBatch | undefined): Promise<boolean> {
    const sealed = last === undefined ? 0 : last.firstSeq + Number(last.seal.size);
    return (await requestedSeal(this.parts.database)) > sealed;
  }

  /** How long to gather before the next seal, in milliseconds, unless it is asked for. */
  #rest(last: StoredBatch | undefined): number {
    const { isAutomatic, intervalMs } = this.parts.mode;
    const now = Date.now();
    if (!isAutomatic) return LOOK_MS;
    if (intervalMs > 0) {
      const left = (last?.createTime ?? 0) + intervalMs - now;
      return left > intervalMs ? 0 : Math.max(0, left); // the clock was set back
    }
    return this.parts.isAwaited() ? 0 : Math.max(0, this.#restUntil - now);
  }

  /** Before the first seal: the chain must stand where the database says. */
  async #checkChain(last: StoredBatch | undefined): Promise<void> {
    if (this.#isChecked) return;
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
    this.#isChecked = true;
  }
}
