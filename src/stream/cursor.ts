import { sameBytes, sha256, u64, unhex, hex } from "../core/bytes.js";
import type { FeedBounds, FeedRow } from "../store/feed.js";

/** `done` of a position that has its row wholly behind it. */
export const WHOLE = 0xffff_ffff;

/** A place in the feed: all rows before `number` lie behind it, and so many events of that row. */
export interface Position {
  readonly number: number;
  /** Counts in the row's offset space; WHOLE where nothing of the row is left. */
  readonly done: number;
}

/** A position with what it takes to find it again in another database of the same log. */
export interface Cursor extends Position {
  /** The first 4 bytes of the log's genesis head; zeros before the chain was first reached. */
  readonly logTag: Uint8Array;
  /** The numbering that the position belongs to: 16 hex digits. */
  readonly epoch: string;
  /** Tells the row from any other that may come to have its number: 4 bytes. */
  readonly check: Uint8Array;
  /** Up to this block, everything was told before the row. */
  readonly finalNumber: number;
}

/** Where a cursor leads: to its own position, to what was pruned, elsewhere, or to no place of this log. */
export type Standing = "here" | "expired" | "moved" | "foreign";

/** The log tag or the check of what is not known. */
export const NO_TAG: Uint8Array = new Uint8Array(4);

const VERSION = 1;
const LENGTH = 41;
const CHECKSUM = 4;

/** The cursor as callers get it: 55 characters of base64url. Ends with the start of its own SHA-256. */
export function encodeCursor(cursor: Cursor): string {
  const { logTag, epoch, number, done, check, finalNumber } = cursor;
  const doneBytes = Buffer.alloc(4);
  doneBytes.writeUInt32BE(done);
  const bytes = Buffer.concat([
    Buffer.of(VERSION),
    logTag,
    unhex(epoch),
    u64(number),
    doneBytes,
    check,
    u64(finalNumber + 1),
  ]);
  return Buffer.concat([bytes, checksum(bytes)]).toString("base64url");
}

/** The cursor in a text; undefined where it is not one of ours. */
export function decodeCursor(text: string): Cursor | undefined {
  const bytes = Buffer.from(text, "base64url");
  if (bytes.length !== LENGTH || bytes[0] !== VERSION || bytes.toString("base64url") !== text) {
    return undefined;
  }
  const end = LENGTH - CHECKSUM;
  if (!sameBytes(checksum(bytes.subarray(0, end)), bytes.subarray(end))) return undefined;
  const number = Number(bytes.readBigUInt64BE(13));
  const finalNumber = Number(bytes.readBigUInt64BE(29)) - 1;
  if (!Number.isSafeInteger(number) || !Number.isSafeInteger(finalNumber)) return undefined;
  return {
    logTag: bytes.subarray(1, 5),
    epoch: hex(bytes.subarray(5, 13)),
    number,
    done: bytes.readUInt32BE(21),
    check: bytes.subarray(25, 29),
    finalNumber,
  };
}

function checksum(bytes: Uint8Array): Uint8Array {
  return sha256(bytes).subarray(0, CHECKSUM);
}

/** What tells a row from others of its number. */
export function checkOf(row: FeedRow | undefined): Uint8Array {
  if (row === undefined) return NO_TAG;
  const { kind, batchNumber, occurrence } = row;
  const [level, place] = "anchor" in row ? [row.level, hex(row.anchor.blockHash)] : [0, ""];
  const text = [kind, level, batchNumber, place, occurrence].join(" ");
  return sha256(Buffer.from(text)).subarray(0, 4);
}

/** Where a cursor leads in a feed, given the row that has its number now. */
export function standing(
  cursor: Cursor,
  feed: {
    readonly logTag: Uint8Array;
    readonly bounds: FeedBounds;
    readonly row: FeedRow | undefined;
  },
): Standing {
  const { logTag, bounds, row } = feed;
  const isKnown = [cursor.logTag, logTag].every((tag) => !sameBytes(tag, NO_TAG));
  if (isKnown && !sameBytes(cursor.logTag, logTag)) return "foreign";
  if (cursor.epoch !== bounds.epoch) return "moved";
  const start = bounds.first - 1;
  if (cursor.number < start) return "expired";
  if (cursor.number === start) return cursor.done === WHOLE ? "here" : "expired";
  return row !== undefined && sameBytes(cursor.check, checkOf(row)) ? "here" : "moved";
}

/** The number of the first row of which something lies behind the position. */
export function nextRow({ number, done }: Position): number {
  return done === WHOLE ? number + 1 : number;
}
