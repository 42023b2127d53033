import { evidenceRegistryAbi } from "../../gen/contracts/evidence-registry.js";
import { hex0x, unhex } from "../core/bytes.js";
import type { ChainTransaction } from "../core/receipt.js";
import { announced, contractOf } from "./contracts.js";
import type { Call, Chain, EvidenceEvent, EvidenceItem } from "./port.js";
import type { Rpc, RpcLog } from "./rpc.js";
import { viewsOf } from "./views.js";

/** EvidenceRegistry's ABI. */
export const EVIDENCE_REGISTRY = contractOf(evidenceRegistryAbi);

/** The topic of an anchor's event. */
export const ANCHORED_TOPIC = EVIDENCE_REGISTRY.topic("EvidenceAnchored");

const IDENTITY = { name: "EvidenceRegistry", version: 1n };

/**
 * Gas limit of a call that anchors, and of each item in it, with the longest CID: half as much again as
 * the 24,000 and 30,000 that were measured.
 */
export const ANCHOR_GAS = { call: 36_000, each: 45_000 } as const;

/** What EvidenceRegistry answers. */
type EvidenceRegistryCalls = Pick<
  Chain,
  "isEvidenceRegistry" | "mayAnchor" | "evidenceAnchor" | "anchorCall"
>;

/** The evidence that a transaction's logs announce, of any EvidenceRegistry. */
export function anchoredIn(logs: readonly RpcLog[]): ChainTransaction["anchored"] {
  return announced(logs, ANCHORED_TOPIC).map(({ contract, indexed: [subjectKey, digest] }) => {
    return { contract, subjectKey: unhex(subjectKey), digest: unhex(digest) };
  });
}

/** What EvidenceRegistry answers, at the node behind an RPC. */
export function evidenceRegistryCalls(rpc: Rpc): EvidenceRegistryCalls {
  const views = viewsOf(rpc, EVIDENCE_REGISTRY, IDENTITY);
  return {
    isEvidenceRegistry: (contract) => views.isThere(contract),
    mayAnchor: (contract, account) => views.grants(contract, "ANCHORER_ROLE", account),
    evidenceAnchor: async (contract, subjectKey, digest) => {
      if (subjectKey.length !== 32 || digest.length !== 32) return undefined; // an edited row
      const key = [hex0x(subjectKey), hex0x(digest)];
      const answer = await views.find(contract, "evidenceOf", "NoEvidence", ...key);
      if (answer === undefined) return undefined;
      const anchor = answer["anchor"] as Record<string, unknown>;
      return {
        submitter: (anchor["submitter"] as string).toLowerCase(),
        time: Number(anchor["time"]),
        blockNumber: Number(anchor["blockNumber"]),
      };
    },
    anchorCall,
  };
}

function anchorCall(contract: string, items: readonly EvidenceItem[]): Call {
  const list = items.map(({ subjectKey, digest, ref, cid }) => ({
    subject: hex0x(subjectKey),
    digest: hex0x(digest),
    ref: hex0x(ref),
    cid: hex0x(cid),
  }));
  const data = EVIDENCE_REGISTRY.encode("anchorEvidence", [list]);
  return { to: contract, data, gas: ANCHOR_GAS.call + items.length * ANCHOR_GAS.each };
}

/** The anchor in a log of EvidenceRegistry. */
export function asEvidenceEvent(log: RpcLog): EvidenceEvent {
  const event = EVIDENCE_REGISTRY.decodeEvent("EvidenceAnchored", log.data, log.topics);
  return {
    type: "evidence",
    subjectKey: unhex(event["subject"] as string),
    digest: unhex(event["digest"] as string),
    ref: unhex(event["ref"] as string),
    cid: unhex(event["cid"] as string),
    submitter: (event["submitter"] as string).toLowerCase(),
    transactionHash: log.transactionHash,
    blockNumber: Number(log.blockNumber),
    blockHash: log.blockHash,
    logIndex: Number(log.logIndex),
  };
}
