import { Code } from "@connectrpc/connect";
import { ErrorInfoSchema } from "../../../gen/ts/google/rpc/error_details_pb.js";
import type { Reason } from "../../core/errors.js";
import { toConnectError } from "../errors.js";
import { RestError } from "./router.js";

const STATUSES: Readonly<Partial<Record<Code, number>>> = {
  [Code.InvalidArgument]: 400,
  [Code.Unauthenticated]: 401,
  [Code.NotFound]: 404,
  [Code.AlreadyExists]: 409,
  [Code.ResourceExhausted]: 429,
  [Code.Unavailable]: 503,
  [Code.DeadlineExceeded]: 504,
};

/** Reasons for which HTTP has a status that says more than that of their code. */
const STATUSES_BY_REASON: Readonly<Partial<Record<Reason, number>>> = {
  EVIDENCE_TOO_LARGE: 413,
  EVIDENCE_UNCONFIGURED: 503,
  STORAGE_FULL: 507,
};

/** An error of the API as the REST fronts answer it. */
export function toRestError(error: unknown): RestError {
  if (error instanceof RestError) return error;
  const known = toConnectError(error);
  const [info] = known.findDetails(ErrorInfoSchema);
  const reason = info?.reason.replace("ERROR_REASON_", "") as Reason | undefined;
  const status = (reason && STATUSES_BY_REASON[reason]) ?? STATUSES[known.code] ?? 500;
  return new RestError(status, known.rawMessage);
}
