import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { importFile } from "ipfs-unixfs-importer";
import { balanced } from "ipfs-unixfs-importer/layout";
import type { CID } from "multiformats/cid";
import { hex } from "../../src/core/bytes.js";

/**
 * Only hashes a file and imports it into a folder of block files: file, folder. It is as durable as in the
 * daemon: each block is synced, several at once, and the folder at the end. Prints, as JSON, the seconds
 * that it took.
 */
const [file = "", folder = ""] = process.argv.slice(2);
const CHUNK_BYTES = 262_144;

const start = performance.now();
const hash = createHash("sha256");
await importFile({ content: hashed() }, { put } as unknown as Parameters<typeof importFile>[1], {
  cidVersion: 1,
  rawLeaves: true,
  reduceSingleLeafToSelf: true,
  chunker: (source) => source as AsyncGenerator<Uint8Array>, // read as chunks already
  layout: balanced({ maxChildrenPerNode: 174 }),
  blockWriteConcurrency: 8,
});
await syncFolder();
hash.digest();
const seconds = (performance.now() - start) / 1000;
process.stdout.write(`${JSON.stringify({ seconds })}\n`);

async function* hashed(): AsyncGenerator<Uint8Array> {
  for await (const chunk of createReadStream(file, { highWaterMark: CHUNK_BYTES })) {
    hash.update(chunk as Buffer);
    yield chunk as Buffer;
  }
}

async function put(cid: CID, block: Uint8Array): Promise<CID> {
  const handle = await open(join(folder, hex(cid.multihash.digest)), "wx");
  await handle.writeFile(block);
  await handle.datasync();
  await handle.close();
  return cid;
}

async function syncFolder(): Promise<void> {
  const handle = await open(folder);
  await handle.sync();
  await handle.close();
}
