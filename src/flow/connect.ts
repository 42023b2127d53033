import { sameBytes } from "../core/bytes.js";
import type { LogId } from "../core/head.js";
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
  options: {
    /** Whether an empty database may take over a log that has batches: to be rebuilt from it. */
    readonly mayHaveBatches: boolean;
  } = { mayHaveBatches: false },
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
  if (stored !== undefined) return stored;
  const found = { chainId, genesisHash, contract, log };
  const { number } = await chain.lastSealed(found);
  if (number > 0n && !options.mayHaveBatches) {
    throw new Misconfigured(
      `the log has ${number} batches on chain that this empty database does not know: bring them back ` +
        "with `anchord rebuild`, or use the database that sealed them, or another LOG_NAME",
    );
  }
  const deployBlock =
    number > 0n ? await firstSealBlock(chain, found) : (await chain.latestBlock()).number + 1;
  const identity = { ...found, deployBlock };
  await storeIdentity(database, identity);
  return (await storedIdentity(database)) ?? identity;
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
