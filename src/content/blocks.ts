import { randomUUID } from "node:crypto";
import { open, readFile, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { hex, sameBytes, sha256 } from "../core/bytes.js";
import { AnchordError, messageOf } from "../core/errors.js";
import { codeOf, makeFolder, syncFolder } from "./files.js";

/** How old a file must be that a crash has left before it is finished. */
const LITTER_MS = 60 * 60 * 1000;

/**
 * Blocks in a folder, each in a file named by its SHA-256, so that `sha256sum` can check them. Several
 * processes may use one folder.
 */
export class BlockFiles {
  readonly #folder: string;
  /** Folders that were made or found since a write last failed. */
  readonly #made = new Map<string, Promise<void>>();

  constructor(folder: string) {
    this.#folder = resolve(folder);
  }

  /** The block, if it is there and undamaged. */
  async read(digest: Uint8Array): Promise<Uint8Array | undefined> {
    try {
      const block = await readFile(this.#file(digest));
      return sameBytes(sha256(block), digest) ? block : undefined;
    } catch (error) {
      // What the disk cannot read any more is damaged, and may be had from a peer.
      if (["ENOENT", "EIO"].includes(codeOf(error))) return undefined;
      throw this.#failure("read", error);
    }
  }

  /** Keeps a block; resolves once no crash can lose it. */
  async write(digest: Uint8Array, block: Uint8Array): Promise<void> {
    const file = this.#file(digest);
    const intact = (await this.read(digest)) !== undefined;
    try {
      await this.#make(dirname(file));
      if (!intact) await this.#replace(file, block);
      await syncFolder(dirname(file)); // also where another writer has only just put it there
    } catch (error) {
      this.#made.clear(); // someone may have removed them
      throw this.#failure("write to", error);
    }
  }

  /** Whether there is a file for the block. */
  async has(digest: Uint8Array): Promise<boolean> {
    try {
      return (await stat(this.#file(digest))).isFile();
    } catch (error) {
      if (codeOf(error) === "ENOENT") return false;
      throw this.#failure("read", error);
    }
  }

  #file(digest: Uint8Array): string {
    const name = hex(digest);
    return join(this.#folder, "blocks", name.slice(0, 2), name);
  }

  /** Puts a file in place, whole or not at all. */
  async #replace(file: string, block: Uint8Array): Promise<void> {
    const temporaries = join(this.#folder, "tmp");
    await this.#make(temporaries, () => removeLitter(temporaries));
    const temporary = join(temporaries, randomUUID());
    try {
      const handle = await open(temporary, "wx", 0o600);
      try {
        await handle.writeFile(block);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(temporary, file);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw error;
    }
  }

  /** Makes a folder once: a second writer waits until it is durable. */
  #make(folder: string, then?: () => Promise<void>): Promise<void> {
    const known = this.#made.get(folder);
    if (known !== undefined) return known;
    const making = makeFolder(folder).then(then);
    this.#made.set(folder, making);
    return making;
  }

  #failure(doing: string, error: unknown): Error {
    const code = codeOf(error);
    if (code === "ENOSPC" || code === "EDQUOT") {
      const message = "the disk under the content store is full: free some space and try again";
      return new AnchordError("STORAGE_FULL", message, { cause: error });
    }
    return new Error(
      `the content store cannot ${doing} ${this.#folder} (${code || messageOf(error)}): ` +
        "it must be a folder that the service may read and write",
      { cause: error },
    );
  }
}

/** Removes what crashes have left; what another process is writing now is younger. */
async function removeLitter(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const file = join(folder, name);
    const { mtimeMs } = await stat(file).catch(() => ({ mtimeMs: Date.now() })); // done by now
    if (Date.now() - mtimeMs > LITTER_MS) await rm(file, { force: true });
  }
}
