import type { Logger } from "pino";
import { hex0x, unhex } from "../core/bytes.js";
import { purposeName } from "../core/operation.js";
import type { Purpose, SignedCall } from "../core/operation.js";
import { BroadcastRefused } from "../chain/port.js";
import type { Call, Chain, Fees, Mined } from "../chain/port.js";
import { callOf, feesOf } from "../chain/signer.js";
import type { Signer } from "../chain/signer.js";
import { chainPosition } from "../store/chain-position.js";
import type { StoredIdentity } from "../store/chain-position.js";
import type { Database } from "../store/database.js";
import { appendFeed } from "../store/feed.js";
import {
  failOperation,
  freeNonce,
  insertOperation,
  offeredOperation,
  operationsOf,
  sentOperations,
  waitingOperation,
} from "../store/operations.js";
import type { Operation } from "../store/operations.js";
import { faultPoint } from "./faults.js";
import type { Turn } from "./loop.js";

/**
 * A contract call that is to have its effect once, and how to tell that it has. Made twice, it must be
 * as if made once: the contract refuses or ignores the second.
 */
export interface Errand extends Purpose {
  readonly call: Call;
  /**
   * Whether its transaction may have nothing to do, so that following sees nothing of it: then it is looked
   * for at every turn. Default: false.
   */
  readonly isSilent?: boolean;
  /** Whether the chain has the effect, by whatever transaction. Throws Diverged where it has another. */
  isDone(): Promise<boolean>;
  /** Whether following has seen the effect, which the chain has in this block at the latest. */
  isFollowed(blockNumber: number): Promise<boolean>;
  /** Throws where the account may not make the call, with what to grant. */
  requireRole(): Promise<void>;
  /**
   * Called where the contract would not take the call, though the account may make it: ends the errand, or
   * gives it another call. Throws where the same is to be tried again; an errand without this always is.
   */
  onRefused?(refusal: string): Promise<void>;
  /** Called after a transaction of it has ended without effect. */
  onFailed?(): void;
}

/** What submitting works with. */
export interface SubmitterParts {
  readonly database: Database;
  readonly chain: Chain;
  readonly signer: Signer;
  readonly identity: StoredIdentity;
  /** What the tip that the node suggests is multiplied by, from 1 on. */
  readonly tipMultiplier: number;
  /** Called after a transaction was handed to the node. */
  readonly onBroadcast: () => void;
  readonly log: Logger;
}

/** Fees are asked for again after this time. */
const FEES_MS = 5_000;

/** A transaction that no block has is broadcast again after this time. */
const REBROADCAST_MS = 3_000;

/** Transactions that are looked up at once. */
const MOST_LOOKED_UP = 500;

/**
 * Brings contract calls to the chain: signs them, hands the signed bytes to the node again and again
 * until a block has them, and replaces what has ended without effect or offers too little.
 *
 * All errands share the account and so its nonces, which the chain takes without a gap. An errand
 * never waits for another's turn, though: a call is signed with the lowest nonce that is free, one that
 * stands above a free nonce fails and is signed anew, and what stands before it is broadcast with it,
 * whosever it is. Requires that errands of one kind are submitted one after the other; those of
 * different kinds may be submitted at the same time.
 */
export class Submitter {
  #fees: { readonly value: Fees; readonly until: number } | undefined;
  /** When transactions were handed to the node, by their hashes. */
  readonly #broadcast = new Map<string, number>();
  #signing: Promise<unknown> = Promise.resolve();

  constructor(private readonly parts: SubmitterParts) {}

  /** Forgets what it knows of the chain. */
  reset(): void {
    this.#fees = undefined;
    this.#broadcast.clear();
  }

