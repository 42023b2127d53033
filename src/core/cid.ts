import { base2 } from "multiformats/bases/base2";
import { base8 } from "multiformats/bases/base8";
import { base10 } from "multiformats/bases/base10";
import { base16, base16upper } from "multiformats/bases/base16";
import {
  base32,
  base32hex,
  base32hexpad,
  base32hexpadupper,
  base32hexupper,
  base32pad,
  base32padupper,
  base32upper,
  base32z,
} from "multiformats/bases/base32";
import { base36, base36upper } from "multiformats/bases/base36";
import { base58btc, base58flickr } from "multiformats/bases/base58";
import { base64, base64pad, base64url, base64urlpad } from "multiformats/bases/base64";
import { base256emoji } from "multiformats/bases/base256emoji";
import { CID } from "multiformats/cid";
import * as Digest from "multiformats/hashes/digest";
import { sameBytes } from "./bytes.js";

/** The longest CID in bytes that is taken for one, as in the contract. */
export const MAX_CID_BYTES = 64;

/** Longer than every text of so many bytes, also in base 2. */
const MAX_TEXT = 8 * MAX_CID_BYTES + 8;

const RAW = 0x55;
const SHA2_256 = 0x12;
const SHA256_BYTES = 32;

const BASES = [
  ...[base2, base8, base10, base16, base16upper, base36, base36upper, base58btc, base58flickr],
  ...[base32, base32upper, base32pad, base32padupper, base32z],
  ...[base32hex, base32hexupper, base32hexpad, base32hexpadupper],
  ...[base64, base64pad, base64url, base64urlpad, base256emoji],
];

/** A content identifier of IPFS. */
export interface Cid {
  /** Its usual text: base58btc for version 0, base32 for version 1. */
  readonly text: string;
  readonly bytes: Uint8Array;
}

/** The CID that a text is, of version 0 or of version 1 in any multibase; undefined where it is none. */
export function parseCid(text: string): Cid | undefined {
  if (text.length > MAX_TEXT) return undefined;
  if (text.startsWith("Qm")) {
    const cid = cidOfBytes(attempt(() => base58btc.baseDecode(text)));
    return cid?.text.startsWith("Qm") === true ? cid : undefined;
  }
  const base = BASES.find(({ prefix }) => text.startsWith(prefix));
  const cid = cidOfBytes(attempt(() => base?.decode(text)));
  return cid?.text.startsWith("Qm") === true ? undefined : cid; // version 0 has no multibase
}

/** The CID that has these bytes; undefined where they are none, or more than 64. */
export function cidOfBytes(bytes: Uint8Array | undefined): Cid | undefined {
  if (bytes === undefined || bytes.length > MAX_CID_BYTES) return undefined;
  const cid = attempt(() => CID.decode(bytes));
  if (cid === undefined) return undefined;
  const { code, digest } = cid.multihash;
  if (code === SHA2_256 && digest.length !== SHA256_BYTES) return undefined;
  // Numbers that are longer than they need be would make two CIDs of one.
  const shortest = cid.version === 0 ? cid : CID.createV1(cid.code, Digest.create(code, digest));
  return sameBytes(shortest.bytes, bytes) ? { text: cid.toString(), bytes } : undefined;
}

/** The SHA-256 of the content, where the CID is one of version 1, raw, sha2-256: a file of one block. */
export function rawSha256Of({ bytes }: Cid): Uint8Array | undefined {
  const { version, code, multihash } = CID.decode(bytes);
  return version === 1 && code === RAW && multihash.code === SHA2_256
    ? multihash.digest
    : undefined;
}

function attempt<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch {
    return undefined; // it is not what it would have to be
  }
}
