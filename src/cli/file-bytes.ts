import { constants, createReadStream } from "node:fs";
import { access, stat } from "node:fs/promises";
import { InvalidArgumentError } from "commander";
import { messageOf } from "../core/errors.js";
import type { Progress } from "./progress-bar.js";

/** Bytes of a file that are read at once. */
const CHUNK = 256 * 1024;

/** The size of a file; undefined of standard input, "-", and of what is no file. Throws InvalidArgumentError. */
export async function sizeOf(name: string): Promise<number | undefined> {
  if (name === "-") return undefined;
  try {
    await access(name, constants.R_OK);
    const found = await stat(name);
    if (found.isDirectory()) throw new Error("it is a folder");
    return found.isFile() ? found.size : undefined;
  } catch (error) {
    throw new InvalidArgumentError(`${name} cannot be read: ${messageOf(error)}`);
  }
}

/** The bytes of a file, or of standard input for "-", shown as they pass. Throws InvalidArgumentError. */
export async function* bytesOf(
  name: string,
  size: number | undefined,
  bar: Progress,
): AsyncGenerator<Uint8Array> {
  const stream = name === "-" ? process.stdin : createReadStream(name, { highWaterMark: CHUNK });
  let read = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Uint8Array>) {
      yield chunk;
      read += chunk.length;
      if (size !== undefined) bar.show(read, size);
    }
  } catch (error) {
    throw new InvalidArgumentError(`${name} cannot be read: ${messageOf(error)}`);
  } finally {
    stream.destroy();
  }
}
