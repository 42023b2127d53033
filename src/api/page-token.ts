import { u64 } from "../core/bytes.js";
import { canonicalHash } from "../core/record.js";
import { AnchordError } from "../core/errors.js";
import type { JsonValue } from "@bufbuild/protobuf";

const DEFAULT_PAGE = 100;
const MAX_PAGE = 1000;

/** Bytes of a token that stand for the question. */
const MARK = 8;

/** How many items a page has: 0 asks for the default, and too many for the most (AIP-158). */
export function pageSize(requested: number): number {
  return requested === 0 ? DEFAULT_PAGE : Math.min(requested, MAX_PAGE);
}

/** A token that continues behind a position, and works only for the same question. */
export function pageToken(question: JsonValue, position: number): string {
  return sealed(question, u64(position));
}

/** The position in a token; undefined for the first page. Throws INVALID_PAGE_TOKEN. */
export function parsePageToken(question: JsonValue, token: string): number | undefined {
  const bytes = opened(question, token);
  if (bytes === undefined) return undefined;
  if (bytes.length !== 8) throw notOurs();
  return Number(bytes.readBigUInt64BE());
}

/** A token that continues behind a value and, of those that have it, a position. */
export function valuePageToken(question: JsonValue, value: number, position: number): string {
  return sealed(question, Buffer.concat([u64(value), u64(position)]));
}

/** The value and the position in a token; undefined for the first page. Throws INVALID_PAGE_TOKEN. */
export function parseValuePageToken(
  question: JsonValue,
  token: string,
): { readonly value: number; readonly position: number } | undefined {
  const bytes = opened(question, token);
  if (bytes === undefined) return undefined;
  if (bytes.length !== 16) throw notOurs();
  return {
    value: Number(bytes.readBigUInt64BE()),
    position: Number(bytes.readBigUInt64BE(8)),
  };
}

/** A token that continues behind a name, and works only for the same question. */
export function namePageToken(question: JsonValue, name: string): string {
  return sealed(question, Buffer.from(name));
}

/** The name in a token; undefined for the first page. Throws INVALID_PAGE_TOKEN. */
export function parseNamePageToken(question: JsonValue, token: string): string | undefined {
  return opened(question, token)?.toString();
}

function sealed(question: JsonValue, place: Buffer): string {
  return Buffer.concat([place, fingerprint(question)]).toString("base64url");
}

function opened(question: JsonValue, token: string): Buffer | undefined {
  if (token === "") return undefined;
  const bytes = Buffer.from(token, "base64url");
  if (bytes.length <= MARK || bytes.toString("base64url") !== token) throw notOurs();
  if (!bytes.subarray(-MARK).equals(fingerprint(question))) {
    throw invalid("page_token belongs to another filter or order");
  }
  return bytes.subarray(0, -MARK);
}

function fingerprint(question: JsonValue): Buffer {
  return canonicalHash(question).subarray(0, MARK);
}

function notOurs(): AnchordError {
  return invalid("page_token is not one that this service gave");
}

function invalid(what: string): AnchordError {
  return new AnchordError("INVALID_PAGE_TOKEN", `${what}: start again without one`);
}
