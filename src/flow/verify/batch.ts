import { hex0x, sameBytes, ZERO32 } from "../../core/bytes.js";
import { genesisHead, nextHead, workAskedIn, workOf } from "../../core/head.js";
import type { DifficultyChange } from "../../core/head.js";
import type { ChainBatch } from "../../core/receipt.js";
import type { Chain } from "../../chain/port.js";
import { findBatch } from "../../store/batches.js";
import type { StoredBatch } from "../../store/batches.js";
import type { StoredIdentity } from "../../store/chain-position.js";
import type { Database } from "../../store/database.js";
import { minedOperation, waitingOperation } from "../../store/operations.js";
import { compare, problem } from "./problem.js";
import type { Problem } from "./problem.js";

/** Compares a batch's row with the chain. */
export class BatchCheck {
  /** What the contract asks of heads, and how it has changed that since the first head that has less. */
  #asked: number | undefined;
  #changes: readonly DifficultyChange[] | undefined;

  constructor(
    private readonly database: Database,
    private readonly chain: Chain,
    private readonly identity: StoredIdentity,
  ) {}

  /** What the batch commits to, and where it starts. `truth` is what the chain has, or will have. */
  async columns(
    { seal, head, previousHead, firstSeq }: StoredBatch,
    truth: ChainBatch,
    expectedFirst: number | undefined,
  ): Promise<Problem[]> {
    const number = Number(seal.number);
    const before =
      number === 1
        ? genesisHead(this.identity)
        : ((await this.chain.batch(this.identity, BigInt(number - 1)))?.head ??
          (await findBatch(this.database, number - 1))?.head);
    const problems = [
      ...compare(number, "batches.root", seal.root, truth.root),
      ...compare(number, "batches.size", seal.size, truth.size),
      ...compare(number, "batches.head", head, truth.head),
      ...compare(number, "batches.previous_head", previousHead, before ?? ZERO32),
      ...compare(number, "batches.first_seq", BigInt(firstSeq), BigInt(expectedFirst ?? firstSeq)),
    ];
    if (problems.length === 0 && !sameBytes(nextHead(previousHead, seal), truth.head)) {
      problems.push(
        problem(number, "batches.head", "the columns do not lead to the head on chain"),
      );
    }
    return problems;
  }

  /** Where the batch stands on the chain, as the transaction's receipt and the contract's event say. */
  async anchor(
    { seal, anchor }: StoredBatch,
    truth: ChainBatch,
    followedTo: number,
  ): Promise<Problem[]> {
    const number = Number(seal.number);
    if (anchor === undefined) {
      const purpose = { kind: "SEAL", number } as const;
      const sent =
        (await waitingOperation(this.database, purpose))?.transactionHash ??
        (await minedOperation(this.database, purpose)); // since the row was read
      const mined = sent && (await this.chain.mined(hex0x(sent)));
      if (mined !== undefined && mined.blockNumber > followedTo) return []; // only just mined
      return [problem(number, "batches.block_number", "the batch is on chain, but not marked so")];
    }
    const hash = hex0x(anchor.transactionHash);
    const mined = await this.chain.mined(hash);
    if (mined === undefined) {
      return [problem(number, "batches.transaction_hash", `no block has transaction ${hash}`)];
    }
    const { blockNumber, blockHash, gasUsed } = mined;
    const events = await this.chain.events(this.identity, blockNumber, blockNumber);
    const seals = events.filter((each) => each.type === "sealed");
    const event = seals.find((each) => each.seal.number === BigInt(number));
    if (event?.transactionHash !== hash) {
      return [problem(number, "batches.transaction_hash", `transaction ${hash} did not seal it`)];
    }
    const operation = await minedOperation(this.database, { kind: "SEAL", number });
    return [
      ...compare(number, "batches.block_number", BigInt(anchor.blockNumber), BigInt(blockNumber)),
      ...compare(number, "batches.block_hash", hex0x(anchor.blockHash), blockHash),
      ...compare(number, "batches.block_time", BigInt(anchor.blockTime), truth.time),
      ...compare(number, "batches.gas_used", BigInt(anchor.gasUsed), BigInt(gasUsed)),
      ...compare(number, "batches.manifest_digest", seal.manifestDigest, event.seal.manifestDigest),
      ...compare(number, "batches.trails_root", seal.trailsRoot, event.seal.trailsRoot),
      ...compare(number, "batches.nonce", seal.nonce, event.seal.nonce),
      ...(operation === undefined
        ? []
        : compare(number, "operations.transaction_hash", hex0x(operation), hash)),
      ...(await this.#work(number, truth, blockNumber)),
    ];
  }

  /** Whether the head has the work that was asked for when it was sealed. Requires batches in their order. */
  async #work(number: number, { head }: ChainBatch, blockNumber: number): Promise<Problem[]> {
    const { contract } = this.identity;
    const work = workOf(head);
    this.#asked ??= await this.chain.minimumDifficulty(contract);
    if (work >= this.#asked) return [];
    this.#changes ??= await this.chain.difficultyChanges(contract, blockNumber);
    const asked = workAskedIn(blockNumber, this.#changes, this.#asked);
    if (work >= asked) return [];
    const message = `starts with ${work} zero hex digits on chain, and the contract asked for ${asked}`;
    return [problem(number, "batches.head", message)];
  }
}
