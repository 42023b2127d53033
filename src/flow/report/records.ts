import { toJson } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Entry } from "../../../gen/ts/anchord/v1/receipt_pb.js";
import { RecordState } from "../../../gen/ts/anchord/v1/record_pb.js";
import { bodyJson } from "../../core/body-json.js";
import { hex, hex0x } from "../../core/bytes.js";
import { isoSeconds, isWellFormedTime } from "../../core/calendar.js";
import { bodyOf, columnsOf } from "../../core/record.js";
import { batchOfSeq, progress } from "../../store/batches.js";
import type { Progress, StoredAnchor, StoredBatch } from "../../store/batches.js";
import type { Database } from "../../store/database.js";
import { listRecords } from "../../store/records.js";
import type { PlacedRecord, RecordQuery } from "../../store/records.js";
import { stateOf } from "../receipt-message.js";
import { readEntry } from "../verify/record.js";
import type { RecordAnchor, ReportLinks, ReportRecord } from "./facts.js";

/** Records read at once: what bounds the memory of a report. */
const PAGE = 200;

/** The records that match, in log order, a page at a time. */
export async function* reportRecords(
  database: Database,
  query: RecordQuery,
  links: ReportLinks,
): AsyncGenerator<ReportRecord[]> {
  let fromSeq = query.fromSeq ?? 0;
  let batch: StoredBatch | undefined;
  let page: PlacedRecord[];
  do {
    page = await listRecords(database, { ...query, fromSeq }, { newestFirst: false, limit: PAGE });
    const now = await progress(database);
    const records: ReportRecord[] = [];
    for (const record of page) {
      if (!holds(batch, record.seq)) batch = await batchOfSeq(database, record.seq);
      records.push(reportRecord(record, batch, now, links));
      fromSeq = record.seq + 1;
    }
    yield records;
  } while (page.length === PAGE);
}

function holds(batch: StoredBatch | undefined, seq: number): boolean {
  if (batch?.anchor === undefined) return false; // it may be on the chain by now
  return seq >= batch.firstSeq && seq < batch.firstSeq + Number(batch.seal.size);
}

function reportRecord(
  record: PlacedRecord,
  batch: StoredBatch | undefined,
  now: Progress,
  links: ReportLinks,
): ReportRecord {
  const id = hex(record.id);
  return {
    id,
    sequence: record.seq,
    ...fact(readEntry(record)),
    state: STATES[stateOf(record.seq, now)],
    batch: batch && { number: Number(batch.seal.number), head: hex(batch.head) },
    anchor: batch?.anchor && recordAnchor(batch.anchor, links),
    receiptUrl: links.receipt(id),
  };
}

const STATES = {
  [RecordState.UNSPECIFIED]: "accepted",
  [RecordState.ACCEPTED]: "accepted",
  [RecordState.ANCHORED]: "anchored",
  [RecordState.FINAL]: "final",
} as const satisfies Record<RecordState, ReportRecord["state"]>;

/** What an entry says. One that was changed so that it cannot be read stands for itself. */
function fact(entry: Entry | string) {
  if (typeof entry === "string") {
    const nothing = { type: "", subject: "", actor: "", caller: "", occurTime: "", acceptTime: "" };
    return { ...nothing, data: { problem: entry } };
  }
  const { type, subject, actor } = columnsOf(entry);
  const { caller, occurTime, acceptTime } = entry;
  return {
    type,
    subject,
    actor,
    caller,
    occurTime: timeText(occurTime as Timestamp),
    acceptTime: timeText(acceptTime as Timestamp),
    data: bodyJson(bodyOf(entry)),
  };
}

function recordAnchor(anchor: StoredAnchor, links: ReportLinks): RecordAnchor {
  const transaction = hex0x(anchor.transactionHash);
  return {
    transaction,
    block: anchor.blockNumber,
    blockTime: isoSeconds(anchor.blockTime),
    explorerUrl: links.transaction(transaction),
  };
}

/** A time in RFC 3339, as exact as it is; empty where it is none that the calendar has: an edit may leave any. */
export function timeText(time: Timestamp): string {
  return isWellFormedTime(time) ? toJson(TimestampSchema, time) : "";
}
