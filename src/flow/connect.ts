import { sameBytes } from "../core/bytes.js";
import { AnchordError, Misconfigured } from "../core/errors.js";
import type { LogId } from "../core/head.js";
import type { Chain } from "../chain/port.js";
import { eventsBetween } from "../chain/tail.js";
import { lockTail } from "../store/append.js";
import type { Database } from "../store/database.js";
import {
  lockedPosition,
  storedIdentity,
  storeEvidenceContract,
  storeIdentity,
  storeSlaContract,
} from "../store/chain-position.js";
import type { StoredIdentity } from "../store/chain-position.js";
import { noteSla } from "./follow.js";
import type { FollowedSla } from "./follow.js";

/** The contracts and the log, as the configuration names them. */
export type ConfiguredLog = Pick<StoredIdentity, "contract" | "evidence" | "sla" | "log">;

/**
 * Makes sure that chain, contracts, log and database belong together, and fixes it at the first contact;
 * a registry at the first where there is one. Throws Misconfigured where they do not;
 * rejects with CHAIN_UNAVAILABLE to be tried again.
 */
export async function connectLog(
  database: Database,
  chain: Chain,
  { contract, evidence, sla, log }: ConfiguredLog,
  options: {
    /** Whether an empty database may take over a log that has batches: to be rebuilt from it. */
    readonly mayHaveBatches: boolean;
  } = { mayHaveBatches: false },
): Promise<StoredIdentity> {
  const chainId = await chain.chainId();
  const genesisHash = await chain.genesisHash();
  const found = { chainId, genesisHash, contract, evidence, sla, log };
  const stored = await storedIdentity(database);
  if (stored !== undefined) checkSame(stored, found);
  await requireContract(chain, found, "AuditLog", contract);
  if (evidence !== undefined) await requireContract(chain, found, "EvidenceRegistry", evidence);
  if (sla !== undefined) await requireContract(chain, found, "SLARegistry", sla);
  const identity = stored ?? (await firstContact(database, chain, found, options.mayHaveBatches));
  if (evidence !== undefined && identity.evidence === undefined) {
    await storeEvidenceContract(database, evidence);
  }
  if (sla !== undefined && identity.sla === undefined) {
    await takeSlaRegistry(database, chain, { ...identity, sla });
  }
  return asStored(database, { ...identity, evidence, sla });
}

/** A log as the configuration and the chain name it. */
export type NamedLog = Omit<StoredIdentity, "deployBlock">;

/** Fixes which log the database belongs to. Throws where the log has batches that it may not have. */
async function firstContact(
  database: Database,
  chain: Chain,
  found: NamedLog,
  mayHaveBatches: boolean,
): Promise<StoredIdentity> {
  const { number } = await chain.lastSealed(found);
  if (number > 0n && !mayHaveBatches) {
    throw new Misconfigured(
      `the log has ${number} batches on chain that this empty database does not know: bring them back ` +
        "with `anchord rebuild`, or use the database that sealed them, or another LOG_NAME",
    );
  }
  const deployBlock =
    number > 0n ? await firstBlock(chain, found) : (await chain.latestBlock()).number + 1;
  await storeIdentity(database, { ...found, deployBlock });
  return asStored(database, { ...found, deployBlock });
}

/** What the database has after it was told: another daemon may have been first. */
async function asStored(database: Database, told: StoredIdentity): Promise<StoredIdentity> {
  const stored = (await storedIdentity(database)) ?? told;
  checkSame(stored, told);
  return stored;
}

/** How each contract is told, and the setting of its address. */
const CONTRACTS = {
  AuditLog: { check: "isAuditLog", setting: "BLOCKCHAIN_CONTRACT_ADDRESS" },
  EvidenceRegistry: { check: "isEvidenceRegistry", setting: "EVIDENCE_CONTRACT_ADDRESS" },
  SLARegistry: { check: "isSlaRegistry", setting: "SLA_CONTRACT_ADDRESS" },
} as const;

/** Throws Misconfigured where another contract, or none, stands at an address. */
export async function requireContract(
  chain: Chain,
  { chainId }: Pick<NamedLog, "chainId">,
  name: keyof typeof CONTRACTS,
  address: string,
): Promise<void> {
  const { check, setting } = CONTRACTS[name];
  if (await chain[check](address)) return;
  throw new Misconfigured(
    `there is no ${name} contract of anchord at ${address} on chain ${chainId}: ` +
      `${await hintAt(chain, address)}deploy one with \`npm run migrate\` and set ${setting} to the ` +
      "address that it prints",
  );
}

