import { fromBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { EntrySchema } from "../../../gen/ts/anchord/v1/receipt_pb.js";
import type { ReceiptSchema } from "../../../gen/ts/anchord/v1/receipt_pb.js";
import type { AuditLog } from "../../flow/audit-log.js";
import { storedIdentity } from "../../store/chain-position.js";
import type { StoredRecord } from "../../store/append.js";
import { anchorOf, identityOf, sealedOf } from "../convert.js";

/** A record's receipt at the stage that it has reached. */
export async function receiptMessage(
  { database, proofs, connection }: AuditLog,
  record: StoredRecord,
): Promise<MessageInitShape<typeof ReceiptSchema>> {
  const { entry } = record;
  const identity = connection()?.identity ?? (await storedIdentity(database));
  if (identity === undefined) return { entry };
  const proof = await proofs.prove(identity, record, fromBinary(EntrySchema, entry).subject);
  if (proof?.batch.anchor === undefined) return { entry };
  return {
    entry,
    identity: identityOf(proof.log),
    trail: { index: BigInt(proof.trailIndex), previousLeaf: proof.previousLeaf },
    inclusion: { leafIndex: BigInt(proof.leafIndex), path: [...proof.path] },
    batch: sealedOf(proof.batch),
    anchor: anchorOf(proof.batch.anchor),
  };
}
