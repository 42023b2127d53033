import { Readable } from "node:stream";
import { RecordState } from "../../../gen/ts/anchord/v1/record_pb.js";
import { listRecords } from "../../store/records.js";
import { pipelined } from "../pipeline.js";
import { isoTime } from "./complaint.js";
import type { Complaint, ComplaintParts } from "./complaint.js";
import { anchorFor, fileUrl, requestStream } from "./complaint-evidence.js";
import type { FoundAnchor } from "./complaint-evidence.js";
import { slaStatus } from "./complaint-sla.js";
import { eventType, isVerified, MOST_EVENTS, placeOf } from "./complaint-trail.js";
import { complaintVerdict } from "./complaint-verdict.js";
import { toRestError } from "./errors.js";
import { provenRecords } from "./proven.js";
import type { ProvenRecord } from "./proven.js";
import { callOptions } from "./router.js";
import type { RestAnswer, RestRequest } from "./router.js";

/** How many files of evidence the chain is asked for at once. */
const AT_ONCE = { most: 8, weigh: () => 1 } as const;

/** `GET status/`: how a complaint stands, by what the chain says now. */
export async function complaintStatus(
  parts: ComplaintParts,
  { trackingId, subject }: Complaint,
  request: RestRequest,
): Promise<RestAnswer> {
  const { log } = parts;
  const newest = { newestFirst: true, limit: MOST_EVENTS };
  const records = await listRecords(log.database, { subject }, newest);
  const events = await provenRecords(log, subject, records.reverse());
  const evidence = await evidenceOf(parts, subject, events, request);
  const sla = await slaStatus(parts, subject);
  const each = [
    ...events.map(isVerified),
    ...evidence.map(({ verified }) => verified),
    ...(sla === undefined ? [] : [sla.verified]),
  ];
  const { verified, note } = await complaintVerdict(log.database, each);
  return {
    status: 200,
    body: {
      tracking_id: trackingId,
      blockchain_verified: verified,
      sla_escalated: sla?.status.escalated ?? false,
      latest_tx_hash:
        events.map((event) => placeOf(parts, event).tx_hash).findLast(Boolean) ?? null,
      events: events.map((event) => ({
        event_type: eventType(event.entry),
        ...placeOf(parts, event),
        timestamp: isoTime(event.entry?.occurTime),
        status: RecordState[event.state],
      })),
      evidence,
      sla_status: sla?.status ?? null,
      ...(note === undefined ? {} : { note }),
    },
  };
}

/** The files of a complaint that its trail tells of, and what the registry on the chain says of them. */
async function evidenceOf(
  parts: ComplaintParts,
  subject: string,
  events: readonly ProvenRecord[],
  request: RestRequest,
) {
  const show = async ({ entry, verdict }: ProvenRecord) => {
    if (entry?.body.case !== "evidenceAdded") return [];
    const { fileName, cid, sha256, contentKept } = entry.body.value;
    const asked = { subject, sha256 };
    const anchor = verdict === "invalid" ? undefined : await anchorOf(parts, asked, request);
    return [
      {
        file_name: fileName,
        file_path: contentKept ? `/ipfs/${cid}` : null,
        file_url: contentKept ? fileUrl(parts, { cid, fileName }) : null,
        file_hash: sha256,
        tx_hash: anchor?.tx_hash ?? null,
        verified: anchor === null ? null : anchor !== undefined,
        block_timestamp: anchor?.block_timestamp ?? null,
        created_at: isoTime(entry.acceptTime),
      },
    ];
  };
  const shown = [];
  for await (const each of pipelined(Readable.from(events), AT_ONCE, show)) shown.push(...each);
  return shown;
}

/** The anchor that the chain has of a file for a subject; null where the chain cannot be asked. */
async function anchorOf(
  { evidence }: ComplaintParts,
  metadata: { readonly subject: string; readonly sha256: string },
  request: RestRequest,
): Promise<FoundAnchor | null | undefined> {
  try {
    const nothing = Readable.from([]);
    const found = await evidence.verifyEvidence(
      requestStream(metadata, nothing),
      callOptions(request),
    );
    return anchorFor(found);
  } catch (error) {
    const { status } = toRestError(error);
    if (status === 503) return null;
    if (status === 400) return undefined; // no hash at all: it was altered before it was sealed
    throw error;
  }
}
