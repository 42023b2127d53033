import type { Logger } from "pino";
import { hex0x, sameBytes, unhex } from "../core/bytes.js";
import type { BatchSeal } from "../core/head.js";
import type { SignedCall } from "../core/operation.js";
import { BroadcastRefused } from "../chain/port.js";
import type { Chain, Fees, Mined } from "../chain/port.js";
import { feesOf } from "../chain/signer.js";
import type { Signer } from "../chain/signer.js";
import { findBatch } from "../store/batches.js";
import type { StoredBatch } from "../store/batches.js";
import { chainPosition } from "../store/chain-position.js";
import type { StoredIdentity } from "../store/chain-position.js";
import type { Database } from "../store/database.js";
import { appendFeed } from "../store/feed.js";
import {
  failOperation,
  insertOperation,
  nextStoredNonce,
  sentOperation,
} from "../store/operations.js";
import type { Operation } from "../store/operations.js";
import { faultPoint } from "./faults.js";
import { Diverged } from "./follow.js";
import type { Turn } from "./loop.js";

/** What submitting works with. */
export interface SubmitterParts {
  readonly database: Database;
  readonly chain: Chain;
  readonly signer: Signer;
  readonly identity: StoredIdentity;
  /** Called after a transaction was handed to the node. */
  readonly onBroadcast: () => void;
  /** Called after a transaction has ended without effect. */
  readonly onFailed: () => void;
  readonly log: Logger;
}

/** Fees are asked for again after this time. */
const FEES_MS = 5_000;

/** A transaction that no block has is broadcast again after this time. */
const REBROADCAST_MS = 3_000;

/**
 * Brings stored batches to the chain: signs their calls, hands the signed bytes to the node again and
 * again until a block has them, and replaces what has ended without effect or offers too little.
 */
export class Submitter {
  #nonce: number | undefined;
  #fees: { readonly value: Fees; readonly until: number } | undefined;
  #broadcast: { readonly hash: string; readonly at: number } | undefined;

  constructor(private readonly parts: SubmitterParts) {}

  /** Forgets what it knows of the chain. */
  reset(): void {
    this.#nonce = undefined;
    this.#fees = undefined;
    this.#broadcast = undefined;
  }

  /** Throws where the account may not seal. */
  async requireRole(): Promise<void> {
    const { chain, identity, signer } = this.parts;
    if (await chain.maySeal(identity.contract, signer.address)) return;
    throw new Error(
      `account ${signer.address} has no SEALER_ROLE on ${identity.contract}: grant it, or set ` +
        "PRIVATE_KEY to an account that has it",
    );
  }

  /** Sees to it that a batch which is not on the chain yet gets there. */
  async submit(batch: StoredBatch): Promise<Turn> {
    const { database } = this.parts;
    const operation = await sentOperation(database, Number(batch.seal.number));
    if (operation === undefined) return this.#signAgain(batch);
    const hash = hex0x(operation.transactionHash);
    if (this.#broadcast?.hash === hash && Date.now() - this.#broadcast.at < REBROADCAST_MS) {
      return "idle"; // on its way: following will see it
    }
    const mined = await this.#mined(hash);
    if (mined === undefined) return this.#sendAgain(operation, batch);
    if (!mined.succeeded) return this.#fail(operation, await this.#revertReason(batch));
    return this.#awaitFollowing(batch.seal, mined.blockNumber);
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

  /** The chain has a batch up to a block. Throws where following has passed that without seeing it. */
  async #awaitFollowing(seal: BatchSeal, blockNumber: number): Promise<Turn> {
    const { database } = this.parts;
    const followed = (await chainPosition(database))?.blockNumber ?? -1;
    if (followed < blockNumber) {
      this.parts.onBroadcast();
      return "idle";
    }
    const batch = await findBatch(database, Number(seal.number)); // it may have been seen by now
    if (batch?.anchor !== undefined) return "again";
    throw new Error(
      `batch ${seal.number} is on chain, but following missed it: call SyncBlocks. Sealing waits`,
    );
  }

