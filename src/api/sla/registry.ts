import { AnchordError } from "../../core/errors.js";
import type { ChainConnection } from "../../flow/audit-log.js";
import type { SlaRoom } from "../../flow/sla.js";
import { requireChain } from "../audit/proof.js";

/** The chain, and the registry of deadlines on it. */
export interface Registry {
  readonly chain: ChainConnection["chain"];
  /** Address: 0x and 40 lower-case hex digits. */
  readonly contract: string;
}

/** Throws SLA_UNCONFIGURED where the service has no registry, whether or not the chain was reached. */
export async function requireConfigured({ isConfigured }: SlaRoom): Promise<void> {
  if (!(await isConfigured())) throw unconfigured();
}

/** The registry. Throws SLA_UNCONFIGURED, CHAIN_UNAVAILABLE before the chain was first reached. */
export async function requireRegistry(room: SlaRoom): Promise<Registry> {
  await requireConfigured(room);
  const { chain, identity } = requireChain(room.log);
  if (identity.sla === undefined) throw unconfigured();
  return { chain, contract: identity.sla };
}

function unconfigured(): AnchordError {
  return new AnchordError(
    "SLA_UNCONFIGURED",
    "this service has no SLARegistry contract: deploy it with `npm run migrate` and set " +
      "SLA_CONTRACT_ADDRESS",
  );
}
