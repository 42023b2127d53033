import { sameBytes } from "../core/bytes.js";
import type { Chain, EvidenceEvent, SealedEvent } from "../chain/port.js";
import { eventsBetween } from "../chain/tail.js";
import type { FollowedEvent } from "../chain/tail.js";
import { lockTail } from "../store/append.js";
import { anchorBatch, findBatch } from "../store/batches.js";
import type { StoredAnchor } from "../store/batches.js";
import { chainPosition, lockedPosition } from "../store/chain-position.js";
import type { ChainPosition, StoredIdentity } from "../store/chain-position.js";
import type { Database } from "../store/database.js";
import { evidenceByKey } from "../store/evidence.js";
import type { StrangeAnchor } from "../store/evidence.js";
import { strangeAnchor } from "../store/evidence-rows.js";
import { appendFeed, feedBounds, Level, untoldLevels } from "../store/feed.js";
import { mineOperation } from "../store/operations.js";
import { isSlaNoted } from "../store/sla-check.js";
import {
  anchorOf,
  evidenceAnchorOf,
  noteEvidence,
  noteSla,
  requireOurs,
  sealedAt,
  slaNoteOf,
} from "./follow.js";
import type { Adopt, FollowedSla } from "./follow.js";

/** How far reading again has come. */
export interface SyncProgress {
  readonly blockNumber: number;
  readonly blocksRead: number;
  readonly blocksTotal: number;
  readonly batchesFound: number;
  readonly batchesMended: number;
  readonly evidenceFound: number;
  readonly evidenceMended: number;
  readonly deadlinesFound: number;
  readonly deadlinesMended: number;
  readonly done: boolean;
}

/**
 * Reads blocks that were followed before once more, and mends what the database missed of them. Blocks
 * before the log began and blocks not followed yet are left out; `to` 0 stands for the last followed.
 */
export async function* syncBlocks(
  database: Database,
  chain: Chain,
  identity: StoredIdentity,
  range: { readonly from: number; readonly to: number },
  adopt: Adopt,
): AsyncGenerator<SyncProgress> {
  const followed = (await chainPosition(database))?.blockNumber ?? 0;
  const from = Math.max(identity.deployBlock, range.from);
  const to = range.to === 0 ? followed : Math.min(range.to, followed);
  const blocksTotal = Math.max(0, to - from + 1);
  const counts = {
    batchesFound: 0,
    batchesMended: 0,
    evidenceFound: 0,
    evidenceMended: 0,
    deadlinesFound: 0,
    deadlinesMended: 0,
  };
  const progress = (blockNumber: number, done: boolean): SyncProgress => {
    const blocksRead = Math.max(0, blockNumber - from + 1);
    return { blockNumber, blocksRead, blocksTotal, ...counts, done };
  };
  for await (const part of eventsBetween(chain, identity, from, to)) {
    for (const event of part.events) {
      if (event.type === "sealed") {
        await requireOurs(database, event, adopt);
        counts.batchesFound += 1;
        if (await mendBatch(database, chain, event)) counts.batchesMended += 1;
      } else if (event.type === "evidence") {
        counts.evidenceFound += 1;
        if (await mendEvidence(database, event)) counts.evidenceMended += 1;
      } else {
        counts.deadlinesFound += 1;
        if (await mendSla(database, event)) counts.deadlinesMended += 1;
      }
    }
    yield progress(part.to, false);
  }
  yield progress(Math.max(from - 1, to), true);
}

/** Puts evidence where the chain has it. Returns whether anything was to be mended. */
export async function mendEvidence(
  database: Database,
  event: EvidenceEvent & FollowedEvent,
): Promise<boolean> {
  const found = evidenceAnchorOf(event);
  if (await isNoted(database, found)) return false;
  await database.transact(async (trx) => {
    requireFollowed(await lockedPosition(trx), found.anchor);
    await lockTail(trx, 0); // evidence may be accepted at this moment
    await noteEvidence(trx, event);
  });
  return true;
}

