import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { hex, sha256 } from "../../src/core/bytes.js";

/**
 * Reads a folder of blocks, four at a time, and checks each against its name: folder. Prints, as JSON, the
 * seconds that it took.
 */
const [folder = ""] = process.argv.slice(2);
const start = performance.now();
const names = (await readdir(folder)).values();
const worker = async () => {
  for (const name of names) {
    const digest = sha256(await readFile(join(folder, name)));
    if (hex(digest) !== name) throw new Error(`${name} is damaged`);
  }
};
await Promise.all(Array.from({ length: 4 }, worker));
const seconds = (performance.now() - start) / 1000;
process.stdout.write(`${JSON.stringify({ seconds })}\n`);
