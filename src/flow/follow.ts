import type { Transaction } from "kysely";
import { sameBytes, unhex } from "../core/bytes.js";
import { nextHead } from "../core/head.js";
import type { Chain, Contracts, EvidenceEvent, SealedEvent, SlaEvent } from "../chain/port.js";
import { chainSteps, rememberedFrom } from "../chain/tail.js";
import type { ChainStep, FollowedEvent, TailOptions } from "../chain/tail.js";
import { lockTail } from "../store/append.js";
import {
  anchorBatch,
  anchoredBatches,
  findBatch,
  replaceHead,
  retractAbove,
  unanchoredBatches,
} from "../store/batches.js";
import type { AnchoredBatch, StoredAnchor } from "../store/batches.js";
import {
  chainPosition,
  followedBlocks,
  forgetBlocks,
  movePosition,
  rememberBlocks,
} from "../store/chain-position.js";
import type { ChainPosition } from "../store/chain-position.js";
import type { Database } from "../store/database.js";
import {
  anchorEvidence,
  retractEvidenceAbove,
  unanchoredGroups,
} from "../store/evidence-anchors.js";
import type { StrangeAnchor } from "../store/evidence.js";
import { appendFeed, Level } from "../store/feed.js";
import type { BatchHappening } from "../store/feed.js";
import { mineOperation, reopenOperations } from "../store/operations.js";
import { waitingSlaNumbers } from "../store/sla-changes.js";
import { openEscalationNumbers } from "../store/sla-escalations.js";
import type { SlaNote } from "../store/sla-events.js";
import { noteSlaEvents, retractSlaAbove } from "../store/sla-follow.js";
import type { Tables } from "../store/tables.js";
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
  /** Hashes of the transactions whose effects were followed. */
  readonly transactions: readonly string[];
}

/** Brings a batch that the chain has and the database does not into the database. */
export type Adopt = (event: SealedEvent) => Promise<void>;

/** Follows the chain once, until it has caught up. */
export async function followChain(
  database: Database,
  chain: Chain,
  of: Contracts,
  options: TailOptions,
  adopt: Adopt,
): Promise<Followed> {
  let position = await chainPosition(database);
  if (position === undefined) return { changed: false, behind: undefined, transactions: [] };
  const state = { ...position, blocks: await followedBlocks(database) };
  const transactions = new Set<string>();
  let changed = false;
  for await (const step of chainSteps(chain, of, state, options)) {
    if (step.type === "behind") return followed(step.headHash);
    position =
      step.type === "reorganised"
        ? await applyReorganisation(database, step.toBlock, position)
        : await applyAdvance(database, { step, position, options, seals: await ours(step) });
    changed = true;
    if (step.type === "advanced")
      for (const event of step.events) transactions.add(event.transactionHash);
  }
  return followed(undefined);

  function followed(behind: string | undefined): Followed {
    return { changed, behind, transactions: [...transactions] };
  }

  /** The seals of a step with their anchors, every one of a batch that the database has. */
  async function ours({ events }: Advance): Promise<[number, StoredAnchor][]> {
    const seals = events.filter((event) => event.type === "sealed");
    const anchors = await inParallel(seals, (event) => anchorOf(chain, event));
    for (const event of seals) await requireOurs(database, event, adopt);
    return seals.map(({ seal }, i) => [Number(seal.number), anchors[i] as StoredAnchor]);
  }
}

type Advance = ChainStep & { readonly type: "advanced" };

/** Batches above the block go back to waiting; their signed bytes will be broadcast again. */
async function applyReorganisation(
  database: Database,
  toBlock: number,
  position: ChainPosition,
): Promise<ChainPosition> {
  const { confirmedNumber, finalNumber } = position;
  return database.transact(async (trx) => {
    const moved = await movePosition(trx, position, {
      blockNumber: toBlock,
      confirmedNumber: Math.min(confirmedNumber, toBlock),
      finalNumber,
    });
    await lockTail(trx, 0); // deadlines may be changed at this moment: nothing may be read before
    const left = await anchoredBatches(trx, toBlock, Number.MAX_SAFE_INTEGER);
    const retracted = left.map(({ number, anchor }): BatchHappening => {
      const level = anchor.blockNumber <= confirmedNumber ? Level.Confirmed : Level.Provisional;
      return { kind: "RETRACTED", level, batchNumber: number, anchor };
    });
    await appendFeed(trx, retracted.reverse(), finalNumber);
    await retractAbove(trx, toBlock);
    await reopenOperations(trx, "SEAL", unanchoredBatches(trx));
    await retractEvidenceAbove(trx, toBlock);
    await reopenOperations(trx, "EVIDENCE", unanchoredGroups(trx));
    await retractSlaAbove(trx, toBlock);
    await reopenOperations(trx, "SLA", waitingSlaNumbers(trx));
    await reopenOperations(trx, "ESCALATION", openEscalationNumbers(trx));
    await forgetBlocks(trx, { above: toBlock });
    return moved;
  });
}

