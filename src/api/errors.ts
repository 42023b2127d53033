import { create } from "@bufbuild/protobuf";
import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Interceptor } from "@connectrpc/connect";
import type { Logger } from "pino";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../../gen/ts/google/rpc/error_details_pb.js";
import { AnchordError, messageOf } from "../core/errors.js";
import type { Reason } from "../core/errors.js";

const DOMAIN = "anchord";

/** How long a caller waits before it tries again what failed for a passing cause. */
const RETRY_MS = 1_000;

const CODES: Readonly<Record<Reason, Code>> = {
  INVALID_FIELD: Code.InvalidArgument,
  MALFORMED_MESSAGE: Code.InvalidArgument,
  INVALID_PAGE_TOKEN: Code.InvalidArgument,
  REQUEST_ID_REUSED: Code.AlreadyExists,
  RECORD_NOT_FOUND: Code.NotFound,
  BATCH_NOT_FOUND: Code.NotFound,
  UNAUTHENTICATED: Code.Unauthenticated,
  DATABASE_UNAVAILABLE: Code.Unavailable,
  CHAIN_UNAVAILABLE: Code.Unavailable,
  STORAGE_FULL: Code.ResourceExhausted,
  MESSAGE_TOO_LARGE: Code.ResourceExhausted,
  SHUTTING_DOWN: Code.Unavailable,
  OVERLOADED: Code.ResourceExhausted,
  INTERNAL: Code.Internal,
  INVALID_CURSOR: Code.InvalidArgument,
  CURSOR_EXPIRED: Code.OutOfRange,
  SUBSCRIPTION_NOT_FOUND: Code.NotFound,
  SUBSCRIPTION_TAKEN_OVER: Code.Aborted,
  EVIDENCE_NOT_FOUND: Code.NotFound,
  EVIDENCE_TOO_LARGE: Code.InvalidArgument,
  EVIDENCE_UNCONFIGURED: Code.FailedPrecondition,
  CONTENT_UNAVAILABLE: Code.Unavailable,
  CONTENT_NOT_KEPT: Code.FailedPrecondition,
  CONTENT_LOST: Code.DataLoss,
  RANGE_OUT_OF_BOUNDS: Code.OutOfRange,
  SLA_UNCONFIGURED: Code.FailedPrecondition,
  SLA_NOT_FOUND: Code.NotFound,
  SLA_REFUSED: Code.FailedPrecondition,
  RECORD_TYPE_NOT_ACCEPTED: Code.InvalidArgument,
  DATABASE_ALTERED: Code.DataLoss,
};

const RETRYABLE: ReadonlySet<Reason> = new Set([
  "DATABASE_UNAVAILABLE",
  "CHAIN_UNAVAILABLE",
  "CONTENT_UNAVAILABLE",
  "SHUTTING_DOWN",
  "OVERLOADED",
]);

/** The reasons behind failures that Connect itself found before a handler ran. */
const REASONS: Readonly<Partial<Record<Code, Reason>>> = {
  [Code.InvalidArgument]: "MALFORMED_MESSAGE",
  [Code.ResourceExhausted]: "MESSAGE_TOO_LARGE",
};

/** An error as callers get it: status, google.rpc.ErrorInfo, and what else helps. */
export function toConnectError(error: unknown): ConnectError {
  if (error instanceof ConnectError) return error.details.length > 0 ? error : withInfo(error);
  if (!(error instanceof AnchordError)) return toConnectError(internal(error));
  const { reason, message, detail } = error;
  return new ConnectError(message, CODES[reason], undefined, detailsOf(reason, detail), error);
}

/** The details of a reason, as Connect sends them. */
export function detailsOf(reason: Reason, { violations, metadata }: AnchordError["detail"] = {}) {
  return [
    outgoing(ErrorInfoSchema, {
      reason: `ERROR_REASON_${reason}`,
      domain: DOMAIN,
      metadata: { ...metadata },
    }),
    ...(violations === undefined
      ? []
      : [outgoing(BadRequestSchema, { fieldViolations: [...violations] })]),
    ...(RETRYABLE.has(reason)
      ? [outgoing(RetryInfoSchema, { retryDelay: durationFromMs(RETRY_MS) })]
      : []),
  ];
}

/** The reason of a failure that was found before a handler ran. */
export function reasonOf(code: Code): Reason {
  return REASONS[code] ?? "INTERNAL";
}

/** Whether Connect could not read the request's bytes: it calls that an internal error. */
export function isUnreadable(code: Code, message: string): boolean {
  return code === Code.Internal && message.startsWith("parse binary: ");
}

/** Maps whatever a handler throws, also in the middle of a stream. The outermost interceptor. */
export function errorInterceptor(log: Logger): Interceptor {
  const mapped = (error: unknown): ConnectError => {
    const known = toConnectError(error);
    const isAltered = error instanceof AnchordError && error.reason === "DATABASE_ALTERED";
    if (known.code === Code.Internal || isAltered) log.error({ err: error }, "a call failed");
    return known;
  };
  return (next) => async (request) => {
    try {
      const response = await next(request);
      if (!response.stream) return response;
      return { ...response, message: mapThrown(response.message, mapped) };
    } catch (error) {
      throw mapped(error);
    }
  };
}

async function* mapThrown<T>(
  messages: AsyncIterable<T>,
  mapped: (error: unknown) => ConnectError,
): AsyncIterable<T> {
  try {
    yield* messages;
  } catch (error) {
    throw mapped(error);
  }
}

function withInfo(error: ConnectError): ConnectError {
  const passing: readonly Code[] = [Code.Canceled, Code.DeadlineExceeded, Code.Unimplemented];
  if (passing.includes(error.code)) return error;
  const code = isUnreadable(error.code, error.rawMessage) ? Code.InvalidArgument : error.code;
  const details = detailsOf(reasonOf(code));
  return new ConnectError(error.rawMessage, code, error.metadata, details, error.cause);
}

function internal(error: unknown): AnchordError {
  const message = "an internal error: the service's log has the details";
  return new AnchordError("INTERNAL", message, { cause: messageOf(error) });
}

function outgoing<Desc extends DescMessage>(desc: Desc, value: MessageInitShape<Desc>) {
  return { desc, value: create(desc, value) as never };
}
