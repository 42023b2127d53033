import { sameBytes, unhex } from "../core/bytes.js";
import type { LogId } from "../core/head.js";
import type { Chain, SealedEvent } from "../chain/port.js";
import { chainSteps } from "../chain/tail.js";
import type { ChainStep, FollowedSeal, TailOptions } from "../chain/tail.js";
import { anchorBatch, findBatch, retractAbove } from "../store/batches.js";
import type { StoredAnchor } from "../store/batches.js";
import {
  chainPosition,
  followedBlocks,
  forgetBlocks,
  rememberBlocks,
  setPosition,
} from "../store/chain-position.js";
import type { Database } from "../store/database.js";
import { mineOperation, reopenOperations } from "../store/operations.js";
import { faultPoint } from "./faults.js";

/** The chain has a batch of our log that is not ours: another writer, or an old database. */
export class Diverged extends Error {
  override readonly name = "Diverged";
}

/** What following the chain once has found. */
export interface Followed {
  /** Whether anything about batches may have changed. */
  readonly changed: boolean;
  /** Hash of the node's head, where that is behind what was followed. */
  readonly behind: string | undefined;
}

/** Follows the chain once, until it has caught up. */
export async function followChain(
  database: Database,
  chain: Chain,
  id: LogId,
  options: TailOptions,
): Promise<Followed> {
  const position = await chainPosition(database);
  if (position === undefined) return { changed: false, behind: undefined };
  const state = { ...position, blocks: await followedBlocks(database) };
  let finalNumber = position.finalNumber;
  let changed = false;
  for await (const step of chainSteps(chain, id, state, options)) {
    if (step.type === "behind") return { changed, behind: step.headHash };
    if (step.type === "reorganised") await applyReorganisation(database, step.toBlock, finalNumber);
    else {
      await applyAdvance(database, chain, step, options);
      finalNumber = step.finalNumber;
    }
    changed = true;
  }
  return { changed, behind: undefined };
}

/** Batches above the block go back to waiting; their signed bytes will be broadcast again. */
async function applyReorganisation(
  database: Database,
  toBlock: number,
  finalNumber: number,
): Promise<void> {
  await database.transact(async (trx) => {
    await retractAbove(trx, toBlock);
    await reopenOperations(trx);
    await forgetBlocks(trx, { above: toBlock });
    await setPosition(trx, { blockNumber: toBlock, finalNumber });
  });
}

async function applyAdvance(
  database: Database,
  chain: Chain,
  step: ChainStep & { type: "advanced" },
  { confirmations }: TailOptions,
): Promise<void> {
  const anchors: [number, StoredAnchor][] = [];
  for (const event of step.seals) {
    const [anchor] = await Promise.all([anchorOf(chain, event), checkOurs(database, event)]);
    anchors.push([Number(event.seal.number), anchor]);
  }
  const { blockNumber, finalNumber, blocks } = step;
  await faultPoint("follow.before-commit");
  await database.transact(async (trx) => {
    for (const [number, anchor] of anchors) {
      await anchorBatch(trx, number, anchor);
      await mineOperation(trx, anchor.transactionHash);
    }
    await rememberBlocks(trx, blocks);
    await forgetBlocks(trx, { below: blockNumber - confirmations - 2 * REMEMBERED });
    await setPosition(trx, { blockNumber, finalNumber });
  });
  await faultPoint("follow.after-commit");
}

/** Blocks beyond finality that stay in the table. */
const REMEMBERED = 16;

async function checkOurs(database: Database, { seal, head }: SealedEvent): Promise<void> {
  const ours = await findBatch(database, Number(seal.number));
  if (ours === undefined) {
    throw new Diverged(
      `the chain has batch ${seal.number}, which this database does not: it is older than the chain, ` +
        "or another service seals the same log. Sealing has stopped; restore the newer database",
    );
  }
  if (!sameBytes(ours.head, head)) {
    throw new Diverged(
      `batch ${seal.number} on chain is not the one in this database: another service seals the same ` +
        "log, or the database was changed. Sealing has stopped; run VerifyLog",
    );
  }
}

async function anchorOf(chain: Chain, event: FollowedSeal): Promise<StoredAnchor> {
  const mined = await chain.mined(event.transactionHash);
  if (mined?.blockHash !== event.blockHash) {
    throw new Error(`block ${event.blockNumber} was replaced while it was read`);
  }
  return {
    transactionHash: unhex(event.transactionHash),
    blockNumber: event.blockNumber,
    blockHash: unhex(event.blockHash),
    blockTime: event.blockTime,
    gasUsed: mined.gasUsed,
  };
}
