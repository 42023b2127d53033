import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { CID } from "multiformats/cid";
import { hex, sameBytes, sha256 } from "../core/bytes.js";
import { AnchordError } from "../core/errors.js";
import { DiskReserve } from "./disk-reserve.js";
import type { Condition, ContentStore } from "./port.js";
import { Staging } from "./staging.js";
import { importChunks, walkFile } from "./unixfs.js";
import { unlessIdle } from "./unless-idle.js";
import { Slots, Upload } from "./upload.js";

const SHA2_256 = 0x12;

/** How many blocks are read before a reader asks for them. */
const AHEAD = 4;

/** Peers that do not have so many blocks of a file are not asked for the rest of it. */
const LOST_BEFORE_GIVING_UP = 16;

/** The least that a check is slowed down by at once, in milliseconds. */
const PAUSE_MS = 10;

/** How many files are received at once at most. */
const MOST_AT_ONCE = 64;

/** How long a file may pause on its way to us, in milliseconds. */
const IDLE_MS = 5 * 60 * 1000;

/** A part of a file. */
export interface Range {
  readonly offset: number;
  readonly length: number;
}

/** A file whose blocks are on the local disk, and not in the content store yet. */
export interface StagedFile {
  /** Its CID, of version 1 in base32. */
  readonly cid: string;
  readonly cidBytes: Uint8Array;
  readonly sha256: Uint8Array;
  readonly size: number;
  /**
   * Names it, durably: from then on it can be read, and a restart finds it. Does nothing once it is kept.
   * Requires a name of its own, of letters, digits, - and _, at most 100.
   */
  claim(name: string): Promise<void>;
  /**
   * Brings it to the content store, and leaves nothing here. Safe to repeat. Rejects with
   * CONTENT_UNAVAILABLE or STORAGE_FULL, and is then still here. Resolves to whether it was still here.
   */
  keep(): Promise<boolean>;
  /** Removes it; nothing that is in the content store. */
  discard(): Promise<void>;
  /** Its blocks in depth-first order, each as often as it has it. Requires that it was not kept or removed. */
  blocks(): AsyncIterable<{ readonly cid: CID; readonly bytes: Uint8Array }>;
}

/** A claimed file that waits to be kept. */
export interface ClaimedFile extends Pick<StagedFile, "keep" | "discard"> {
  /** What it was claimed with. */
  readonly name: string;
}

/** What was found of a file, and what there is of it after peers were asked for the rest. */
export interface FileCheck {
  readonly found: Condition;
  readonly after: Condition;
  /** SHA-256 of the file; undefined where not all of it could be had. */
  readonly sha256: Uint8Array | undefined;
}

/** How a file is checked. */
export interface FileCheckOptions {
  /** How much of the file is read in a second at most. */
  readonly bytesPerSecond: number;
  readonly signal?: AbortSignal;
}

/** The files of evidence: staged on the local disk, claimed by records, kept in the content store. */
export interface EvidenceFiles {
  /**
   * Reads a file to its end. Resolves once no crash can lose it, but for its being unclaimed. Rejects with
   * EVIDENCE_TOO_LARGE as soon as it has more than mostBytes, STORAGE_FULL before the disk has no room for
   * others, OVERLOADED where too many files come at once or this one brings nothing any more, or what the
   * chunks reject with; nothing is left then.
   */
  stage(chunks: AsyncIterable<Uint8Array>, mostBytes: number): Promise<StagedFile>;
  /**
   * The claimed files that are waiting. Those of another process that may be busy with them are left out
   * for ten minutes, so ask again from time to time.
   */
  claimed(): Promise<ClaimedFile[]>;
  /**
   * The bytes of a file by its CID, from its claimed blocks or the content store, verified block by block;
   * those before the offset or after the end of the file are left out. Rejects with CONTENT_LOST where a
   * block cannot be had, CONTENT_UNAVAILABLE, or the signal's reason. Requires a valid CID.
   */
  read(cid: string, range?: Range, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  /** The blocks of a file by its CID in depth-first order, each as often as the file has it: for a CAR. */
  blocks(
    cid: string,
    signal?: AbortSignal,
  ): AsyncIterable<{ readonly cid: CID; readonly bytes: Uint8Array }>;
  /**
   * Reads and hashes all that the content store has of a file, and has what is missing or altered repaired
   * where peers can. Rejects with CONTENT_UNAVAILABLE, or the signal's reason. Requires a valid CID.
   */
  check(cid: string, options: FileCheckOptions): Promise<FileCheck>;
}

/** How long things may take, in milliseconds. */
export interface EvidenceFilesOptions {
  /** How long a file may pause on its way to us. Default: 5 minutes. */
  readonly idleMs?: number;
  /** How often it is looked for what other processes have left. Default: each hour. */
  readonly sweepMs?: number;
}

/**
 * Opens the files of evidence. The folder holds what is staged; it must be on the disk of the embedded
 * node's blocks to be fast, and may be shared by processes. What those that have ended left of uploads is
 * removed.
 */
export function openEvidenceFiles(
  folder: string,
  content: ContentStore,
  { idleMs = IDLE_MS, sweepMs }: EvidenceFilesOptions = {},
): EvidenceFiles {
  return new Files(new Staging(folder, sweepMs), content, new DiskReserve(folder), idleMs);
}

class Files implements EvidenceFiles {
  readonly #staging: Staging;
  readonly #content: ContentStore;
  readonly #disk: DiskReserve;
  readonly #idleMs: number;
  readonly #slots = new Slots();
  /** How many files are being received. */
  #receiving = 0;
  /** Keeps under way, by folder. */
  readonly #keeping = new Map<string, Promise<boolean>>();

