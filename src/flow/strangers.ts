import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { EvidenceAddedSchema } from "../../gen/ts/anchord/v1/record_pb.js";
import { hex, hex0x, sha256 } from "../core/bytes.js";
import { cidOfBytes } from "../core/cid.js";
import { CHAIN_CALLER } from "../core/evidence.js";
import { canonicalHash, encodeRecord } from "../core/record.js";
import type { EncodedRecord } from "../core/record.js";
import { chainPosition } from "../store/chain-position.js";
import type { Database } from "../store/database.js";
import { appendEvidence } from "../store/evidence.js";
import { anchorEvidence, strangeAnchors } from "../store/evidence-anchors.js";
import type { StrangeAnchor } from "../store/evidence.js";

/** Anchors that are recorded in one go. */
const MOST_ANCHORS = 100;

/**
 * Records evidence that somebody anchored without this service, once it is final. Requires that the chain
 * was followed to its end: what was anchored by this service, but is missing from a restored database, has
 * come back by then with its batch. Returns how many records there are more.
 */
export async function recordStrangers(database: Database, chainId: bigint): Promise<number> {
  const finalNumber = (await chainPosition(database))?.finalNumber ?? -1;
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

/** The record of an anchor: everything in it is the chain's, so that every database makes the same. */
function recordOf(stranger: StrangeAnchor, chainId: bigint): EncodedRecord {
  const { subjectKey, digest, cid, logIndex, anchor } = stranger;
  const place = {
    chainId: chainId.toString(),
    transaction: hex0x(anchor.transactionHash),
    logIndex,
  };
  const hash = canonicalHash(place);
  const time = anchor.blockTime * 1_000;
  const value = create(EvidenceAddedSchema, {
    sha256: hex(digest),
    cid: cidOfBytes(cid)?.text ?? "",
  });
  const id = `${place.chainId}/${place.transaction}/${logIndex}`;
  return encodeRecord(
    {
      caller: CHAIN_CALLER,
      subject: hex(subjectKey),
      actor: hex0x(anchor.submitter),
      occurTime: timestampFromMs(time),
      request: { id, hash },
      body: { case: "evidenceAdded", value },
    },
    { now: new Date(time), salt: sha256(hash).subarray(0, 16) },
  );
}
