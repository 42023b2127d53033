import { inspect } from "node:util";

/** Why something was refused or failed: the names of ErrorReason in error_reason.proto. */
export type Reason =
  | "INVALID_FIELD"
  | "MALFORMED_MESSAGE"
  | "INVALID_PAGE_TOKEN"
  | "REQUEST_ID_REUSED"
  | "RECORD_NOT_FOUND"
  | "BATCH_NOT_FOUND"
  | "UNAUTHENTICATED"
  | "DATABASE_UNAVAILABLE"
  | "CHAIN_UNAVAILABLE"
  | "STORAGE_FULL"
  | "MESSAGE_TOO_LARGE"
  | "SHUTTING_DOWN"
  | "OVERLOADED"
  | "INTERNAL"
  | "INVALID_CURSOR"
  | "CURSOR_EXPIRED"
  | "SUBSCRIPTION_NOT_FOUND"
  | "SUBSCRIPTION_TAKEN_OVER"
  | "EVIDENCE_NOT_FOUND"
  | "EVIDENCE_TOO_LARGE"
  | "EVIDENCE_UNCONFIGURED"
  | "CONTENT_UNAVAILABLE"
  | "CONTENT_NOT_KEPT"
  | "CONTENT_LOST"
  | "RANGE_OUT_OF_BOUNDS"
  | "SLA_UNCONFIGURED"
  | "SLA_NOT_FOUND"
  | "SLA_REFUSED"
  | "RECORD_TYPE_NOT_ACCEPTED"
  | "DATABASE_ALTERED";

/** A field that breaks a rule: its path in the request, and what the rule is. */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

/** An error that callers may see. The message says what was wrong and what to do about it. */
export class AnchordError extends Error {
  override readonly name = "AnchordError";

  constructor(
    readonly reason: Reason,
    message: string,
    readonly detail: {
      /** Fields that break rules, with reason INVALID_FIELD. */
      readonly violations?: readonly FieldViolation[];
      /** Further facts for programs. */
      readonly metadata?: Readonly<Record<string, string>>;
      /** The failure behind this one; logged, never sent. */
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, { cause: detail.cause });
  }
}

/** What the configuration leads to is not what it must be; the message says what to change. */
export class Misconfigured extends Error {
  override readonly name = "Misconfigured";
}

/** The failure of what meets a row that this service has not written so. */
export function databaseAltered(what: string, cause?: unknown): AnchordError {
  const message =
    `a row of the database was edited, or is damaged (${what}): \`anchord verify-chain\` names it; ` +
    "restore it from a backup, or run `anchord rebuild`";
  return new AnchordError("DATABASE_ALTERED", message, { cause });
}

/** Whether an error says that the chain cannot be asked now. */
export function isChainAway(error: unknown): error is AnchordError {
  return error instanceof AnchordError && error.reason === "CHAIN_UNAVAILABLE";
}

/** A refusal of fields, with one sentence for all of them. Requires at least one violation. */
export function invalidFields(violations: readonly FieldViolation[]): AnchordError {
  const message = violations.map(({ field, description }) => `${field}: ${description}`).join("; ");
  return new AnchordError("INVALID_FIELD", message, { violations });
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  const { message } = (error ?? {}) as { message?: unknown };
  if (typeof message === "string" && message !== "") return message;
  return typeof error === "object" ? inspect(error, { breakLength: Infinity }) : String(error);
}