  async #sendAgain(operation: Operation, batch: StoredBatch): Promise<Turn> {
    const { chain, database } = this.parts;
    const { sender, nonce, batchNumber, transactionHash } = operation;
    const used = await chain.nonce(hex0x(sender));
    if (used > nonce) {
      // It may have been mined since we looked.
      if ((await this.#mined(hex0x(transactionHash))) !== undefined) return "again";
      const waiting = await this.#isSealed(batch);
      if (waiting !== undefined) return waiting;
      return this.#fail(operation, `nonce ${nonce} was used by another transaction`);
    }
    // A transaction before it was taken back, so no node would ever mine it.
    const next = Math.max(used, await nextStoredNonce(database, sender, batchNumber));
    if (next < nonce)
      return this.#fail(operation, `nonce ${next} before nonce ${nonce} is free again`);
    await this.send((await this.#repriced(operation, batch)) ?? operation);
    return "idle";
  }

  /**
   * The same call in another transaction with the same nonce, where fees have risen since it was signed:
   * the chain takes one of the two, whichever. Undefined where it offers enough.
   */
  async #repriced(operation: Operation, batch: StoredBatch): Promise<SignedCall | undefined> {
    const { chain, database, identity, signer, log } = this.parts;
    const { nonce, sender, batchNumber, transaction } = operation;
    const offered = feesOf(transaction);
    const asked = await this.#currentFees();
    if (hex0x(sender) !== signer.address || asked.maxFeePerGas < raised(offered.maxFeePerGas))
      return undefined;
    const least = raised(offered.maxPriorityFeePerGas);
    const { maxFeePerGas, maxPriorityFeePerGas: tip } = asked;
    const fees = { maxFeePerGas, maxPriorityFeePerGas: tip > least ? tip : least };
    const call = chain.sealCall(identity, batch.previousHead, batch.seal);
    const signed = await signer.sign(call, identity.chainId, nonce, fees);
    await database.transact((trx) => insertOperation(trx, batchNumber, signed, Date.now()));
    log.warn({ batch: batchNumber, nonce }, "fees have risen: the seal is offered for more");
    return signed;
  }

  /** Waits for following where the chain has a batch by whatever transaction. Throws Diverged. */
  async #isSealed({ seal, head }: StoredBatch): Promise<Turn | undefined> {
    const { chain, identity } = this.parts;
    const onChain = await chain.lastSealed(identity);
    if (onChain.number < seal.number) return undefined;
    const sealed = await chain.batch(identity, seal.number);
    if (sealed === undefined || !sameBytes(sealed.head, head)) {
      throw new Diverged(
        `batch ${seal.number} on chain is not the one in this database: another service seals the ` +
          "same log. Sealing has stopped; run VerifyLog",
      );
    }
    const { number: latest } = await chain.latestBlock();
    return this.#awaitFollowing(seal, latest);
  }

  /** Signs a batch's call anew, after the transaction before has ended without effect. */
  async #signAgain(batch: StoredBatch): Promise<Turn> {
    const waiting = await this.#isSealed(batch);
    if (waiting !== undefined) return waiting;
    const { database, chain, identity, signer } = this.parts;
    const call = chain.sealCall(identity, batch.previousHead, batch.seal);
    const refusal = await chain.preflight(call, signer.address);
    if (refusal !== undefined) {
      await this.requireRole();
      throw new Error(`the contract refuses the seal: ${refusal}`);
    }
    const signed = await this.sign(batch);
    const number = Number(batch.seal.number);
    await database.transact((trx) => insertOperation(trx, number, signed, Date.now()));
    await this.send(signed);
    return "idle";
  }

  async #fail(operation: Operation, reason: string): Promise<Turn> {
    const { database, log } = this.parts;
    log.error({ batch: operation.batchNumber, reason }, "a seal ended without effect");
    const { batchNumber, transactionHash } = operation;
    const detail = JSON.stringify({ transactionHash: hex0x(transactionHash), reason });
    const told = (await chainPosition(database))?.finalNumber ?? -1;
    await database.transact(async (trx) => {
      await failOperation(trx, operation.id, reason);
      await appendFeed(trx, [{ kind: "OPERATION_FAILED", batchNumber, detail }], told);
    });
    this.reset();
    this.parts.onFailed();
    return "again";
  }

  async #revertReason(batch: StoredBatch): Promise<string> {
    const { chain, identity, signer } = this.parts;
    const call = chain.sealCall(identity, batch.previousHead, batch.seal);
    return (await chain.preflight(call, signer.address)) ?? "reverted";
  }

  /** Signs the call of a batch with the next nonce. */
  async sign(batch: StoredBatch): Promise<SignedCall> {
    const { chain, identity, signer } = this.parts;
    const call = chain.sealCall(identity, batch.previousHead, batch.seal);
    const nonce = await this.#nextNonce(batch);
    const signed = await signer.sign(call, identity.chainId, nonce, await this.#currentFees());
    this.#nonce = nonce + 1;
    return signed;
  }

  async #nextNonce({ seal }: StoredBatch): Promise<number> {
    if (this.#nonce !== undefined) return this.#nonce;
    const { chain, database, signer } = this.parts;
    const stored = await nextStoredNonce(database, unhex(signer.address), Number(seal.number));
    return Math.max(await chain.nonce(signer.address), stored);
  }

  async #currentFees(): Promise<Fees> {
    if (this.#fees === undefined || Date.now() > this.#fees.until) {
      this.#fees = { value: await this.parts.chain.fees(), until: Date.now() + FEES_MS };
    }
    return this.#fees.value;
  }

  /** Hands a stored transaction to the node. */
  async send({ transaction, transactionHash, sender }: SignedCall): Promise<void> {
    await faultPoint("submit.before-broadcast");
    try {
      await this.parts.chain.broadcast(transaction);
    } catch (error) {
      if (!(error instanceof BroadcastRefused)) throw error;
      throw new Error(`the node refuses a transaction of ${hex0x(sender)}: ${error.message}`, {
        cause: error,
      });
    }
    await faultPoint("submit.after-broadcast");
    this.#broadcast = { hash: hex0x(transactionHash), at: Date.now() };
    this.parts.onBroadcast();
  }
}

/** A quarter more: nodes take a transaction in place of another for a tenth more at the least. */
function raised(fee: bigint): bigint {
  return fee + fee / 4n + 1n;
}
