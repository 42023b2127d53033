import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { createWriter, headerLength } from "@ipld/car/buffer-writer";
import * as dagPb from "@ipld/dag-pb";
import { CID } from "multiformats/cid";
import * as raw from "multiformats/codecs/raw";
import { hex, sameBytes, sha256 } from "./bytes.js";

const SHA2_256 = 0x12;

/** A CID of version 1 with a codec below 128 and a SHA-256. */
const CID_BYTES = 36;

/** Blocks of a bundle have at most 256 KiB; what says to be longer than this is not read. */
const MAX_BLOCK_BYTES = 1_048_576;

/** A length of more bytes than this is above every block. */
const MAX_LENGTH_BYTES = 4;

/** A block and its CID. */
export interface Block {
  readonly cid: CID;
  readonly bytes: Uint8Array;
}

/** What is wrong with a CAR file. */
export class CarFault extends Error {
  override readonly name = "CarFault";
}

/** The header of a CARv1 file with one root. */
export function carHeader(root: CID): Uint8Array {
  const roots = [root];
  return createWriter(new ArrayBuffer(headerLength({ roots })), { roots }).close();
}

/** A block as it stands in a CAR file. */
export function carSection({ cid, bytes }: Block): Uint8Array {
  const writer = new BinaryWriter().uint32(cid.bytes.length + bytes.length);
  return writer.raw(cid.bytes).raw(bytes).finish();
}

/** Where the CID of the root stands in the header. */
const ROOT_AT = 14;
const HEADER_BYTES = 59;

/** Whether a file that begins with these bytes is meant to be a CARv1 file. */
export function looksLikeCar(start: Uint8Array): boolean {
  return Buffer.from(start.subarray(2, 8)).toString("latin1") === "eroots";
}

/**
 * Reads a CARv1 file with one root whose blocks stand where the walk through them asks for them, depth
 * first, each as often as it is asked for. So nothing is kept, and nothing is read twice.
 */
export class CarReader {
  private constructor(
    readonly root: CID,
    private readonly bytes: ByteReader,
  ) {}

  /** Reads the header. Throws CarFault, or what the chunks reject with. */
  static async open(chunks: AsyncIterable<Uint8Array>): Promise<CarReader> {
    const bytes = new ByteReader(chunks);
    const header = await bytes.take(HEADER_BYTES, "its header");
    const root = cidOf(header.subarray(ROOT_AT, ROOT_AT + CID_BYTES));
    if (root?.code !== dagPb.code || !sameBytes(carHeader(root), header)) {
      throw new CarFault("it does not begin with the header of CARv1 with one root");
    }
    return new CarReader(root, bytes);
  }

  /** The next block, which must be the one with this CID. Throws CarFault. */
  async take(cid: CID): Promise<Uint8Array> {
    const name = `block ${cid.toString()}`;
    if (cidOf(cid.bytes) === undefined) {
      throw new CarFault(`${name} has a CID that is not of version 1, raw or dag-pb, and sha2-256`);
    }
    const length = (await this.#length(name)) - CID_BYTES;
    if (length < 0) throw new CarFault(`${name} is wanted, and what stands there is no block`);
    if (length > MAX_BLOCK_BYTES) {
      throw new CarFault(`${name} is wanted, and a block stands there that says to be too large`);
    }
    const found = await this.bytes.take(CID_BYTES, name);
    if (!sameBytes(found, cid.bytes)) {
      const other = cidOf(found)?.toString() ?? "something else";
      throw new CarFault(`${name} is wanted, and ${other} stands there`);
    }
    const block = await this.bytes.take(length, name);
    const digest = sha256(block);
    if (sameBytes(digest, cid.multihash.digest)) return block;
    throw new CarFault(`${name} is altered: its bytes have SHA-256 ${hex(digest)}`);
  }

  /** Throws CarFault unless the file ends here. */
  async end(): Promise<void> {
    if (!(await this.bytes.isAtEnd())) throw new CarFault("it goes on behind its last block");
  }

  /** A length in its shortest form. */
  async #length(name: string): Promise<number> {
    let value = 0;
    for (let i = 0; i < MAX_LENGTH_BYTES; i++) {
      const [byte = 0] = await this.bytes.take(1, name);
      value += (byte & 0x7f) * 2 ** (7 * i);
      if (byte === 0 && i > 0)
        throw new CarFault(`the length of ${name} is not in its shortest form`);
      if (byte < 0x80) return value;
    }
    throw new CarFault(`${name} is wanted, and a block stands there that says to be too large`);
  }
}

/** The CID that these bytes are, if it is of the one form that bundles have. */
function cidOf(bytes: Uint8Array): CID | undefined {
  try {
    const cid = CID.decode(bytes);
    const { version, code, multihash } = cid;
    const isKnown = version === 1 && (code === raw.code || code === dagPb.code);
    const isSha256 = multihash.code === SHA2_256 && multihash.digest.length === 32;
    return isKnown && isSha256 && bytes.length === CID_BYTES ? cid : undefined;
  } catch {
    return undefined; // it is none
  }
}

/** Bytes that come in chunks of any size. */
class ByteReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array(0);
  #at = 0;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** The next so many bytes. Throws CarFault where there are fewer. */
  async take(length: number, name: string): Promise<Uint8Array> {
    const bytes = Buffer.allocUnsafeSlow(length);
    for (let filled = 0; filled < length;) {
      if (await this.isAtEnd()) throw new CarFault(`it is cut short: ${name} is missing`);
      const part = this.#chunk.subarray(this.#at, this.#at + length - filled);
      bytes.set(part, filled);
      filled += part.length;
      this.#at += part.length;
    }
    return bytes;
  }

  async isAtEnd(): Promise<boolean> {
    while (this.#at === this.#chunk.length) {
      const next = await this.#chunks.next();
      if (next.done === true) return true;
      this.#chunk = next.value;
      this.#at = 0;
    }
    return false;
  }
}
