import type { Kysely, Transaction } from "kysely";
import type { LogId } from "../core/head.js";
import { hex0x, unhex } from "../core/bytes.js";
import type { Database } from "./database.js";
import { text } from "./tables.js";
import type { Tables } from "./tables.js";

/** Which chain, contracts and log a database belongs to. */
export interface StoredIdentity extends LogId {
  /** Address of EvidenceRegistry: 0x and 40 lower-case hex digits; undefined while there is none. */
  readonly evidence: string | undefined;
  /** Address of SLARegistry: 0x and 40 lower-case hex digits; undefined while there is none. */
  readonly sla: string | undefined;
  /** Hash of the chain's block 0: 0x and 64 hex digits. */
  readonly genesisHash: string;
  /** Block at which following starts: nothing of the contract is before it. */
  readonly deployBlock: number;
}

/** How far the chain was followed. */
export interface ChainPosition {
  /** Number of the last block followed. */
  readonly blockNumber: number;
  /** Number of the last block that has its confirmations; −1 before there is one. */
  readonly confirmedNumber: number;
  /** Number of the last block that is final; −1 before there is one. */
  readonly finalNumber: number;
  /** How often it was moved: whoever moves it says from which of its places. */
  readonly moves: number;
}

/** A block that was followed. */
export interface FollowedBlock {
  readonly number: number;
  readonly hash: Uint8Array;
}

/** Which chain, contracts and log this database belongs to; undefined before the first contact. */
export async function storedIdentity(database: Database): Promise<StoredIdentity | undefined> {
  const row = await database.read((db) => db.selectFrom("identity").selectAll().executeTakeFirst());
  return (
    row && {
      chainId: chainIdIn(text(row.chain_id)),
      contract: hex0x(row.contract),
      evidence: addressIn(row.evidence_contract),
      sla: addressIn(row.sla_contract),
      log: row.log,
      genesisHash: hex0x(row.genesis_hash),
      deployBlock: Number(row.deploy_block),
    }
  );
}

/** A row that was edited by hand may have anything; 0 is no chain's id. */
function chainIdIn(column: string): bigint {
  return /^\d+$/.test(column) ? BigInt(column) : 0n;
}

function addressIn(column: Uint8Array | null): string | undefined {
  return column === null ? undefined : hex0x(column);
}

/** Fixes the identity at the first contact. The first of several daemons wins. */
export async function storeIdentity(database: Database, identity: StoredIdentity): Promise<void> {
  await database.transact(async (trx) => {
    const taken = await trx.selectFrom("identity").select("id").executeTakeFirst();
    if (taken !== undefined) return;
    await trx
      .insertInto("identity")
      .values({
        id: 1,
        chain_id: identity.chainId.toString(),
        contract: unhex(identity.contract),
        evidence_contract: identity.evidence === undefined ? null : unhex(identity.evidence),
        sla_contract: identity.sla === undefined ? null : unhex(identity.sla),
        log: identity.log,
        genesis_hash: unhex(identity.genesisHash),
        deploy_block: identity.deployBlock,
      })
      .execute();
    await trx
      .insertInto("chain_position")
      .values({
        id: 1,
        block_number: identity.deployBlock - 1,
        confirmed_number: -1,
        final_number: -1,
        moves: 0,
      })
      .execute();
  });
}

/** Fixes the registry of evidence of a database that has had none. The first of several daemons wins. */
export async function storeEvidenceContract(database: Database, evidence: string): Promise<void> {
  await database.transact((trx) =>
    trx
      .updateTable("identity")
      .set({ evidence_contract: unhex(evidence) })
      .where("evidence_contract", "is", null)
      .execute(),
  );
}

/**
 * Fixes the registry of deadlines of a database that has had none. Returns whether it was this one's turn:
 * the first of several daemons wins.
 */
export async function storeSlaContract(trx: Transaction<Tables>, sla: string): Promise<boolean> {
  const { numUpdatedRows } = await trx
    .updateTable("identity")
    .set({ sla_contract: unhex(sla) })
    .where("sla_contract", "is", null)
    .executeTakeFirstOrThrow();
  return numUpdatedRows > 0n;
}

/** How far the chain was followed; undefined before the first contact. */
export async function chainPosition(database: Database): Promise<ChainPosition | undefined> {
  const row = await database.read((db) =>
    db.selectFrom("chain_position").selectAll().executeTakeFirst(),
  );
  return row && position(row);
}

/** How far the chain was followed, and the blocks that are remembered; nobody moves it meanwhile. */
export async function lockedPosition(
  trx: Transaction<Tables>,
): Promise<ChainPosition & { readonly blocks: readonly FollowedBlock[] }> {
  await trx.updateTable("chain_position").set({ id: 1 }).where("id", "=", 1).execute();
  const row = await trx.selectFrom("chain_position").selectAll().executeTakeFirstOrThrow();
  return { ...position(row), blocks: await remembered(trx) };
}

/** Moves the position on from where it was; nobody moves it meanwhile. Throws where somebody else did. */
export async function movePosition(
  trx: Transaction<Tables>,
  from: ChainPosition,
  to: Omit<ChainPosition, "moves">,
): Promise<ChainPosition> {
  const position = { ...to, moves: from.moves + 1 };
  const { numUpdatedRows } = await trx
    .updateTable("chain_position")
    .set({
      block_number: position.blockNumber,
      confirmed_number: position.confirmedNumber,
      final_number: position.finalNumber,
      moves: position.moves,
    })
    .where("id", "=", 1)
    .where("moves", "=", from.moves)
    .executeTakeFirstOrThrow();
  if (numUpdatedRows > 0n) return position;
  throw new Error("another daemon follows the chain as well: this one goes on behind it");
}

/** The blocks that are remembered, newest first. */
export function followedBlocks(database: Database): Promise<FollowedBlock[]> {
  return database.read(remembered);
}

async function remembered(db: Kysely<Tables>): Promise<FollowedBlock[]> {
  const rows = await db.selectFrom("blocks").selectAll().orderBy("number", "desc").execute();
  return rows.map(({ number, hash }) => ({ number: Number(number), hash }));
}

function position(row: {
  block_number: number;
  confirmed_number: number;
  final_number: number;
  moves: number;
}): ChainPosition {
  return {
    blockNumber: Number(row.block_number),
    confirmedNumber: Number(row.confirmed_number),
    finalNumber: Number(row.final_number),
    moves: Number(row.moves),
  };
}

/** Remembers blocks in place of any of the same number. */
export async function rememberBlocks(
  trx: Transaction<Tables>,
  blocks: readonly FollowedBlock[],
): Promise<void> {
  if (blocks.length === 0) return;
  const numbers = blocks.map(({ number }) => number);
  await trx.deleteFrom("blocks").where("number", "in", numbers).execute();
  await trx
    .insertInto("blocks")
    .values([...blocks])
    .execute();
}

/** Forgets blocks below a number (they are final) or above one (they are gone). */
export async function forgetBlocks(
  trx: Transaction<Tables>,
  range: { readonly below: number } | { readonly above: number },
): Promise<void> {
  await (
    "below" in range
      ? trx.deleteFrom("blocks").where("number", "<", range.below)
      : trx.deleteFrom("blocks").where("number", ">", range.above)
  ).execute();
}
