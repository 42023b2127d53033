import { randomBytes, randomUUID } from "node:crypto";
import { readlinkSync } from "node:fs";
import { mkdir, readdir, rename, rm, rmdir, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join, resolve } from "node:path";
import { codeOf, makeFolder, storageFailure, syncFolder } from "./files.js";

/** Whose uploads nobody has touched for so long are taken for remains, where we cannot see its process. */
const ABANDONED_MS = 24 * 60 * 60 * 1000;

/** A process that has claimed a file writes its record at once; one that we cannot see has this long. */
const UNCLEAR_MS = 10 * 60 * 1000;

/** How often it is looked for what others have left. */
const SWEEP_MS = 60 * 60 * 1000;

/** Between the name and the CID of a claimed file. */
const CLAIMED = "~";

/** Where the ids of processes mean what they mean here: this host or container, whatever others are called. */
const PLACE = `${hostname()
  .replace(/[^A-Za-z0-9-]/g, "-")
  .slice(0, 64)}-${processNamespace()}`;

/** This process: its id may be that of an earlier one, what follows is not. */
const OWNER = `${PLACE}.${process.pid}.${randomBytes(6).toString("hex")}`;

/** A claimed file that waits to be kept. */
export interface Claim {
  readonly name: string;
  readonly cid: string;
  readonly folder: string;
  /** Whether its process is this one or has ended: else that may be busy with it. */
  readonly isOurs: boolean;
}

/**
 * Folders of blocks that are not in the content store yet. Each process has a folder of its own, with one
 * for each upload under way and, under their names and CIDs, one for each claimed file.
 */
export class Staging {
  readonly #folder: string;
  readonly #sweepMs: number;
  #sweptAt = -Infinity;
  #swept = Promise.resolve();
  /** Files that were claimed, maybe again, since they were last begun to be kept. */
  readonly #renewed = new Set<string>();
  /** What comes last of what must not be done side by side. */
  #last: Promise<unknown> = Promise.resolve();

  /** Looks for what others have left now, and from time to time. */
  constructor(folder: string, sweepMs = SWEEP_MS) {
    this.#folder = resolve(folder);
    this.#sweepMs = sweepMs;
    void this.#sweepIfDue();
  }