  constructor(staging: Staging, content: ContentStore, disk: DiskReserve, idleMs: number) {
    this.#staging = staging;
    this.#content = content;
    this.#disk = disk;
    this.#idleMs = idleMs;
  }

  async stage(chunks: AsyncIterable<Uint8Array>, mostBytes: number): Promise<StagedFile> {
    if (this.#receiving >= MOST_AT_ONCE) throw tooMany();
    this.#receiving++;
    try {
      return await this.#receive(unlessIdle(chunks, this.#idleMs), mostBytes);
    } finally {
      this.#receiving--;
    }
  }

  async #receive(pieces: AsyncIterable<Uint8Array>, mostBytes: number): Promise<StagedFile> {
    let folder = await this.#staging.create();
    const upload = new Upload(folder, mostBytes, this.#slots, this.#disk);
    try {
      const root = await importChunks(upload.chunksOf(pieces), (cid, block) =>
        upload.take(cid, block),
      );
      await upload.finish();
      const cid = root.toString();
      return {
        cid,
        cidBytes: root.bytes,
        sha256: upload.sha256(),
        size: upload.size,
        claim: async (name) => {
          if (await isThere(folder)) folder = await this.#staging.claim(folder, name, cid);
        },
        keep: () => this.#keep(folder, root),
        discard: () => this.#staging.remove(folder),
        blocks: () => stagedBlocks(folder, root),
      };
    } catch (error) {
      await upload.settled();
      await this.#staging.remove(folder);
      throw error;
    }
  }

  async claimed(): Promise<ClaimedFile[]> {
    const claims = await this.#staging.claims();
    return claims
      .filter(({ isOurs }) => isOurs)
      .map(({ name, cid, folder }) => ({
        name,
        keep: () => this.#keep(folder, CID.parse(cid)),
        discard: () => this.#staging.remove(folder),
      }));
  }

  async *read(cid: string, range?: Range, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    for await (const { data } of this.#walk(CID.parse(cid), range, signal)) {
      if (data.length > 0) yield data;
    }
  }

  async *blocks(cid: string, signal?: AbortSignal) {
    for await (const visit of this.#walk(CID.parse(cid), undefined, signal)) {
      yield { cid: visit.cid, bytes: visit.block };
    }
  }

  async check(cid: string, { bytesPerSecond, signal }: FileCheckOptions): Promise<FileCheck> {
    const verdict = { found: "intact" as Condition, after: "intact" as Condition };
    const hash = createHash("sha256");
    let lost = 0;
    const get = async (of: CID): Promise<Uint8Array | undefined> => {
      signal?.throwIfAborted();
      const digest = digestOf(of);
      const found = digest === undefined ? "missing" : await this.#content.check(digest);
      const isHopeless =
        digest === undefined || (found !== "intact" && lost >= LOST_BEFORE_GIVING_UP);
      const block = isHopeless ? undefined : await this.#content.get(digest, signal);
      if (block === undefined) lost++;
      const gone = found === "intact" ? "missing" : found; // it went away in between
      verdict.found = worse(verdict.found, block === undefined ? gone : found);
      if (block === undefined) verdict.after = worse(verdict.after, gone);
      return block;
    };
    const pace = paceOf(bytesPerSecond, signal);
    for await (const { block, data } of walkFile(CID.parse(cid), { get, ahead: 0 })) {
      hash.update(data);
      await pace(block?.length ?? 0);
    }
    return { ...verdict, sha256: verdict.after === "intact" ? hash.digest() : undefined };
  }

  /** The blocks of a file; rejects where one cannot be had. What was begun when it is left is given up. */
  async *#walk(root: CID, range?: Range, signal?: AbortSignal) {
    const left = new AbortController();
    const until = signal === undefined ? left.signal : AbortSignal.any([left.signal, signal]);
    try {
      const cid = root.toString();
      const claims = (await this.#staging.claims()).filter((claim) => claim.cid === cid);
      const folders = claims.map(({ folder }) => folder);
      const get = (of: CID) => this.#find(of, folders, until);
      for await (const { cid, block, data } of walkFile(root, { get, ahead: AHEAD, range })) {
        signal?.throwIfAborted();
        if (block === undefined) throw lost(cid);
        yield { cid, block, data };
      }
    } finally {
      left.abort();
    }
  }

  /** A block, from folders first: it leaves them only when the content store has it. */
  async #find(
    cid: CID,
    folders: readonly string[],
    signal: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    const digest = digestOf(cid);
    if (digest === undefined) return undefined;
    for (const folder of folders) {
      const block = await readStaged(folder, digest);
      if (block !== undefined) return block;
    }
    return this.#content.get(digest, signal);
  }

