import { canonicalHash } from "../core/record.js";
import { AnchordError } from "../core/errors.js";
import type { JsonValue } from "@bufbuild/protobuf";

const DEFAULT_PAGE = 100;
const MAX_PAGE = 1000;

/** How many items a page has: 0 asks for the default, and too many for the most (AIP-158). */
export function pageSize(requested: number): number {
  return requested === 0 ? DEFAULT_PAGE : Math.min(requested, MAX_PAGE);
}

/** A token that continues behind a position, and works only for the same question. */
export function pageToken(question: JsonValue, position: number): string {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64BE(BigInt(position));
  fingerprint(question).copy(bytes, 8);
  return bytes.toString("base64url");
}

/** The position in a token; undefined for the first page. Throws INVALID_PAGE_TOKEN. */
export function parsePageToken(question: JsonValue, token: string): number | undefined {
  if (token === "") return undefined;
  const bytes = Buffer.from(token, "base64url");
  if (bytes.length !== 16 || bytes.toString("base64url") !== token) {
    throw invalid("page_token is not one that this service gave");
  }
  if (!bytes.subarray(8).equals(fingerprint(question))) {
    throw invalid("page_token belongs to another filter or order");
  }
  return Number(bytes.readBigUInt64BE());
}

function fingerprint(question: JsonValue): Buffer {
  return canonicalHash(question).subarray(0, 8);
}

function invalid(what: string): AnchordError {
  return new AnchordError("INVALID_PAGE_TOKEN", `${what}: start again without one`);
}
