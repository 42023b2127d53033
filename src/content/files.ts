import { randomUUID } from "node:crypto";
import { closeSync, fsyncSync, linkSync, openSync, unlinkSync, writeFileSync } from "node:fs";
import { mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { AnchordError, messageOf } from "../core/errors.js";

/** The code of a failed system call, such as ENOENT; empty where it was none. */
export function codeOf(error: unknown): string {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === "string" ? code : "";
}

/** What a folder's failure is told as: STORAGE_FULL, or an Error that names the folder. */
export function storageFailure(doing: string, folder: string, error: unknown): Error {
  const code = codeOf(error);
  if (code === "ENOSPC" || code === "EDQUOT") {
    const message = "the disk under the content store is full: free some space and try again";
    return new AnchordError("STORAGE_FULL", message, { cause: error });
  }
  return new Error(
    `the content store cannot ${doing} ${folder} (${code || messageOf(error)}): ` +
      "it must be a folder that the service may read and write",
    { cause: error },
  );
}

/** Does something with each item, with so many at once. Rejects with the first failure, once all rest. */
export async function eachOf<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const left = taken(items); // ends for all workers as soon as one throws
  const worker = async () => {
    for (const item of left) await work(item);
  };
  const ended = await Promise.allSettled(Array.from({ length: atOnce }, worker));
  for (const end of ended) if (end.status === "rejected") throw end.reason;
}

/**
 * Makes a file that only its owner can read, unless there is one already. It is there whole or not at
 * all, and stays: of several that make it at once one wins, and all find the same.
 */
export function createOnce(file: string, content: Uint8Array): void {
  const temporary = `${file}.${randomUUID()}.new`;
  try {
    const descriptor = openSync(temporary, "wx", 0o600);
    try {
      writeFileSync(descriptor, content);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    linkSync(temporary, file);
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
  } finally {
    removeIfThere(temporary);
  }
  for (const folder of [dirname(file), dirname(dirname(file))]) {
    const descriptor = openSync(folder, "r");
    try {
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  }
}

/** Makes what a folder lists durable. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes a folder and those above it, durably. */
export async function makeFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let made = folder; made.length >= first.length; made = dirname(made)) {
    await syncFolder(dirname(made));
  }
}

function* taken<T>(items: readonly T[]): Generator<T> {
  yield* items;
}

function removeIfThere(file: string): void {
  try {
    unlinkSync(file);
  } catch {
    // it was never made, or is only litter
  }
}