/** What is wrong with an address: whose it is, where it is another contract's of anchord. */
async function hintAt(chain: Chain, address: string): Promise<string> {
  for (const [name, { check, setting }] of Object.entries(CONTRACTS)) {
    if (!(await chain[check](address))) continue;
    return `what stands there is ${name}, which belongs into ${setting}: `;
  }
  return "another contract, such as one of a system that anchord replaces, does not do: ";
}

/** Throws Misconfigured where the database belongs to another log than the one that was found. */
export function checkSame(stored: NamedLog, found: NamedLog): void {
  const differ = (what: string, theirs: unknown, ours: unknown) =>
    new Misconfigured(
      `this database belongs to ${what} ${ours}, but the configuration leads to ${theirs}: ` +
        "use the database of that chain, or an empty one",
    );
  if (stored.chainId !== found.chainId) throw differ("chain", found.chainId, stored.chainId);
  if (stored.genesisHash !== found.genesisHash) {
    throw differ("the chain that starts with block", found.genesisHash, stored.genesisHash);
  }
  if (stored.contract !== found.contract) {
    throw differ("contract", found.contract, stored.contract);
  }
  if (!sameBytes(stored.log, found.log)) throw differ("another log:", "LOG_NAME", "LOG_NAME");
  checkRegistry(
    "evidence in this database is anchored",
    "EvidenceRegistry",
    stored.evidence,
    found.evidence,
  );
  checkRegistry("deadlines in this database are kept", "SLARegistry", stored.sla, found.sla);
}

function checkRegistry(
  what: string,
  name: keyof typeof CONTRACTS,
  stored: string | undefined,
  found: string | undefined,
): void {
  if (stored === undefined || stored === found) return;
  throw new Misconfigured(
    `the ${what} in contract ${stored}, not in ${found ?? "none"}: set ${CONTRACTS[name].setting} to ${stored}`,
  );
}

/**
 * Fixes the registry of deadlines of a log that was followed without it, together with what it has announced
 * since the log began. What is not final is read again where following moves on meanwhile.
 */
async function takeSlaRegistry(
  database: Database,
  chain: Chain,
  identity: StoredIdentity & { readonly sla: string },
): Promise<void> {
  const settled: FollowedSla[] = [];
  let from = identity.deployBlock;
  for (;;) {
    const { blockNumber, finalNumber, moves } = await database.transact(lockedPosition);
    await requireHead(chain, blockNumber);
    settled.push(...(await slaEvents(chain, identity, from, finalNumber)));
    from = Math.max(from, finalNumber + 1);
    const recent = await slaEvents(chain, identity, from, blockNumber);
    const isTaken = await database.transact(async (trx) => {
      if ((await lockedPosition(trx)).moves !== moves) return false;
      if (!(await storeSlaContract(trx, identity.sla))) return true; // another daemon has
      await lockTail(trx, 0); // deadlines may be changed at this moment
      await noteSla(trx, [...settled, ...recent]);
      return true;
    });
    if (isTaken) return;
  }
}

async function slaEvents(
  chain: Chain,
  of: StoredIdentity,
  from: number,
  to: number,
): Promise<FollowedSla[]> {
  const found: FollowedSla[] = [];
  for await (const { events } of eventsBetween(chain, of, from, to)) {
    found.push(...events.filter((event) => event.type === "sla"));
  }
  return found;
}

/** Blocks that a node does not have yet would be taken for empty ones. */
async function requireHead(chain: Chain, blockNumber: number): Promise<void> {
  const { number } = await chain.latestBlock();
  if (number >= blockNumber) return;
  throw new AnchordError(
    "CHAIN_UNAVAILABLE",
    `the node has ${number} blocks, but ${blockNumber} were followed: it lags. Try again, or ask another node`,
  );
}

/** The registries may have been told of what is in the first batch before that was sealed: so long, in seconds. */
const HEAD_START = 3_600n;

/** A block before which there is nothing of a log, by the time of its first batch, which the contract knows. */
async function firstBlock(chain: Chain, log: LogId): Promise<number> {
  const first = await chain.batch(log, 1n);
  const time = (first?.time ?? 0n) - HEAD_START;
  let low = 0;
  let high = (await chain.latestBlock()).number;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const block = await chain.block(middle);
    if (block !== undefined && BigInt(block.time) >= time) high = middle;
    else low = middle + 1;
  }
  return low;
}
