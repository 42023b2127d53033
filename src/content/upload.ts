import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { join } from "node:path";
import type { CID } from "multiformats/cid";
import { hex } from "../core/bytes.js";
import { tooLarge } from "../core/evidence.js";
import type { DiskReserve } from "./disk-reserve.js";
import { codeOf, storageFailure, syncFolder } from "./files.js";
import { CHUNK_BYTES, chunksOf, newRoom } from "./unixfs.js";

/** How many blocks of all uploads are being written at once: enough that each of Node's four threads has one. */
const WRITES = 8;

/** An upload: what arrives is hashed, cut into chunks, and its blocks are written to a folder. */
export class Upload {
  /** How many bytes have arrived. */
  size = 0;
  readonly #folder: string;
  readonly #mostBytes: number;
  readonly #slots: Slots;
  readonly #disk: DiskReserve;
  readonly #hash = createHash("sha256");
  readonly #writes = new Set<Promise<void>>();
  /** Rooms of chunks that were written, for those to come: new ones would be garbage as fast as it arrives. */
  readonly #rooms: Uint8Array[] = [];
  #failure: Error | undefined;

  constructor(folder: string, mostBytes: number, slots: Slots, disk: DiskReserve) {
    this.#folder = folder;
    this.#mostBytes = mostBytes;
    this.#slots = slots;
    this.#disk = disk;
  }

  /** The chunks of a file, whatever pieces it comes in. */
  chunksOf(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    return chunksOf(this.#counted(pieces), () => this.#rooms.pop() ?? newRoom());
  }

  /**
   * Begins to write a block as soon as there is a slot; a chunk's bytes are then another's. Rejects with
   * STORAGE_FULL where there is no room.
   */
  async take(cid: CID, block: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) return; // told by what is called next
    await this.#disk.require(block.length);
    await this.#slots.take();
    const write = writeStaged(this.#folder, cid.multihash.digest, block)
      .catch((error: unknown) => {
        this.#failure ??= storageFailure("write to", this.#folder, error);
      })
      .finally(() => {
        this.#slots.release();
        this.#writes.delete(write);
        if (block.length === CHUNK_BYTES) this.#rooms.push(block); // no node has so many
      });
    this.#writes.add(write);
  }

  /** Resolves once every block is durable. */
  async finish(): Promise<void> {
    await this.settled();
    if (this.#failure !== undefined) throw this.#failure;
    await syncFolder(this.#folder).catch((error: unknown) => {
      throw storageFailure("write to", this.#folder, error);
    });
  }

  /** Resolves once nothing is being written any more. */
  async settled(): Promise<void> {
    await Promise.all(this.#writes);
  }

  /** SHA-256 of all that has arrived. Called once, at the end. */
  sha256(): Uint8Array {
    return this.#hash.digest();
  }

  async *#counted(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const piece of pieces) {
      if (this.#failure !== undefined) throw this.#failure;
      this.size += piece.length;
      if (this.size > this.#mostBytes) throw tooLarge(this.#mostBytes);
      this.#hash.update(piece);
      yield piece;
    }
  }
}

/** Lets all uploads write only so many blocks at once, in the order in which they came. */
export class Slots {
  #free = WRITES;
  readonly #waiting: (() => void)[] = [];

  /** Resolves once there is a slot, which is then the caller's. */
  async take(): Promise<void> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Gives a slot back. */
  release(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next();
  }
}

async function writeStaged(folder: string, digest: Uint8Array, block: Uint8Array): Promise<void> {
  let handle;
  try {
    handle = await open(join(folder, hex(digest)), "wx", 0o600);
  } catch (error) {
    if (codeOf(error) === "EEXIST") return; // the file has it several times
    throw error;
  }
  try {
    await handle.writeFile(block);
    await handle.datasync();
  } finally {
    await handle.close();
  }
}