  /** Makes the folder of an upload. */
  async create(): Promise<string> {
    await this.#sweepIfDue();
    const own = join(this.#folder, OWNER);
    const folder = join(own, randomUUID());
    try {
      await makeFolder(own);
      await mkdir(folder, { mode: 0o700 });
      return folder;
    } catch (error) {
      throw storageFailure("write to", this.#folder, error);
    }
  }

  /**
   * Gives an upload its name, durably. Where the same file has that name already, whose blocks may have
   * been damaged since, these replace them. Resolves to where it is now.
   */
  async claim(upload: string, name: string, cid: string): Promise<string> {
    if (!/^[\w-]{1,100}$/.test(name)) throw new Error(`${name} cannot name a claimed file`);
    const own = join(this.#folder, OWNER);
    const folder = join(own, `${name}${CLAIMED}${cid}`);
    try {
      await this.#alone(() => this.#rename(upload, folder));
      await syncFolder(own);
      return folder;
    } catch (error) {
      throw storageFailure("write to", this.#folder, error);
    }
  }

  /** The claimed files of all processes. */
  async claims(): Promise<Claim[]> {
    void this.#sweepIfDue();
    const claims: Claim[] = [];
    for (const owner of await foldersIn(this.#folder)) {
      for (const entry of await foldersIn(join(this.#folder, owner))) {
        const [name = "", cid] = entry.split(CLAIMED);
        if (cid === undefined) continue;
        const folder = join(this.#folder, owner, entry);
        const isOurs =
          owner === OWNER || hasEnded(owner) || (await ageOf(folder, "ctimeMs")) > UNCLEAR_MS;
        claims.push({ name, cid, folder, isOurs });
      }
    }
    return claims;
  }

  /** Removes the folder of an upload or a claimed file. A crash leaves it claimed and whole, or unclaimed. */
  async remove(folder: string): Promise<void> {
    await this.#removeIf(folder, () => true);
  }

  /** Does something with the blocks of a folder, again where it was claimed meanwhile, and removes it. */
  async removeAfter(folder: string, work: () => Promise<void>): Promise<void> {
    do {
      this.#renewed.delete(folder);
      await work();
    } while (!(await this.#removeIf(folder, () => !this.#renewed.has(folder))));
  }

  async #removeIf(folder: string, isMeant: () => boolean): Promise<boolean> {
    const unclaimed = join(dirname(folder), randomUUID());
    try {
      const isTaken = await this.#alone(async () => {
        if (!isMeant()) return false;
        await rename(folder, unclaimed);
        this.#renewed.delete(folder);
        return true;
      });
      if (isTaken) await rm(unclaimed, { recursive: true, force: true });
      return isTaken;
    } catch (error) {
      if (codeOf(error) === "ENOENT") return true;
      throw storageFailure("write to", this.#folder, error);
    }
  }

  /** Where there is a claimed file already, it has all its blocks whenever a crash comes. */
  async #rename(upload: string, folder: string): Promise<void> {
    if (!(await takesName(upload, folder))) {
      for (const block of await readdir(upload)) {
        await rename(join(upload, block), join(folder, block));
      }
      await syncFolder(folder);
      await rmdir(upload);
    }
    this.#renewed.add(folder);
  }

  /** Does one thing after the other. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }

  /** Resolves once there was a look at what others have left, not long ago. */
  #sweepIfDue(): Promise<void> {
    if (performance.now() - this.#sweptAt >= this.#sweepMs) {
      this.#sweptAt = performance.now();
      this.#swept = this.#sweep().catch(() => undefined); // they are in nobody's way
    }
    return this.#swept;
  }

  /** Removes what processes that have ended left of their uploads. */
  async #sweep(): Promise<void> {
    for (const owner of await foldersIn(this.#folder)) {
      if (owner === OWNER) continue;
      const ended = hasEnded(owner);
      const folder = join(this.#folder, owner);
      const isAbandoned = async (path: string) =>
        ended || (await ageOf(path, "mtimeMs")) > ABANDONED_MS;
      for (const entry of await foldersIn(folder)) {
        const path = join(folder, entry);
        if (!entry.includes(CLAIMED) && (await isAbandoned(path))) await this.remove(path);
      }
      if (await isAbandoned(folder)) await rmdir(folder).catch(() => undefined); // it may have claims
    }
  }
}

/** Renames a folder, unless there is one of that name that is not empty: resolves to whether it did. */
async function takesName(folder: string, name: string): Promise<boolean> {
  try {
    await rename(folder, name);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOTEMPTY" || codeOf(error) === "EEXIST") return false;
    throw error;
  }
}

/** The number of the namespace that this process has its id in; none where there is but one. */
function processNamespace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid").replace(/\D/g, "");
  } catch {
    return "";
  }
}

/** Whether a process is known to have ended: one of elsewhere is not, whatever its id. */
function hasEnded(owner: string): boolean {
  const [place, id = "", token] = owner.split(".");
  if (place !== PLACE || token === undefined) return false;
  if (Number(id) === process.pid) return true; // and it is not us
  try {
    process.kill(Number(id), 0);
    return false;
  } catch (error) {
    return codeOf(error) === "ESRCH";
  }
}

async function foldersIn(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    throw storageFailure("read", folder, error);
  }
}

/** How many milliseconds ago a folder changed: what it lists (mtime), or that or its name (ctime). */
async function ageOf(path: string, time: "mtimeMs" | "ctimeMs"): Promise<number> {
  const stats = await stat(path).catch(() => undefined); // removed meanwhile
  return stats === undefined ? 0 : Date.now() - stats[time];
}
