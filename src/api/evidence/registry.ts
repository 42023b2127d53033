import { unconfigured } from "../../core/evidence.js";
import type { ChainConnection } from "../../flow/audit-log.js";
import type { EvidenceRoom } from "../../flow/evidence.js";
import { requireChain } from "../audit/proof.js";

/** The chain, and the registry on it. */
export interface Registry {
  readonly chain: ChainConnection["chain"];
  readonly chainId: bigint;
  /** Address: 0x and 40 lower-case hex digits. */
  readonly contract: string;
}

/** Throws EVIDENCE_UNCONFIGURED where the service has no registry, whether or not the chain was reached. */
export async function requireConfigured({ isConfigured }: EvidenceRoom): Promise<void> {
  if (!(await isConfigured())) throw unconfigured();
}

/** The registry. Throws EVIDENCE_UNCONFIGURED, CHAIN_UNAVAILABLE before the chain was first reached. */
export async function requireRegistry(room: EvidenceRoom): Promise<Registry> {
  await requireConfigured(room);
  const { chain, identity } = requireChain(room.log);
  const { chainId, evidence: contract } = identity;
  if (contract === undefined) throw unconfigured();
  return { chain, chainId, contract };
}