  /** Sees to it that an errand which following has not seen done gets done. */
  async submit(errand: Errand): Promise<Turn> {
    const operation = await waitingOperation(this.parts.database, errand);
    if (operation === undefined) return this.#signAgain(errand);
    const isOnItsWay = this.#isOnItsWay(operation);
    if (isOnItsWay && errand.isSilent !== true) return "idle"; // following will see it
    const mined = await this.#mined(hex0x(operation.transactionHash));
    if (mined === undefined) return isOnItsWay ? "idle" : this.#sendAgain(operation, errand);
    if (mined.succeeded) {
      const turn = await this.#awaitFollowing(errand, mined.blockNumber);
      if (errand.isSilent === true && turn === "again") this.#tellMined(operation, mined);
      return turn;
    }
    return this.#fail(operation, errand, (await this.#refusal(errand)) ?? "reverted");
  }

  /** Says in the log which of the transactions that were followed are operations of ours. */
  async logMined(transactions: readonly string[]): Promise<void> {
    const { chain, database, log } = this.parts;
    if (!log.isLevelEnabled("info")) return;
    for (let at = 0; at < transactions.length; at += MOST_LOOKED_UP) {
      const hashes = transactions.slice(at, at + MOST_LOOKED_UP).map(unhex);
      for (const operation of await operationsOf(database, hashes)) {
        // Of a silent one that had nothing to do, following sees nothing: each was told when its errand ended.
        if (operation.kind === "ESCALATION") continue;
        const mined = await chain.mined(hex0x(operation.transactionHash)).catch(() => undefined);
        this.#tellMined(operation, mined);
      }
    }
  }

