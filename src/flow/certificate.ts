import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ReceiptSchema } from "../../gen/ts/anchord/v1/receipt_pb.js";
import { SLAVerdict } from "../../gen/ts/anchord/v1/sla_pb.js";
import type { SLACertificateSchema } from "../../gen/ts/anchord/v1/sla_pb.js";
import { hex, hex0x, sameBytes } from "../core/bytes.js";
import { CERTIFICATE_FORMAT } from "../core/certificate.js";
import { AnchordError } from "../core/errors.js";
import { verdictOf } from "../core/sla.js";
import type { Cycle, SlaChange } from "../core/sla.js";
import type { Block, Chain } from "../chain/port.js";
import { findRecord } from "../store/records.js";
import { slaHistory } from "../store/sla.js";
import type { StoredSla } from "../store/sla.js";
import type { StoredSlaEvent } from "../store/sla-events.js";
import type { AuditLog } from "./audit-log.js";
import { receiptMessage } from "./receipt-message.js";
import type { SlaRoom } from "./sla.js";

/** How a deadline stood on chain, and the block by which it did. */
interface Standing {
  readonly cycle: Cycle;
  readonly asOf: Block;
}

/**
 * The certificate of a deadline, by what the chain says now. Throws SLA_REFUSED where it has neither been met
 * nor passed, CHAIN_UNAVAILABLE.
 */
export async function certificateOf(
  { log }: SlaRoom,
  sla: StoredSla,
): Promise<MessageInitShape<typeof SLACertificateSchema>> {
  const { chain, identity } = log.connection() ?? unreached();
  const { sla: contract, chainId } = identity;
  if (contract === undefined) return unreached();
  const { cycle, asOf } = await standingOf(chain, contract, sla);
  const verdict = verdictOf(cycle, asOf.time);
  if (verdict === undefined) throw tooEarly(sla, "has neither been met nor passed");
  const { events } = await log.database.read((db) => slaHistory(db, sla));
  const [set, met] = await Promise.all([proofOf(log, events, "SET"), proofOf(log, events, "MET")]);
  return {
    format: CERTIFICATE_FORMAT,
    chainId,
    contract,
    subject: nameOf(sla),
    subjectKey: hex(sla.subjectKey),
    cycle: cycle.number,
    verdict: SLAVerdict[`SLA_VERDICT_${verdict}`],
    deadline: timestamp(cycle.deadline),
    level: cycle.raised,
    extensions: cycle.extensions,
    asOfTime: timestamp(asOf.time),
    asOfBlock: BigInt(asOf.number),
    ...(set && { setReceipt: set.receipt, setTransactionHash: set.transactionHash }),
    ...(cycle.meetTime !== undefined && {
      meetTime: timestamp(cycle.meetTime),
      ...(met && { meetReceipt: met.receipt, meetTransactionHash: met.transactionHash }),
    }),
  };
}

/** What is not met now was not met before either; what is met stays so. Hence the block before, or the one after. */
async function standingOf(chain: Chain, contract: string, sla: StoredSla): Promise<Standing> {
  if (sla.state === "FAILED") throw tooEarly(sla, "was refused by the chain");
  const before = await chain.latestBlock();
  const cycle = await chain.slaCycle(contract, sla.subjectKey, sla.cycle);
  if (cycle === undefined) throw tooEarly(sla, "is not on the chain");
  return { cycle, asOf: cycle.state === "MET" ? await chain.latestBlock() : before };
}

/** The receipt of the record that a change on chain names, and its transaction; undefined where there is none. */
async function proofOf(
  log: AuditLog,
  events: readonly StoredSlaEvent[],
  kind: SlaChange["kind"],
): Promise<
  | { readonly receipt: MessageInitShape<typeof ReceiptSchema>; readonly transactionHash: string }
  | undefined
> {
  const event = events.find(({ change }) => change.kind === kind);
  const { recordId, ref, transactionHash } = event ?? {};
  // A stranger's change names no record of ours: ours was made of it.
  if (recordId === undefined || !ref || !transactionHash || !sameBytes(recordId, ref))
    return undefined;
  const record = await findRecord(log.database, recordId);
  const receipt = record && (await receiptMessage(log, record));
  return receipt?.anchor && { receipt, transactionHash: hex0x(transactionHash) };
}

function tooEarly(sla: StoredSla, why: string): AnchordError {
  const message = `the deadline for ${nameOf(sla)} ${why}: there is nothing to certify yet`;
  return new AnchordError("SLA_REFUSED", message);
}

function nameOf({ subject, subjectKey }: StoredSla): string {
  return subject === "" ? hex(subjectKey) : subject;
}

function unreached(): never {
  throw new AnchordError("CHAIN_UNAVAILABLE", "the chain was not reached yet: try again");
}

function timestamp(seconds: number) {
  return { seconds: BigInt(seconds), nanos: 0 };
}
