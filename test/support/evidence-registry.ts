import type { Contract, Web3 } from "web3";
import { evidenceRegistryAbi } from "../../gen/contracts/evidence-registry.js";
import { hex0x, sha256 } from "../../src/core/bytes.js";
import type { EvidenceItem } from "../../src/chain/port.js";
import { bytecodeOf } from "./compiled.js";

/** EvidenceRegistry as web3 calls it. */
export type EvidenceRegistry = Contract<typeof evidenceRegistryAbi>;

/** Deploys an EvidenceRegistry; `admin` pays. */
export async function deployEvidenceRegistry(
  web3: Web3,
  admin: string,
  anchorer: string,
): Promise<EvidenceRegistry> {
  const deployment = new web3.eth.Contract(evidenceRegistryAbi).deploy({
    data: bytecodeOf("EvidenceRegistry"),
    arguments: [admin, anchorer],
  });
  const contract = await deployment.send({ from: admin, gas: "3000000" });
  return contract as unknown as EvidenceRegistry;
}

/** Evidence made up of a name, with a CID as long as any may be. */
export function evidenceNamed(name: string, changes: Partial<EvidenceItem> = {}): EvidenceItem {
  const digestOf = (part: string) => sha256(Buffer.from(`${part} ${name}`));
  const cid = Buffer.concat([digestOf("cid"), digestOf("more")]);
  const [subjectKey, digest, ref] = [digestOf("subject"), digestOf("file"), digestOf("record")];
  return { subjectKey, digest, ref, cid, ...changes };
}

/** Evidence as the contract takes it. */
export function asArgument({ subjectKey, digest, ref, cid }: EvidenceItem) {
  return {
    subject: hex0x(subjectKey),
    digest: hex0x(digest),
    ref: hex0x(ref),
    cid: hex0x(cid),
  };
}
