import type { Entry } from "../../../gen/ts/anchord/v1/receipt_pb.js";
import { hex0x } from "../../core/bytes.js";
import { typeOf } from "../../core/record.js";
import type { Body } from "../../core/record.js";
import { countRecords, listRecords } from "../../store/records.js";
import { pageToken, parsePageToken } from "../page-token.js";
import { isoTime, linkOf } from "./complaint.js";
import type { Complaint, ComplaintParts } from "./complaint.js";
import { complaintVerdict } from "./complaint-verdict.js";
import { provenRecords } from "./proven.js";
import type { ProvenRecord } from "./proven.js";
import type { RestAnswer, RestRequest } from "./router.js";

/** Most events of one answer. */
export const MOST_EVENTS = 1_000;

/** `GET audit-trail/`: the complaint's events, oldest first, each proven by the chain. */
export async function auditTrail(
  parts: ComplaintParts,
  { trackingId, subject }: Complaint,
  { query }: RestRequest,
): Promise<RestAnswer> {
  const { log } = parts;
  const question = { complaint: trackingId };
  const last = parsePageToken(question, query.get("page_token") ?? "");
  const range = { subject, fromSeq: last === undefined ? undefined : last + 1 };
  const order = { newestFirst: false, limit: MOST_EVENTS + 1 };
  const found = await listRecords(log.database, range, order);
  const shown = found.slice(0, MOST_EVENTS);
  const events = await provenRecords(log, subject, shown);
  const { note } = await complaintVerdict(log.database, events.map(isVerified));
  return {
    status: 200,
    body: {
      tracking_id: trackingId,
      total_events: await countRecords(log.database, { subject }),
      events: events.map((event) => ({
        event_type: eventType(event.entry),
        timestamp: isoTime(event.entry?.occurTime),
        ...placeOf(parts, event),
        event_hash: event.id,
        verified_on_chain: isVerified(event),
        gas_used: event.anchor?.gasUsed ?? null,
      })),
      ...(found.length > MOST_EVENTS
        ? { next_page_token: pageToken(question, shown.at(-1)?.seq ?? 0) }
        : {}),
      ...(note === undefined ? {} : { note }),
    },
  };
}

/** What happened: a complaint's own event by its type, everything else by its record type. */
export function eventType(entry: Entry | undefined): string {
  if (entry === undefined) return "UNREADABLE";
  const { body } = entry;
  if (body.case === "complaint") return body.value.eventType;
  if (body.case === "levelRaised") return "ESCALATED";
  return typeOf(body as Body).toUpperCase();
}

/** Where an event stands on the chain, as far as it does. */
export function placeOf(parts: ComplaintParts, { anchor }: ProvenRecord) {
  const txHash = anchor === undefined ? null : hex0x(anchor.transactionHash);
  return {
    tx_hash: txHash,
    block_number: anchor?.blockNumber ?? null,
    explorer_url: linkOf(parts, txHash),
  };
}

/** Whether the chain confirms an event; null where it cannot be asked. */
export function isVerified({ verdict }: ProvenRecord): boolean | null {
  return verdict === undefined ? null : verdict === "valid";
}
