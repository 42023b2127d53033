import { createCipheriv, createDecipheriv, hkdfSync } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { BatchManifestSchema, BatchPieceSchema } from "../../gen/ts/anchord/v1/manifest_pb.js";
import type { BatchManifest, BatchPiece } from "../../gen/ts/anchord/v1/manifest_pb.js";
import { hex, sameBytes, sha256, u64 } from "./bytes.js";
import { messageOf } from "./errors.js";

const FORMAT = 1;
const KEY_TAG = Buffer.from("anchord/content-key/v1");
const BATCH_TAG = Buffer.from("anchord/batch/v1");
const CIPHER = "aes-256-gcm";
const TAG_BYTES = 16;

/**
 * Most bytes of a piece before encryption. Part of the format: cut otherwise, a batch would have other
 * plaintexts under the same keys and nonces, so a change needs another BATCH_TAG.
 */
const MAX_PIECE_BYTES = 1024 * 1024;

/** A key that published batches are encrypted with. */
export interface ContentKey {
  /** What manifests name it by: 8 bytes that do not give it away. */
  readonly id: Uint8Array;
  /** The key: 32 bytes. Secret. */
  readonly bytes: Uint8Array;
}

/** What the pieces of one batch are encrypted for. */
export interface PieceSecrets {
  readonly key: ContentKey;
  /** The head of the log before its first batch. */
  readonly genesisHead: Uint8Array;
  /** The batch's Merkle root. */
  readonly root: Uint8Array;
}

/** A batch as it is published. */
export interface Publication {
  /** An encoded BatchManifest. */
  readonly manifest: Uint8Array;
  /** SHA-256 of the manifest: the batch's manifest_digest. */
  readonly digest: Uint8Array;
  /** The encrypted blocks of its pieces. */
  readonly pieces: readonly Uint8Array[];
}

/** What a manifest says. */
export interface Manifest {
  /** Id of the content key. */
  readonly keyId: Uint8Array;
  /** When the batch was closed, in milliseconds since 1970. */
  readonly createTime: number;
  /** SHA-256 of each piece's block. */
  readonly pieces: readonly Uint8Array[];
}

/** The content key of 32 bytes; its id is the start of SHA-256("anchord/content-key/v1" ‖ key). */
export function contentKeyOf(bytes: Uint8Array): ContentKey {
  if (bytes.length !== 32) throw new Error(`a content key has 32 bytes, not ${bytes.length}`);
  return { id: sha256(KEY_TAG, bytes).subarray(0, 8), bytes };
}

/**
 * A batch's entries as they are published. The same batch and key give the same bytes at any time, so
 * a publication can be repeated. Requires at least one entry, all of the batch's, in the order of the
 * log, and a create time in whole milliseconds.
 */
export function publicationOf(
  entries: Iterable<Uint8Array>,
  batch: PieceSecrets & { readonly createTime: number },
): Publication {
  const pieces = [...piecesOf(entries, batch)];
  const manifest = toBinary(
    BatchManifestSchema,
    create(BatchManifestSchema, {
      format: FORMAT,
      keyId: batch.key.id,
      createTime: timestampFromMs(batch.createTime),
      pieces: pieces.map((piece) => sha256(piece)),
    }),
  );
  return { manifest, digest: sha256(manifest), pieces };
}

/** The encrypted blocks of a batch's pieces, one at a time. Requires what publicationOf does. */
export function* piecesOf(
  entries: Iterable<Uint8Array>,
  secrets: PieceSecrets,
): Generator<Uint8Array, void, undefined> {
  const key = batchKey(secrets);
  let index = 0;
  for (const group of grouped(entries)) yield encrypt(key, index++, encodePiece(group));
  if (index === 0) throw new Error("a batch without entries cannot be published");
}

/** Reads a manifest. Throws an Error that says what is wrong unless it is the one with the digest. */
export function readManifest(bytes: Uint8Array, digest: Uint8Array): Manifest {
  requireDigest("the manifest", bytes, digest);
  const manifest = decode("the manifest", () =>
    fromBinary(BatchManifestSchema, bytes, { readUnknownFields: false }),
  );
  const { format, keyId, createTime, pieces } = manifest;
  if (format !== FORMAT) {
    throw new Error(`the manifest has format ${format}; only format ${FORMAT} is known`);
  }
  if (!sameBytes(toBinary(BatchManifestSchema, manifest), bytes)) {
    throw new Error("the manifest's encoding is not canonical");
  }
  if (keyId.length !== 8) throw new Error(`the manifest's key_id has ${keyId.length} bytes, not 8`);
  if (pieces.length === 0) throw new Error("the manifest has no pieces");
  for (const [index, piece] of pieces.entries()) {
    if (piece.length !== 32) {
      throw new Error(`the manifest's digest of piece ${index} has ${piece.length} bytes, not 32`);
    }
  }
  return { keyId, createTime: wholeMilliseconds(createTime), pieces };
}

