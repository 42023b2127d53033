import { unhex } from "../core/bytes.js";
import { subjectKey } from "../core/evidence.js";

/**
 * What a subject may be called on chain. One of 64 hex digits may also be a key itself: that is how a
 * subject is named of which only the chain has told.
 */
export function keysOf(subject: string): Uint8Array[] {
  const key = subjectKey(subject);
  return /^[0-9a-fA-F]{64}$/.test(subject) ? [key, unhex(subject)] : [key];
}
