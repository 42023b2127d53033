import { randomUUID } from "node:crypto";
import { access, open, readFile, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { hex, sameBytes, sha256, unhex } from "../core/bytes.js";
import { codeOf, eachOf, makeFolder, storageFailure, syncFolder } from "./files.js";
import type { Condition } from "./port.js";

/** How old a file must be that a crash has left before it is finished. */
const LITTER_MS = 60 * 60 * 1000;

/** How many files are moved at once. */
const MOVES = 8;

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
    const found = await this.#look(digest);
    return typeof found === "string" ? undefined : found;
  }

  /** What there is of the block. */
  async check(digest: Uint8Array): Promise<Condition> {
    const found = await this.#look(digest);
    return typeof found === "string" ? found : "intact";
  }

  /** Keeps a block; resolves once no crash can lose it. */
  async write(digest: Uint8Array, block: Uint8Array): Promise<void> {
    const file = this.#file(digest);
    const intact = (await this.read(digest)) !== undefined;
    await this.#writing(async () => {
      await this.#make(dirname(file));
      if (!intact) await this.#replace(file, block);
      await syncFolder(dirname(file)); // also where another writer has only just put it there
    });
  }

  /**
   * Moves the blocks of another folder here, where they are not already, intact. Resolves to the digests
   * of all once no crash can lose them. Requires files named by their SHA-256, which are durable.
   */
  async adopt(folder: string): Promise<Uint8Array[]> {
    const names = await readdir(folder).catch((error: unknown) => {
      throw storageFailure("read", folder, error);
    });
    const digests = names.map((name) => unhex(name));
    await eachOf(digests, MOVES, (digest) => this.#adopt(folder, digest));
    const folders = new Set(digests.map((digest) => dirname(this.#file(digest))));
    await this.#writing(() => eachOf([...folders], MOVES, syncFolder));
    return digests;
  }

  async #adopt(folder: string, digest: Uint8Array): Promise<void> {
    const [from, to] = [join(folder, hex(digest)), this.#file(digest)];
    if ((await this.check(digest)) === "intact") return;
    await this.#writing(async () => {
      await this.#make(dirname(to));
      try {
        await rename(from, to);
      } catch (error) {
        if (codeOf(error) === "ENOENT" && (await isThere(to))) return; // someone else has moved it
        if (codeOf(error) !== "EXDEV") throw error;
        await this.#replace(to, await readFile(from));
      }
    });
  }

  /** The block, or why it cannot be had. */
  async #look(digest: Uint8Array): Promise<Uint8Array | "missing" | "altered"> {
    try {
      const block = await readFile(this.#file(digest));
      return sameBytes(sha256(block), digest) ? block : "altered";
    } catch (error) {
      if (codeOf(error) === "ENOENT") return "missing";
      // What the disk cannot read any more is damaged, and may be had from a peer.
      if (codeOf(error) === "EIO") return "altered";
      throw storageFailure("read", this.#folder, error);
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

  async #writing(write: () => Promise<void>): Promise<void> {
    try {
      await write();
    } catch (error) {
      this.#made.clear(); // someone may have removed them
      throw storageFailure("write to", this.#folder, error);
    }
  }
}

async function isThere(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

/** Removes what crashes have left; what another process is writing now is younger. */
async function removeLitter(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const file = join(folder, name);
    const { mtimeMs } = await stat(file).catch(() => ({ mtimeMs: Date.now() })); // done by now
    if (Date.now() - mtimeMs > LITTER_MS) await rm(file, { force: true });
  }
}
