import { Code } from "@connectrpc/connect";
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

/** An error of the API as the REST fronts answer it. */
export function toRestError(error: unknown): RestError {
  if (error instanceof RestError) return error;
  const { code, rawMessage } = toConnectError(error);
  return new RestError(STATUSES[code] ?? 500, rawMessage);
}
