import { hash } from "node:crypto";

/** 32 zero bytes: the value of every digest that is not used. */
export const ZERO32: Uint8Array = new Uint8Array(32);

/** SHA-256 of the concatenation of the parts. */
export function sha256(...parts: readonly Uint8Array[]): Buffer {
  const data = parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
  return hash("sha256", data, "buffer");
}

/** The number as 8 bytes, big-endian. Requires 0 ≤ value < 2⁶⁴. */
export function u64(value: bigint | number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

/** The number as 32 bytes, big-endian. Requires 0 ≤ value < 2²⁵⁶. */
export function u256(value: bigint): Buffer {
  return Buffer.from(value.toString(16).padStart(64, "0"), "hex");
}

/** Lower-case hex without a prefix. */
export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

/** Lower-case hex with 0x in front. */
export function hex0x(bytes: Uint8Array): `0x${string}` {
  return `0x${hex(bytes)}`;
}

/** The bytes of a hex string, with or without 0x. Requires an even number of hex digits. */
export function unhex(text: string): Buffer {
  return Buffer.from(text.startsWith("0x") ? text.slice(2) : text, "hex");
}

/** Whether both hold the same bytes. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && Buffer.compare(a, b) === 0;
}
