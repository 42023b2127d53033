import type { Chain } from "../chain/port.js";
import type { StoredIdentity } from "../store/chain-position.js";
import type { Database } from "../store/database.js";
import type { Acceptor } from "./accept.js";
import type { Adopt } from "./follow.js";
import type { ProgressWatch } from "./progress.js";
import type { ProofMaker } from "./receipts.js";
import type { Scale } from "../core/record.js";

/** The log as the API works with it. */
export interface AuditLog {
  readonly database: Database;
  readonly acceptor: Acceptor;
  readonly watch: ProgressWatch;
  readonly proofs: ProofMaker;
  /** The scale of threats that do not name theirs. */
  readonly scale: Scale;
  /** The record types that callers may record; undefined for all. */
  readonly recordTypes?: readonly string[] | undefined;
  /** The chain; undefined until it was first reached. */
  readonly connection: () => ChainConnection | undefined;
  /** Says that sealing was asked for. */
  readonly sealNow: () => void;
}

/** A chain that was found to be the right one. */
export interface ChainConnection {
  readonly chain: Chain;
  readonly identity: StoredIdentity;
  /** The account that seals: 0x and 40 hex digits; empty where this service has no key. */
  readonly sealer: string;
  readonly adopt: Adopt;
}
