import { sameBytes } from "../core/bytes.js";
import type { LogId } from "../core/head.js";
import type { Chain } from "../chain/port.js";
import type { Database } from "../store/database.js";
import { storedIdentity, storeEvidenceContract, storeIdentity } from "../store/chain-position.js";
import type { StoredIdentity } from "../store/chain-position.js";

/** The configuration and the chain do not fit together; the message says what to change. */
export class Misconfigured extends Error {
  override readonly name = "Misconfigured";
}

/** The contracts and the log, as the configuration names them. */
export type ConfiguredLog = Pick<StoredIdentity, "contract" | "evidence" | "log">;

/**
 * Makes sure that chain, contracts, log and database belong together, and fixes it at the first contact;
 * the registry of evidence at the first where there is one. Throws Misconfigured where they do not;
 * rejects with CHAIN_UNAVAILABLE to be tried again.
 */
export async function connectLog(
  database: Database,
  chain: Chain,
  { contract, evidence, log }: ConfiguredLog,
  options: {
    /** Whether an empty database may take over a log that has batches: to be rebuilt from it. */
    readonly mayHaveBatches: boolean;
  } = { mayHaveBatches: false },
): Promise<StoredIdentity> {
  const chainId = await chain.chainId();
  const genesisHash = await chain.genesisHash();
  const found = { chainId, genesisHash, contract, evidence, log };
  const stored = await storedIdentity(database);
  if (stored !== undefined) checkSame(stored, found);
  await requireAuditLog(chain, found);
  if (evidence !== undefined) await requireRegistry(chain, { chainId, evidence });
  const identity = stored ?? (await firstContact(database, chain, found, options.mayHaveBatches));
  if (evidence === undefined || identity.evidence !== undefined) return identity;
  await storeEvidenceContract(database, evidence);
  return asStored(database, { ...identity, evidence });
}

type Found = Omit<StoredIdentity, "deployBlock">;

/** Fixes which log the database belongs to. Throws where the log has batches that it may not have. */
async function firstContact(
  database: Database,
  chain: Chain,
  found: Found,
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
    number > 0n ? await firstSealBlock(chain, found) : (await chain.latestBlock()).number + 1;
  await storeIdentity(database, { ...found, deployBlock });
  return asStored(database, { ...found, deployBlock });
}

/** What the database has after it was told: another daemon may have been first. */
async function asStored(database: Database, told: StoredIdentity): Promise<StoredIdentity> {
  const stored = (await storedIdentity(database)) ?? told;
  checkSame(stored, told);
  return stored;
}

async function requireAuditLog(
  chain: Chain,
  { chainId, contract }: Pick<Found, "chainId" | "contract">,
): Promise<void> {
  if (await chain.isAuditLog(contract)) return;
  const hint = (await chain.isEvidenceRegistry(contract))
    ? "what stands there is EvidenceRegistry, which belongs into EVIDENCE_CONTRACT_ADDRESS: "
    : "";
  throw new Misconfigured(
    `there is no AuditLog contract of anchord at ${contract} on chain ${chainId}: ${hint}deploy one with ` +
      "`npm run migrate` and set BLOCKCHAIN_CONTRACT_ADDRESS to the address that it prints",
  );
}

async function requireRegistry(
  chain: Chain,
  { chainId, evidence }: { readonly chainId: bigint; readonly evidence: string },
): Promise<void> {
  if (await chain.isEvidenceRegistry(evidence)) return;
  const hint = (await chain.isAuditLog(evidence))
    ? "what stands there is AuditLog, which belongs into BLOCKCHAIN_CONTRACT_ADDRESS: "
    : "";
  throw new Misconfigured(
    `there is no EvidenceRegistry contract of anchord at ${evidence} on chain ${chainId}: ${hint}deploy ` +
      "one with `npm run migrate` and set EVIDENCE_CONTRACT_ADDRESS to the address that it prints",
  );
}

function checkSame(stored: Found, found: Found): void {
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
  if (stored.evidence === undefined || stored.evidence === found.evidence) return;
  throw new Misconfigured(
    `the evidence in this database is anchored in contract ${stored.evidence}, not in ` +
      `${found.evidence ?? "none"}: set EVIDENCE_CONTRACT_ADDRESS to ${stored.evidence}`,
  );
}

/** The first block that is not older than the first batch, whose time the contract knows. */
async function firstSealBlock(chain: Chain, log: LogId): Promise<number> {
  const first = await chain.batch(log, 1n);
  let low = 0;
  let high = (await chain.latestBlock()).number;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const block = await chain.block(middle);
    if (block !== undefined && BigInt(block.time) >= (first?.time ?? 0n)) high = middle;
    else low = middle + 1;
  }
  return low;
}
