import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import type { Logger } from "pino";
import type { EvidenceService } from "../../../gen/ts/anchord/v1/evidence_service_pb.js";
import { explorerLink } from "../../core/explorer-link.js";
import { isWellFormedTime } from "../../core/calendar.js";
import type { AuditLog } from "../../flow/audit-log.js";
import { listRecords } from "../../store/records.js";
import type { Authenticate } from "../auth.js";
import { RestError } from "./router.js";

/** What the complaint calls work with. */
export interface ComplaintParts {
  readonly log: AuditLog;
  /** The clock of the chain, in seconds since 1970. */
  readonly now: () => number;
  readonly evidence: Client<typeof EvidenceService>;
  readonly authenticate: Authenticate;
  /** Base URL of an IPFS gateway. */
  readonly gatewayUrl: string | undefined;
  /** Address of a transaction in an explorer, with {tx} for its hash. */
  readonly explorerUrl: string | undefined;
  readonly logger: Logger;
}

/** A complaint that has records. */
export interface Complaint {
  readonly trackingId: string;
  readonly subject: string;
}

const SUBJECT = "complaint/";

/** A subject has at most 256 characters. */
const MOST_CHARACTERS = 256 - SUBJECT.length;

/** The complaint of a tracking id. Throws a RestError where that cannot be one, or has no record. */
export async function requireComplaint(
  { log }: ComplaintParts,
  trackingId: string,
): Promise<Complaint> {
  if (/\p{Cc}/u.test(trackingId) || [...trackingId].length > MOST_CHARACTERS) {
    throw new RestError(
      400,
      `The tracking id must be 1 to ${MOST_CHARACTERS} characters without control characters`,
    );
  }
  const subject = SUBJECT + trackingId;
  const [first] = await listRecords(log.database, { subject }, { newestFirst: false, limit: 1 });
  if (first !== undefined) return { trackingId, subject };
  throw new RestError(
    404,
    "Complaint not found",
    `nothing was recorded of the subject ${subject}: check the tracking id, or record its CREATED event first`,
  );
}

/** Where people see a transaction; null where there is none, or no explorer is set. */
export function linkOf({ explorerUrl }: ComplaintParts, txHash: string | null): string | null {
  return txHash === null ? null : (explorerLink(explorerUrl, txHash) ?? null);
}

/** A time in ISO 8601; null where there is none, or one that no calendar has: an edit may leave any. */
export function isoTime(time: Timestamp | undefined): string | null {
  return time === undefined || !isWellFormedTime(time) ? null : timestampDate(time).toISOString();
}
