import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  LogIdentitySchema,
  ReceiptSchema,
  SealedBatchSchema,
} from "../../gen/ts/anchord/v1/receipt_pb.js";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import type { AnchorSchema } from "../../gen/ts/anchord/v1/record_pb.js";
import { timeOfSeconds } from "../core/calendar.js";
import { hex0x } from "../core/bytes.js";
import type { LogId } from "../core/head.js";
import type { StoredRecord } from "../store/append.js";
import type { Progress, StoredAnchor, StoredBatch } from "../store/batches.js";
import { storedIdentity } from "../store/chain-position.js";
import { storedEntry } from "../store/entry.js";
import type { AuditLog } from "./audit-log.js";

/** A record's receipt at the stage that it has reached. Throws DATABASE_ALTERED. */
export async function receiptMessage(
  { database, proofs, connection }: AuditLog,
  record: StoredRecord,
): Promise<MessageInitShape<typeof ReceiptSchema>> {
  const { entry } = record;
  const identity = connection()?.identity ?? (await storedIdentity(database));
  if (identity === undefined) return { entry };
  const proof = await proofs.prove(identity, record, storedEntry(record).subject);
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

/** The state of the record at a position. */
export function stateOf(seq: number, { anchored, final }: Progress): RecordState {
  if (seq < final) return RecordState.FINAL;
  return seq < anchored ? RecordState.ANCHORED : RecordState.ACCEPTED;
}

/** A log as receipts name it. */
export function identityOf({
  chainId,
  contract,
  log,
}: LogId): MessageInitShape<typeof LogIdentitySchema> {
  return { chainId, contract, log };
}

/** What the head of a batch commits to. */
export function sealedOf({
  seal,
  previousHead,
}: StoredBatch): MessageInitShape<typeof SealedBatchSchema> {
  return { ...seal, previousHead };
}

/** Where a batch stands on the chain. */
export function anchorOf(anchor: StoredAnchor): MessageInitShape<typeof AnchorSchema> {
  return {
    transactionHash: hex0x(anchor.transactionHash),
    blockNumber: BigInt(anchor.blockNumber),
    blockHash: hex0x(anchor.blockHash),
    blockTime: timeOfSeconds(anchor.blockTime),
  };
}
