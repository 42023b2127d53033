import type { Contract, Web3 } from "web3";
import { slaRegistryAbi } from "../../gen/contracts/sla-registry.js";
import { hex0x, sha256 } from "../../src/core/bytes.js";
import { bytecodeOf } from "./compiled.js";

/** SLARegistry as web3 calls it. */
export type SLARegistry = Contract<typeof slaRegistryAbi>;

/** Deploys an SLARegistry; `admin` pays. */
export async function deploySLARegistry(
  web3: Web3,
  admin: string,
  manager: string,
): Promise<SLARegistry> {
  const deployment = new web3.eth.Contract(slaRegistryAbi).deploy({
    data: bytecodeOf("SLARegistry"),
    arguments: [admin, manager],
  });
  const contract = await deployment.send({ from: admin, gas: "4000000" });
  return contract as unknown as SLARegistry;
}

/** Id of the subject of that name, as the contract takes it. */
export function slaIdOf(subject: string): string {
  return hex0x(sha256(Buffer.from(subject)));
}
