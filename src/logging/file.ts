import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { messageOf } from "../core/errors.js";

/** Where a log file is, and how much of it is kept. */
export interface LogFileOptions {
  readonly path: string;
  /** Size at which it is rotated. */
  readonly mostBytes: number;
  /** Rotated files that are kept: the path with .1 for the latest, .2 for the one before it, and so on. */
  readonly kept: number;
}

/** How long a file that could not be written is left alone, in milliseconds. */
const RETRY_MS = 10_000;

/**
 * A log file that is rotated by size. A line is in the file when the call returns: a stream would lose what it
 * holds when the process ends, and would itself end when the disk is full.
 */
export class LogFile {
  #open: { readonly descriptor: number; size: number } | undefined;
  #pausedUntil = 0;
  #missing = 0;

  constructor(
    private readonly options: LogFileOptions,
    /** Told when lines begin to be lost, and when they no longer are. Must not throw. */
    private readonly say: (message: string) => void,
  ) {}

  /** Writes a line, or drops it where the file cannot be written. Never throws. */
  write(line: string): void {
    if (Date.now() < this.#pausedUntil) {
      this.#missing += 1;
      return;
    }
    try {
      this.#append(Buffer.from(line));
    } catch (error) {
      this.#pause(messageOf(error));
      return;
    }
    if (this.#missing === 0) return;
    const missing = this.#missing;
    this.#missing = 0;
    this.say(`the log file is written again; it misses ${missing} lines`);
  }

  #append(bytes: Buffer): void {
    const { path, mostBytes } = this.options;
    const size = this.#open?.size ?? 0;
    if (size > 0 && size + bytes.length > mostBytes) this.#rotate();
    this.#open ??= opened(path);
    const { descriptor } = this.#open;
    if (writeSync(descriptor, bytes) < bytes.length) throw new Error("the disk is full");
    this.#open.size += bytes.length;
  }

  #rotate(): void {
    this.#close();
    const { path, kept } = this.options;
    for (let i = kept; i > 0; i--) {
      const from = i === 1 ? path : `${path}.${i - 1}`;
      if (existsSync(from)) renameSync(from, `${path}.${i}`);
    }
  }

  #close(): void {
    const { descriptor } = this.#open ?? {};
    this.#open = undefined;
    if (descriptor !== undefined) closeSync(descriptor);
  }

  /** Leaves the file alone for a while, and says so the first time. */
  #pause(why: string): void {
    try {
      this.#close();
    } catch {
      // what it says is what was said already
    }
    this.#pausedUntil = Date.now() + RETRY_MS;
    this.#missing += 1;
    if (this.#missing > 1) return;
    this.say(`the log file cannot be written: ${why}. Lines go to standard error only`);
  }
}

const NEWLINE = 10;

/** Opens a file to add lines to it; one that was cut short is ended. */
function opened(path: string) {
  mkdirSync(dirname(path), { recursive: true });
  const descriptor = openSync(path, "a+", 0o600);
  const found = fstatSync(descriptor);
  if (!found.isFile()) {
    closeSync(descriptor); // a device must not be renamed
    throw new Error(`${path} is not a file`);
  }
  const last = Buffer.from([NEWLINE]);
  if (found.size > 0) readSync(descriptor, last, 0, 1, found.size - 1);
  const isCut = last[0] !== NEWLINE;
  if (isCut) writeSync(descriptor, "\n");
  return { descriptor, size: found.size + Number(isCut) };
}
