import { create } from "@bufbuild/protobuf";
import { EvidenceAddedSchema } from "../../gen/ts/anchord/v1/record_pb.js";
import { hex } from "../core/bytes.js";
import { cidOfBytes } from "../core/cid.js";
import type { EncodedRecord } from "../core/record.js";
import { chainPosition } from "../store/chain-position.js";
import type { Database } from "../store/database.js";
import { appendEvidence } from "../store/evidence.js";
import { anchorEvidence, strangeAnchors } from "../store/evidence-anchors.js";
import type { StrangeAnchor } from "../store/evidence.js";
import { chainRecord } from "./chain-record.js";
import { recordStrangeSlas } from "./strangers-sla.js";

/** Anchors that are recorded in one go. */
const MOST_ANCHORS = 100;

/**
 * Records what the chain has without this service having asked for it, once it is final: anchors of evidence, and
 * changes of deadlines. Requires that the chain was followed to its end: what this service did, but is missing
 * from a restored database, has come back by then with its batch. Returns how many records there are more.
 */
export async function recordStrangers(database: Database, chainId: bigint): Promise<number> {
  const finalNumber = (await chainPosition(database))?.finalNumber ?? -1;
  const anchors = await recordStrangeAnchors(database, chainId, finalNumber);
  return anchors + (await recordStrangeSlas(database, chainId, finalNumber));
}

async function recordStrangeAnchors(
  database: Database,
  chainId: bigint,
  finalNumber: number,
): Promise<number> {
  const strangers = await strangeAnchors(database, finalNumber, MOST_ANCHORS);
  for (const stranger of strangers) {
    const record = recordOf(stranger, chainId);
    const { subjectKey, digest, cid } = stranger;
    const columns = {
      subjectKey,
      digest,
      cid: cidOfBytes(cid)?.text ?? "",
      size: undefined,
    } as const;
    await database.transact(async (trx) => {
      const { type } = await appendEvidence(trx, record, { ...columns, content: "NONE" });
      if (type !== "appended") await anchorEvidence(trx, stranger); // it was handed in meanwhile
    });
  }
  return strangers.length;
}

function recordOf(stranger: StrangeAnchor, chainId: bigint): EncodedRecord {
  const { subjectKey, digest, cid, logIndex, anchor } = stranger;
  const value = create(EvidenceAddedSchema, {
    sha256: hex(digest),
    cid: cidOfBytes(cid)?.text ?? "",
  });
  return chainRecord({ chainId, logIndex, ...anchor, account: anchor.submitter }, hex(subjectKey), {
    case: "evidenceAdded",
    value,
  });
}