/** Whether an anchor is stored as the chain has it: with its evidence, or as one that has none here. */
async function isNoted(database: Database, found: StrangeAnchor): Promise<boolean> {
  const known = await database.read((db) => evidenceByKey(db, found));
  const strange = known === undefined ? await strangeAnchor(database, found) : undefined;
  const { anchor } = known ?? strange ?? { anchor: undefined };
  if (anchor === undefined || !samePlace(anchor, found.anchor)) return false;
  if (!sameBytes(anchor.submitter, found.anchor.submitter)) return false;
  if (strange === undefined) return true;
  return strange.logIndex === found.logIndex && sameBytes(strange.cid, found.cid);
}

/** Notes a change of a deadline as the chain has it. Returns whether anything was to be mended. */
async function mendSla(database: Database, event: FollowedSla): Promise<boolean> {
  const note = slaNoteOf(event);
  if (await database.read((db) => isSlaNoted(db, note))) return false;
  await database.transact(async (trx) => {
    requireFollowed(await lockedPosition(trx), note);
    await lockTail(trx, 0); // deadlines may be changed at this moment
    await noteSla(trx, [event]);
  });
  return true;
}

/**
 * Puts a batch where the chain has it, and tells what was not told of that. Returns whether anything was
 * to be mended. Of a feed that was pruned, nobody knows what it told.
 */
async function mendBatch(
  database: Database,
  chain: Chain,
  event: SealedEvent & FollowedEvent,
): Promise<boolean> {
  const number = Number(event.seal.number);
  const anchor = await anchorOf(chain, event);
  const stored = (await findBatch(database, number))?.anchor;
  const stands =
    stored !== undefined && samePlace(stored, anchor) && stored.gasUsed === anchor.gasUsed;
  if (stands && (await feedBounds(database)).first > 1) return false;
  const followed = await chainPosition(database);
  const { blockHash } = anchor;
  if (stands && followed !== undefined) {
    const levels = levelsOf(anchor, followed);
    const untold = await database.read((db) => untoldLevels(db, number, blockHash, levels));
    if (untold.length === 0) return false;
  }
  return database.transact(async (trx) => {
    const position = await lockedPosition(trx);
    requireFollowed(position, anchor);
    const levels = levelsOf(anchor, position);
    const untold = await untoldLevels(trx, number, blockHash, levels);
    if (stands && untold.length === 0) return false;
    await anchorBatch(trx, number, anchor);
    await mineOperation(trx, { kind: "SEAL", number }, anchor.transactionHash);
    const happenings = untold.map((level) => sealedAt(level)({ number, anchor }));
    await appendFeed(trx, happenings, position.finalNumber);
    return true;
  });
}

/** The levels at which a batch in a block stands. */
function levelsOf({ blockNumber }: StoredAnchor, { confirmedNumber, finalNumber }: ChainPosition) {
  return [
    Level.Provisional,
    ...(blockNumber <= confirmedNumber ? [Level.Confirmed] : []),
    ...(blockNumber <= finalNumber ? [Level.Final] : []),
  ];
}

/** Throws where the anchor's block is not one that was followed. */
function requireFollowed(
  { blockNumber: followed, blocks }: Awaited<ReturnType<typeof lockedPosition>>,
  { blockNumber, blockHash }: Pick<Place, "blockNumber" | "blockHash">,
): void {
  const known = blocks.find(({ number }) => number === blockNumber);
  if (followed < blockNumber)
    throw new Error(`block ${blockNumber} has left the chain while it was read: try again`);
  if (known !== undefined && !sameBytes(known.hash, blockHash))
    throw new Error(`block ${blockNumber} was replaced while it was read: try again`);
}

/** Where anything stands on the chain. */
type Place = Omit<StoredAnchor, "gasUsed">;

function samePlace(a: Place, b: Place): boolean {
  return (
    a.blockNumber === b.blockNumber &&
    a.blockTime === b.blockTime &&
    sameBytes(a.blockHash, b.blockHash) &&
    sameBytes(a.transactionHash, b.transactionHash)
  );
}
