import { ConnectError } from "@connectrpc/connect";
import { requireComplaint } from "./complaint.js";
import type { Complaint, ComplaintParts } from "./complaint.js";
import { uploadEvidence, verifyEvidence } from "./complaint-evidence.js";
import { complaintStatus } from "./complaint-status.js";
import { auditTrail } from "./complaint-trail.js";
import { toRestError } from "./errors.js";
import type { RestAnswer, RestRequest, Route } from "./router.js";

/** One of the calls, for a caller that is known and a complaint that there is. */
type Call = (
  parts: ComplaintParts,
  complaint: Complaint,
  request: RestRequest,
) => Promise<RestAnswer>;

const PATH = "/api/blockchain/reports/:tracking_id";

/** The calls of a complaint management (docs/complaints.md). Their errors are `{"error": …}`. */
export function complaintRoutes(parts: ComplaintParts): Route[] {
  const route = (method: Route["method"], path: string, call: Call): Route => ({
    method,
    path: PATH + path,
    handle: async (request) => ({ ...(await answer(parts, call, request)), sameOrigin: true }),
  });
  return [
    route("POST", "/evidence", uploadEvidence),
    route("POST", "/evidence/verify", verifyEvidence),
    route("GET", "/status", complaintStatus),
    route("GET", "/audit-trail", auditTrail),
  ];
}

async function answer(
  parts: ComplaintParts,
  call: Call,
  request: RestRequest,
): Promise<RestAnswer> {
  try {
    parts.authenticate(request.headers.authorization);
    return await call(parts, await requireComplaint(parts, request.parameter), request);
  } catch (error) {
    const { status, message, note } = toRestError(error);
    // What comes from a handler of the API was logged there.
    if (status === 500 && !(error instanceof ConnectError)) {
      parts.logger.error({ err: error }, "a call failed");
    }
    return { status, body: { error: message, ...(note === undefined ? {} : { note }) } };
  }
}