/**
 * The entries of one piece, so that a batch can be read piece by piece. `index` is its place in the
 * manifest, `digest` what the manifest has there. Throws an Error that says what is wrong.
 */
export function readPiece(
  block: Uint8Array,
  digest: Uint8Array,
  index: number,
  secrets: PieceSecrets,
): Uint8Array[] {
  const name = `piece ${index}`;
  requireDigest(name, block, digest);
  const plain = decrypt(batchKey(secrets), index, block);
  if (plain === undefined) {
    throw new Error(
      `${name} cannot be decrypted with content key ${hex(secrets.key.id)}: it was encrypted with ` +
        "another key, for another log or batch, or for another place in its batch",
    );
  }
  const piece: BatchPiece = decode(name, () =>
    fromBinary(BatchPieceSchema, plain, { readUnknownFields: false }),
  );
  if (!sameBytes(encodePiece(piece.entries), plain)) {
    throw new Error(`${name}'s encoding is not canonical`);
  }
  if (piece.entries.length === 0) throw new Error(`${name} has no entries`);
  return piece.entries;
}

/** As many entries in each group as a piece can hold; one that is larger alone has a group of its own. */
function* grouped(entries: Iterable<Uint8Array>): Generator<Uint8Array[], void, undefined> {
  let group: Uint8Array[] = [];
  let bytes = 0;
  for (const entry of entries) {
    const more = fieldSize(entry.length);
    if (group.length > 0 && bytes + more > MAX_PIECE_BYTES) {
      yield group;
      group = [];
      bytes = 0;
    }
    group.push(entry);
    bytes += more;
  }
  if (group.length > 0) yield group;
}

/** The bytes that an entry takes in an encoded BatchPiece: tag, length, itself. */
function fieldSize(length: number): number {
  let size = 2 + length;
  for (let rest = length; rest > 127; rest = Math.floor(rest / 128)) size += 1;
  return size;
}

function encodePiece(entries: Uint8Array[]): Uint8Array {
  return toBinary(BatchPieceSchema, create(BatchPieceSchema, { entries }));
}

/**
 * The key of one batch. The root commits to the entries, and every entry holds 16 random bytes: other
 * content never meets the same key, and so a piece's index can be its nonce.
 */
function batchKey({ key, genesisHead, root }: PieceSecrets): Uint8Array {
  const info = Buffer.concat([BATCH_TAG, genesisHead]);
  return new Uint8Array(hkdfSync("sha256", key.bytes, root, info, 32));
}

function encrypt(key: Uint8Array, index: number, plain: Uint8Array): Uint8Array {
  const cipher = createCipheriv(CIPHER, key, nonceOf(index));
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** Undefined where the block was not encrypted with this key at this index. */
function decrypt(key: Uint8Array, index: number, block: Uint8Array): Uint8Array | undefined {
  if (block.length < TAG_BYTES) return undefined;
  const end = block.length - TAG_BYTES;
  const decipher = createDecipheriv(CIPHER, key, nonceOf(index), { authTagLength: TAG_BYTES });
  decipher.setAuthTag(block.subarray(end));
  const plain = decipher.update(block.subarray(0, end));
  try {
    decipher.final(); // throws where the tag is wrong; has no bytes otherwise
    return plain;
  } catch {
    return undefined;
  }
}

/** The index as 96 bits, big-endian. */
function nonceOf(index: number): Buffer {
  return Buffer.concat([Buffer.alloc(4), u64(index)]);
}

function requireDigest(name: string, bytes: Uint8Array, expected: Uint8Array): void {
  const actual = sha256(bytes);
  if (!sameBytes(actual, expected)) {
    throw new Error(`${name} has SHA-256 ${hex(actual)}, not ${hex(expected)}`);
  }
}

function decode<T extends BatchManifest | BatchPiece>(name: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new Error(`${name} cannot be decoded: ${messageOf(error)}`, { cause: error });
  }
}

function wholeMilliseconds(time: Timestamp | undefined): number {
  if (time === undefined) throw new Error("the manifest has no create_time");
  const { seconds, nanos } = time;
  const isDate = seconds >= -62_135_596_800n && seconds <= 253_402_300_799n;
  if (!isDate || nanos < 0 || nanos > 999_000_000 || nanos % 1_000_000 !== 0) {
    throw new Error("the manifest's create_time is not a time in whole milliseconds");
  }
  return timestampMs(time);
}
