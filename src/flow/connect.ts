import { sameBytes } from "../core/bytes.js";
import type { Chain } from "../chain/port.js";
import type { Database } from "../store/database.js";
import { storedIdentity, storeIdentity } from "../store/chain-position.js";
import type { StoredIdentity } from "../store/chain-position.js";

/** The configuration and the chain do not fit together; the message says what to change. */
export class Misconfigured extends Error {
  override readonly name = "Misconfigured";
}

/**
 * Makes sure that chain, contract, log and database belong together, and fixes it at the first
 * contact. Throws Misconfigured where they do not; rejects with CHAIN_UNAVAILABLE to be tried again.
 */
export async function connectLog(
  database: Database,
  chain: Chain,
  contract: string,
  log: Uint8Array,
): Promise<StoredIdentity> {
  const chainId = await chain.chainId();
  const genesisHash = await chain.genesisHash();
  const stored = await storedIdentity(database);
  if (stored !== undefined) checkSame(stored, { chainId, genesisHash, contract, log });
  if (!(await chain.isAuditLog(contract))) {
    throw new Misconfigured(
      `there is no AuditLog contract of anchord at ${contract} on chain ${chainId}: deploy one with ` +
        "`npm run migrate` and set BLOCKCHAIN_CONTRACT_ADDRESS to the address that it prints",
    );
  }
  return stored ?? (await firstContact(database, chain, { chainId, genesisHash, contract, log }));
}

type Found = Omit<StoredIdentity, "deployBlock">;

function checkSame(stored: StoredIdentity, found: Found): void {
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
}

async function firstContact(
  database: Database,
  chain: Chain,
  found: Found,
): Promise<StoredIdentity> {
  const latest = await chain.latestBlock();
  const { number } = await chain.lastSealed(found);
  if (number > 0n) {
    throw new Misconfigured(
      `the log has ${number} batches on chain that this empty database does not know: use the ` +
        "database that sealed them, or another LOG_NAME",
    );
  }
  const identity = { ...found, deployBlock: latest.number + 1 };
  await storeIdentity(database, identity);
  return (await storedIdentity(database)) ?? identity;
}