async function applyAdvance(
  database: Database,
  {
    step,
    position,
    options,
    seals,
  }: {
    readonly step: Advance;
    readonly position: ChainPosition;
    readonly options: TailOptions;
    readonly seals: readonly (readonly [number, StoredAnchor])[];
  },
): Promise<ChainPosition> {
  const { blockNumber, confirmedNumber, finalNumber, blocks } = step;
  const oldest = rememberedFrom(blockNumber, finalNumber, options.confirmations);
  await faultPoint("follow.before-commit");
  const moved = await database.transact(async (trx) => {
    const next = await movePosition(trx, position, { blockNumber, confirmedNumber, finalNumber });
    const anchors = step.events.filter((event) => event.type === "evidence");
    const changes = step.events.filter((event) => event.type === "sla");
    // Evidence may be accepted, and deadlines changed, at this moment: nothing may be read before.
    if (anchors.length + changes.length > 0) await lockTail(trx, 0);
    for (const [number, anchor] of seals) {
      await anchorBatch(trx, number, anchor);
      await mineOperation(trx, { kind: "SEAL", number }, anchor.transactionHash);
    }
    for (const event of anchors) await noteEvidence(trx, event);
    await noteSla(trx, changes);
    const provisional = seals.map(([number, anchor]) => ({ number, anchor }));
    const confirmed = await anchoredBatches(trx, position.confirmedNumber, confirmedNumber);
    const final = await anchoredBatches(trx, position.finalNumber, finalNumber);
    const happenings = [
      ...provisional.map(sealedAt(Level.Provisional)),
      ...confirmed.map(sealedAt(Level.Confirmed)),
      ...final.map(sealedAt(Level.Final)),
    ];
    await appendFeed(trx, happenings, position.finalNumber);
    await rememberBlocks(trx, blocks);
    await forgetBlocks(trx, { below: oldest });
    return next;
  });
  await faultPoint("follow.after-commit");
  return moved;
}

/** Notes an anchor of evidence, and that the operation of its group is mined where it was the last one. */
export async function noteEvidence(
  trx: Transaction<Tables>,
  event: EvidenceEvent & FollowedEvent,
): Promise<void> {
  const found = evidenceAnchorOf(event);
  const group = await anchorEvidence(trx, found);
  if (group === undefined) return;
  await mineOperation(trx, { kind: "EVIDENCE", number: group }, found.anchor.transactionHash);
}

/** An anchor of evidence, as it is stored. */
export function evidenceAnchorOf(event: EvidenceEvent & FollowedEvent): StrangeAnchor {
  const { subjectKey, digest, cid, logIndex, blockNumber, blockTime } = event;
  const anchor = {
    submitter: unhex(event.submitter),
    transactionHash: unhex(event.transactionHash),
    blockNumber,
    blockHash: unhex(event.blockHash),
    blockTime,
  };
  return { subjectKey, digest, cid, logIndex, anchor };
}

/** A change of a deadline that was followed. */
export type FollowedSla = SlaEvent & FollowedEvent;

/**
 * Notes changes of deadlines, and that the operations are mined that they are the effects of. Requires the lock
 * of the tail.
 */
export async function noteSla(
  trx: Transaction<Tables>,
  events: readonly FollowedSla[],
): Promise<void> {
  for (const { change, transactionHash } of await noteSlaEvents(trx, events.map(slaNoteOf))) {
    await mineOperation(trx, { kind: "SLA", number: change }, transactionHash);
  }
}

/** A change of a deadline, as it is stored. */
export function slaNoteOf({ account, transactionHash, blockHash, ...event }: FollowedSla): SlaNote {
  return {
    ...event,
    account: unhex(account),
    transactionHash: unhex(transactionHash),
    blockHash: unhex(blockHash),
  };
}

/** The happening of a batch's coming to stand at a level. */
export function sealedAt(level: BatchHappening["level"]) {
  return ({ number, anchor }: AnchoredBatch): BatchHappening => ({
    kind: "SEALED",
    level,
    batchNumber: number,
    anchor,
  });
}

/**
 * A batch of the chain must be one of the database; what it misses is adopted, and so is the work of a batch
 * that was sealed by a transaction which had been given up. Throws Diverged.
 */
export async function requireOurs(
  database: Database,
  event: SealedEvent,
  adopt: Adopt,
): Promise<void> {
  const ours = await findBatch(database, Number(event.seal.number));
  if (ours === undefined) return adopt(event);
  if (sameBytes(ours.head, event.head)) return;
  const { previousHead } = ours;
  const { nonce } = event.seal;
  const head = nextHead(previousHead, { ...ours.seal, nonce });
  const worked = { previousHead, nonce, head };
  const isOurs = sameBytes(head, event.head);
  if (isOurs && (await database.transact((trx) => replaceHead(trx, ours, worked)))) return;
  throw new Diverged(
    `batch ${event.seal.number} on chain is not the one in this database: another service seals the ` +
      "same log, or the database was changed. Sealing has stopped; run VerifyLog",
  );
}

/** Where a seal stands, as the batch's row has it. */
export async function anchorOf(chain: Chain, event: FollowedEvent): Promise<StoredAnchor> {
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

/** Requests on their way to the node at once. */
const MOST_REQUESTS = 16;

/** Results in the order of the items, a bounded number of them in the making at once. */
export async function inParallel<T, R>(
  items: readonly T[],
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  for (let at = 0; at < items.length; at += MOST_REQUESTS) {
    results.push(...(await Promise.all(items.slice(at, at + MOST_REQUESTS).map(work))));
  }
  return results;
}