  #tellMined(operation: Operation, mined: Mined | undefined): void {
    const { blockNumber, gasUsed } = mined ?? {};
    this.parts.log.info(
      { ...named(operation, operation), blockNumber, gasUsed },
      "operation mined",
    );
  }

  #isOnItsWay({ transactionHash }: SignedCall): boolean {
    const at = this.#broadcast.get(hex0x(transactionHash));
    return at !== undefined && Date.now() - at < REBROADCAST_MS;
  }

  /** A transaction in a block of the chain: some nodes keep receipts of blocks that have left it. */
  async #mined(hash: string): Promise<Mined | undefined> {
    const { chain } = this.parts;
    const mined = await chain.mined(hash);
    if (mined === undefined) return undefined;
    const block = await chain.block(mined.blockNumber);
    if (block !== undefined) return block.hash === mined.blockHash ? mined : undefined;
    throw new Error(`the node has transaction ${hash}, but not yet its block: trying again`);
  }

  /** The chain has the effect in a block. Throws where following has passed that without seeing it. */
  async #awaitFollowing(errand: Errand, blockNumber: number): Promise<Turn> {
    const followed = (await chainPosition(this.parts.database))?.blockNumber ?? -1;
    if (followed < blockNumber) {
      this.parts.onBroadcast();
      return "idle";
    }
    if (await errand.isFollowed(blockNumber)) return "again"; // it was seen by now
    throw new Error(
      `${purposeName(errand)} is on chain, but following missed it: call SyncBlocks. ` +
        "What comes after it waits",
    );
  }

  async #sendAgain(operation: Operation, errand: Errand): Promise<Turn> {
    const { chain, database } = this.parts;
    const { sender, nonce, transactionHash } = operation;
    const used = await chain.nonce(hex0x(sender));
    if (used > nonce) {
      // It may have been mined since we looked.
      if ((await this.#mined(hex0x(transactionHash))) !== undefined) return "again";
      const waiting = await this.#awaitIfDone(errand);
      if (waiting !== undefined) return waiting;
      return this.#fail(operation, errand, `nonce ${nonce} was used by another transaction`);
    }
    // A transaction before it was taken back or given up, so no node would ever mine it.
    const free = await freeNonce(database, sender, used);
    if (free < nonce) {
      // What held that nonce may have ended since we looked, by being mined.
      if ((await chain.nonce(hex0x(sender))) > free) return "again";
      return this.#fail(operation, errand, `nonce ${free} before nonce ${nonce} is free again`);
    }
    await this.#alone(async () => {
      for (const before of await sentOperations(database, sender, used, nonce)) {
        if (!this.#isOnItsWay(before)) await this.#offer(before);
      }
      await this.#offer(operation);
    });
    return "idle";
  }

  /** Hands a stored transaction to the node, in another for more where fees have risen. */
  async #offer(operation: Operation): Promise<void> {
    const repriced = await this.#repriced(operation);
    await this.#send(repriced ?? operation);
    this.parts.log.debug(named(operation, repriced ?? operation), "operation broadcast again");
    if (repriced !== undefined || operation.state === "SENT") return;
    const { transactionHash } = operation;
    await this.parts.database.transact((trx) => offeredOperation(trx, transactionHash, "SENT"));
  }

  /**
   * The same call in another transaction with the same nonce, where fees have risen since it was signed:
   * the chain takes one of the two, whichever. Undefined where it offers enough.
   */
  async #repriced(operation: Operation): Promise<SignedCall | undefined> {
    const { database, identity, signer, log } = this.parts;
    const { nonce, sender, transaction } = operation;
    const offered = feesOf(transaction);
    const asked = await this.#currentFees();
    if (hex0x(sender) !== signer.address || asked.maxFeePerGas < raised(offered.maxFeePerGas))
      return undefined;
    const least = raised(offered.maxPriorityFeePerGas);
    const { maxFeePerGas, maxPriorityFeePerGas: tip } = asked;
    const fees = { maxFeePerGas, maxPriorityFeePerGas: tip > least ? tip : least };
    const signed = await signer.sign(callOf(transaction), identity.chainId, nonce, fees);
    await database.transact((trx) => insertOperation(trx, operation, signed, Date.now()));
    log.warn(named(operation, signed), "fees have risen: the transaction is offered for more");
    return signed;
  }

  /** Waits for following where the chain has the effect by whatever transaction. Throws Diverged. */
  async #awaitIfDone(errand: Errand): Promise<Turn | undefined> {
    if (!(await errand.isDone())) return undefined;
    const { number: latest } = await this.parts.chain.latestBlock();
    return this.#awaitFollowing(errand, latest);
  }

  /** Signs an errand's call where no transaction of it waits: for the first time, or after one has failed. */
  async #signAgain(errand: Errand): Promise<Turn> {
    const waiting = await this.#awaitIfDone(errand);
    if (waiting !== undefined) return waiting;
    if (!(await this.isAccepted(errand))) return "again";
    const { database } = this.parts;
    await this.issue(errand.call, async (call) => {
      await faultPoint("sign.before-commit");
      await database.transact((trx) => insertOperation(trx, errand, call, Date.now()));
      await faultPoint("sign.after-commit");
      return errand;
    });
    return "idle";
  }

  /**
   * Whether the contract would take the call now. Where not, it throws, with what to grant or the contract's
   * reason, unless the errand has ended with that, or has another call by now.
   */
  async isAccepted(errand: Errand): Promise<boolean> {
    const refusal = await this.#refusal(errand);
    if (refusal === undefined) return true;
    await errand.requireRole();
    if (errand.onRefused === undefined) throw refusedCall(errand, refusal);
    await errand.onRefused(refusal);
    return false;
  }

  /** Why the contract would not take the call now; undefined where it would. */
  #refusal({ call }: Errand): Promise<string | undefined> {
    return this.parts.chain.preflight(call, this.parts.signer.address);
  }

  async #fail(operation: Operation, errand: Errand, reason: string): Promise<Turn> {
    const { database, log } = this.parts;
    const { kind, number } = errand;
    log.error({ ...named(errand, operation), reason }, "a transaction ended without effect");
    const transactionHash = hex0x(operation.transactionHash);
    const detail = JSON.stringify({ kind, number, transactionHash, reason });
    const batchNumber = kind === "SEAL" ? number : 0;
    const told = (await chainPosition(database))?.finalNumber ?? -1;
    await database.transact(async (trx) => {
      await failOperation(trx, operation.id, reason);
      await appendFeed(trx, [{ kind: "OPERATION_FAILED", batchNumber, detail }], told);
    });
    this.reset();
    errand.onFailed?.();
    return "again";
  }

  /**
   * Signs a call with the lowest free nonce and hands it to the node. `store` must store it as an operation
   * before that and say what for, or reject.
   */
  async issue(call: Call, store: (signed: SignedCall) => Promise<Purpose>): Promise<void> {
    const { chain, database, identity, signer, log } = this.parts;
    await this.#alone(async () => {
      const [used, fees] = await Promise.all([chain.nonce(signer.address), this.#currentFees()]);
      const nonce = await freeNonce(database, unhex(signer.address), used);
      const signed = await signer.sign(call, identity.chainId, nonce, fees);
      const operation = named(await store(signed), signed);
      log.info(operation, "operation signed");
      await this.#send(signed);
      log.info(operation, "operation broadcast");
    });
  }

  /**
   * Whoever chooses a nonce knows of all that were chosen before, and hands it over behind them: Ganache
   * does not answer for a transaction before it has those that come first.
   */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#signing.then(work);
    this.#signing = result.catch(() => undefined);
    return result;
  }

  async #currentFees(): Promise<Fees> {
    if (this.#fees === undefined || Date.now() > this.#fees.until) {
      const value = withTip(await this.parts.chain.fees(), this.parts.tipMultiplier);
      this.#fees = { value, until: Date.now() + FEES_MS };
    }
    return this.#fees.value;
  }

  /** Hands a stored transaction to the node. Throws where the node will not have it. */
  async #send(call: SignedCall): Promise<void> {
    await faultPoint("submit.before-broadcast");
    try {
      await this.parts.chain.broadcast(call.transaction);
    } catch (error) {
      if (!(error instanceof BroadcastRefused)) throw error;
      return this.#leaveNonce(call, error);
    }
    await faultPoint("submit.after-broadcast");
    this.#noteBroadcast(hex0x(call.transactionHash));
    this.parts.onBroadcast();
  }

  /** Others go on with the nonce of a refused transaction. Throws, unless the chain has used it. */
  async #leaveNonce(
    { sender, nonce, transactionHash }: SignedCall,
    refused: BroadcastRefused,
  ): Promise<void> {
    const { chain, database } = this.parts;
    const account = hex0x(sender);
    if ((await chain.nonce(account)) > nonce) return; // the next turn sees by what
    await database.transact((trx) => offeredOperation(trx, transactionHash, "REFUSED"));
    throw new Error(`the node refuses a transaction of ${account}: ${refused.message}`, {
      cause: refused,
    });
  }

  #noteBroadcast(hash: string): void {
    const now = Date.now();
    for (const [other, at] of this.#broadcast) {
      if (now - at >= REBROADCAST_MS) this.#broadcast.delete(other);
    }
    this.#broadcast.set(hash, now);
  }
}

/** An operation as its lines in the log name it. */
function named({ kind, number }: Purpose, { nonce, transactionHash }: SignedCall) {
  return { kind, number, nonce, transactionHash: hex0x(transactionHash) };
}

/** A quarter more: nodes take a transaction in place of another for a tenth more at the least. */
function raised(fee: bigint): bigint {
  return fee + fee / 4n + 1n;
}

/** Fees with so many times the tip. */
function withTip({ maxFeePerGas, maxPriorityFeePerGas: tip }: Fees, multiplier: number): Fees {
  const multiplied = (tip * BigInt(Math.round(multiplier * 1_000))) / 1_000n;
  return { maxFeePerGas: maxFeePerGas - tip + multiplied, maxPriorityFeePerGas: multiplied };
}

/** What is said where the contract refuses a call, and nothing but time may mend it. */
export function refusedCall(purpose: Purpose, refusal: string): Error {
  return new Error(`the contract refuses ${purposeName(purpose)}: ${refusal}`);
}
