import { statfs } from "node:fs/promises";
import { AnchordError } from "../core/errors.js";
import { storageFailure } from "./files.js";

const RESERVE_BYTES = 256 * 1024 * 1024;
const RESERVE_SHARE = 0.02;

/** What uploads leave free of a disk of so many bytes, in bytes: the database may be on it too. */
export function diskReserve(size: number): number {
  return Math.min(RESERVE_BYTES, size * RESERVE_SHARE);
}

/** How many bytes are written before the disk is looked at again. */
const LOOK_EVERY_BYTES = 16 * 1024 * 1024;

/** Keeps uploads from taking all of a disk. */
export class DiskReserve {
  readonly #folder: string;
  /** How many bytes may still be written before the disk is looked at. */
  #unseen = 0;

  /** Requires a folder that is there by the first call. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** To be called before so many bytes are written. Rejects with STORAGE_FULL where no room is left for them. */
  async require(bytes: number): Promise<void> {
    this.#unseen -= bytes;
    if (this.#unseen >= 0) return;
    const room = await this.#room();
    if (room < bytes) {
      const message =
        "the disk under the content store is nearly full, and the rest is not for uploads: free some space and try again";
      throw new AnchordError("STORAGE_FULL", message);
    }
    this.#unseen = Math.min(room, LOOK_EVERY_BYTES) - bytes;
  }

  async #room(): Promise<number> {
    const { bavail, blocks, bsize } = await statfs(this.#folder).catch((error: unknown) => {
      throw storageFailure("read", this.#folder, error);
    });
    return bavail * bsize - diskReserve(blocks * bsize);
  }
}