  /** All who want one file kept share its keeping. */
  #keep(folder: string, root: CID): Promise<boolean> {
    const running = this.#keeping.get(folder);
    if (running !== undefined) return running;
    const keeping = this.#keepOnce(folder, root).finally(() => this.#keeping.delete(folder));
    this.#keeping.set(folder, keeping);
    return keeping;
  }

  async #keepOnce(folder: string, root: CID): Promise<boolean> {
    if (!(await isThere(folder))) return false; // it was kept before
    const walk = () => stagedBlocks(folder, root);
    await this.#staging.removeAfter(folder, () => this.#content.keep({ root, folder, walk }));
    return true;
  }
}

/** A staged block, unless it is damaged or is not there any more. */
async function readStaged(folder: string, digest: Uint8Array): Promise<Uint8Array | undefined> {
  const block = await readFile(join(folder, hex(digest))).catch(() => undefined);
  return block !== undefined && sameBytes(sha256(block), digest) ? block : undefined;
}

async function* stagedBlocks(folder: string, root: CID) {
  const get = (cid: CID) => readStaged(folder, cid.multihash.digest);
  for await (const { cid, block } of walkFile(root, { get, ahead: AHEAD })) {
    if (block === undefined) throw lost(cid);
    yield { cid, bytes: block };
  }
}

function isThere(folder: string): Promise<boolean> {
  return stat(folder).then(
    () => true,
    () => false,
  );
}

/** The SHA-256 that a block is kept under; undefined where its CID is of another kind. */
function digestOf({ multihash: { code, digest } }: CID): Uint8Array | undefined {
  return code === SHA2_256 && digest.length === 32 ? digest : undefined;
}

const BADNESS: readonly Condition[] = ["intact", "missing", "altered"];

function worse(a: Condition, b: Condition): Condition {
  return BADNESS.indexOf(b) > BADNESS.indexOf(a) ? b : a;
}

/** Waits after so many bytes until they are no more than a second has; a second that was idle is not made up. */
function paceOf(bytesPerSecond: number, signal: AbortSignal | undefined) {
  let due = performance.now();
  return async (bytes: number): Promise<void> => {
    const now = performance.now();
    due = Math.max(due, now - 1000) + (bytes / bytesPerSecond) * 1000;
    if (due - now < PAUSE_MS) return;
    await delay(due - now, undefined, { signal }).catch(() => signal?.throwIfAborted());
  };
}

function tooMany(): AnchordError {
  const message = `${MOST_AT_ONCE} files are being received already: try again when some of them are here`;
  return new AnchordError("OVERLOADED", message);
}

function lost(cid: CID): AnchordError {
  return new AnchordError(
    "CONTENT_LOST",
    `block ${cid.toString()} of the file is lost: neither the content store nor its peers have it undamaged`,
    { metadata: { block: cid.toString() } },
  );
}
