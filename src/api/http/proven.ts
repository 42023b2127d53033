import { Readable } from "node:stream";
import { create } from "@bufbuild/protobuf";
import { ReceiptSchema } from "../../../gen/ts/anchord/v1/receipt_pb.js";
import type { Entry } from "../../../gen/ts/anchord/v1/receipt_pb.js";
import type { RecordState } from "../../../gen/ts/anchord/v1/record_pb.js";
import { hex } from "../../core/bytes.js";
import { isChainAway } from "../../core/errors.js";
import { chainThrough, checkReceipt } from "../../core/receipt.js";
import type { ReceiptChain, ReceiptCheck } from "../../core/receipt.js";
import { decodeEntry } from "../../core/record.js";
import type { AuditLog, ChainConnection } from "../../flow/audit-log.js";
import { receiptMessage, stateOf } from "../../flow/receipt-message.js";
import { batchOfSeq, progress } from "../../store/batches.js";
import type { StoredAnchor } from "../../store/batches.js";
import type { PlacedRecord } from "../../store/records.js";
import { pipelined } from "../pipeline.js";

/** A record as the database has it, and what the chain says of it. */
export interface ProvenRecord {
  /** As the database names it: 64 lower-case hex digits. */
  readonly id: string;
  /** Undefined where it cannot be read: its bytes were altered. */
  readonly entry: Entry | undefined;
  readonly state: RecordState;
  /** Where its batch stands on the chain; undefined while it does not. */
  readonly anchor: StoredAnchor | undefined;
  /**
   * What the chain itself says of the record, and of its place behind the one before it in its trail;
   * undefined where the chain cannot be asked.
   */
  readonly verdict: ReceiptCheck["verdict"] | undefined;
}

/** How many records are proven at once. */
const AT_ONCE = { most: 8, weigh: () => 1 } as const;

/** Proves records of one subject, in the order given. Records of one batch share what the chain is asked. */
export async function provenRecords(
  log: AuditLog,
  subject: string,
  records: readonly PlacedRecord[],
): Promise<ProvenRecord[]> {
  const connected = log.connection();
  const connection = connected && { ...connected, chain: askedOnce(connected.chain) };
  const now = await progress(log.database);
  const prove = async (record: PlacedRecord): Promise<ProvenRecord> => {
    const entry = readable(record);
    return {
      id: hex(record.id),
      entry,
      state: stateOf(record.seq, now),
      anchor: (await batchOfSeq(log.database, record.seq))?.anchor,
      verdict: entry?.subject === subject ? await verdictOn(log, connection, record) : "invalid",
    };
  };
  const proven: ProvenRecord[] = [];
  for await (const each of pipelined(Readable.from(records), AT_ONCE, prove)) proven.push(each);
  return proven;
}

/** What the chain says of a record as it is stored; undefined where the chain cannot be asked. */
async function verdictOn(
  log: AuditLog,
  connection: (Pick<ChainConnection, "identity"> & { readonly chain: ReceiptChain }) | undefined,
  record: PlacedRecord,
): Promise<ProvenRecord["verdict"]> {
  if (connection === undefined) return undefined;
  try {
    const receipt = create(ReceiptSchema, await receiptMessage(log, record));
    const check = await checkReceipt(receipt, connection.chain, connection.identity);
    return "id" in check && check.id !== hex(record.id) ? "invalid" : check.verdict;
  } catch (error) {
    if (isChainAway(error)) return undefined;
    throw error;
  }
}

function readable({ entry }: PlacedRecord): Entry | undefined {
  try {
    return decodeEntry(entry);
  } catch {
    return undefined;
  }
}

/** A chain that is asked each question once. That it cannot be reached is an answer, too. */
function askedOnce(chain: ReceiptChain): ReceiptChain {
  const answers = new Map<string, Promise<unknown>>();
  return chainThrough(chain, (question, ask) => {
    const answer = answers.get(question) ?? ask();
    answers.set(question, answer);
    return answer as ReturnType<typeof ask>;
  });
}
