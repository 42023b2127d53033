import { randomBytes } from "node:crypto";
import { existsSync, rmSync } from "node:fs";
import { open, realpath, rename, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { InvalidArgumentError } from "commander";
import { messageOf } from "../core/errors.js";

/** What is written, piece by piece. */
export interface Output {
  write(piece: string | Uint8Array): Promise<void>;
}

/**
 * Lets a command write to a file, or to standard output where there is no name or it is "-". A file appears
 * under its name when all is written, and not at all otherwise. Throws InvalidArgumentError where the file
 * cannot be written, or is there and must not be replaced.
 */
export async function writeOutput<T>(
  name: string | undefined,
  options: { readonly replace: boolean },
  write: (output: Output) => Promise<T>,
): Promise<T> {
  if (name === undefined || name === "-") return write(STANDARD_OUTPUT);
  const { path, isRegular, mode } = await targetOf(name, options.replace);
  if (!isRegular) return writeInto(await open(path, "w"), write); // such as /dev/null
  const part = join(dirname(path), `.${basename(path)}.${randomBytes(4).toString("hex")}`);
  const remove = () => rmSync(part, { force: true });
  const end = () => process.exit(INTERRUPTED);
  process.once("exit", remove);
  process.once("SIGINT", end).once("SIGTERM", end);
  try {
    const result = await writeInto(await opened(part, name, mode), write);
    if (!options.replace) requireAbsent(path, name);
    await rename(part, path);
    return result;
  } finally {
    remove();
    process.off("exit", remove).off("SIGINT", end).off("SIGTERM", end);
  }
}

/** Exit code of a command that somebody has interrupted, as shells have it. */
const INTERRUPTED = 130;

/** An error of it ends the process: main.ts listens. */
const STANDARD_OUTPUT: Output = {
  write: (piece) => new Promise((resolve) => process.stdout.write(piece, () => resolve())),
};

/** Where a name leads, and what is there. A link stays, and what it leads to is replaced. */
async function targetOf(name: string, replace: boolean) {
  const found = await stat(name).catch(() => undefined);
  if (found === undefined) return { path: name, isRegular: true, mode: undefined };
  if (found.isDirectory()) throw new InvalidArgumentError(`${name} is a folder: name a file in it`);
  if (found.isFile() && !replace) requireAbsent(name, name);
  return { path: await realpath(name), isRegular: found.isFile(), mode: found.mode };
}

function requireAbsent(path: string, name: string): void {
  if (!existsSync(path)) return;
  throw new InvalidArgumentError(`${name} is there already: give --force to replace it`);
}

async function opened(part: string, name: string, mode?: number): Promise<FileHandle> {
  try {
    return await open(part, "wx", mode); // that of the file that it replaces
  } catch (error) {
    throw new InvalidArgumentError(`${name} cannot be written: ${messageOf(error)}`);
  }
}

async function writeInto<T>(handle: FileHandle, write: (output: Output) => Promise<T>): Promise<T> {
  try {
    const result = await write({ write: (piece) => handle.writeFile(piece) });
    await handle.sync().catch(() => undefined); // a pipe has nothing to sync
    return result;
  } finally {
    await handle.close();
  }
}
