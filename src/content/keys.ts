import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { hex, sameBytes, unhex } from "../core/bytes.js";
import { messageOf } from "../core/errors.js";
import { contentKeyOf } from "../core/publication.js";
import type { ContentKey } from "../core/publication.js";
import { codeOf, createOnce } from "./files.js";

/** The key that is made where none is configured. */
const CURRENT = "content.key";

/** The keys of published batches. */
export interface ContentKeys {
  /** The key of batches that are published from now on. */
  readonly current: ContentKey;
  /** The key that a manifest names: the current one, or an older one that was kept. */
  find(id: Uint8Array): ContentKey | undefined;
}

/**
 * Opens the content keys: the configured one in hex, else `content.key` in the folder, which is made at
 * the first start. Every other `*.key` in the folder is for reading. Throws an Error that names the file
 * that cannot be used, and never its content.
 */
export function openContentKeys(folder: string, configured?: string): ContentKeys {
  const own = configured === undefined ? undefined : keyOf(configured);
  if (configured !== undefined && own === undefined) {
    throw new Error("CONTENT_KEY: must be 32 bytes in hex");
  }
  if (own === undefined) makeKey(folder);
  const kept = keyFiles(folder).map((name) => ({ name, key: readKey(join(folder, name)) }));
  const current = own ?? (kept.find(({ name }) => name === CURRENT)?.key as ContentKey);
  const all = [current, ...kept.map(({ key }) => key)];
  return { current, find: (id) => all.find((key) => sameBytes(key.id, id)) };
}

function makeKey(folder: string): void {
  const file = join(folder, CURRENT);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (!existsSync(file)) createOnce(file, Buffer.from(`${hex(randomBytes(32))}\n`));
  } catch (error) {
    throw new Error(
      `${file} cannot be made (${codeOf(error) || messageOf(error)}): its folder must be one that the ` +
        "service may write; or set CONTENT_KEY",
      { cause: error },
    );
  }
}

function keyFiles(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith(".key"))
      .sort();
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    throw new Error(`the content keys in ${folder} cannot be listed (${codeOf(error)})`, {
      cause: error,
    });
  }
}

function readKey(file: string): ContentKey {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new Error(`the content key ${file} cannot be read (${codeOf(error)})`, { cause: error });
  }
  const key = keyOf(text.trim());
  if (key !== undefined) return key;
  throw new Error(
    `${file} is damaged: it must hold a content key, 64 hex digits. Restore it from a backup. Without ` +
      "it, what was published under it can never be read again; to go on nevertheless, rename it so " +
      "that it does not end in .key",
  );
}

function keyOf(text: string): ContentKey | undefined {
  return /^(0x)?[0-9a-fA-F]{64}$/.test(text) ? contentKeyOf(unhex(text)) : undefined;
}
