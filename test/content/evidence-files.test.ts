import { spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createCipheriv, randomBytes } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { CarReader, CarWriter } from "@ipld/car";
import { MemoryBlockstore } from "blockstore-core";
import { expect } from "chai";
import fc from "fast-check";
import { exporter } from "ipfs-unixfs-exporter";
import { importBytes } from "ipfs-unixfs-importer";
import { fixedSize } from "ipfs-unixfs-importer/chunker";
import { balanced } from "ipfs-unixfs-importer/layout";
import { CID } from "multiformats/cid";
import * as Digest from "multiformats/hashes/digest";
import { openEmbeddedContent } from "../../src/content/embedded.js";
import { openEvidenceFiles } from "../../src/content/evidence-files.js";
import type { EvidenceFiles, Range } from "../../src/content/evidence-files.js";
import type { ContentStore } from "../../src/content/port.js";
import { hex, sha256 } from "../../src/core/bytes.js";
import { temporaryFolder } from "../support/daemon.js";
import { randomOf, seedOfRun } from "../support/random.js";
import { run } from "../support/run.js";
import { until } from "../support/until.js";

const KIB = 1024;
const MIB = KIB * KIB;
const CHUNK = 256 * KIB;

/** What `ipfs add --cid-version=1` does. */
const KUBO_SETTINGS = {
  cidVersion: 1,
  rawLeaves: true,
  chunker: fixedSize({ chunkSize: CHUNK }),
  layout: balanced({ maxChildrenPerNode: 174 }),
} as const;

const opened: { stop(): Promise<unknown> }[] = [];
afterEach(() => Promise.all(opened.splice(0).map((node) => node.stop())));

/** The files of a folder, and the content store beside them. */
function filesIn(folder = temporaryFolder(), peers: readonly string[] = []) {
  const content = openEmbeddedContent({
    folder: join(folder, "ipfs"),
    listen: ["/ip4/127.0.0.1/tcp/0"],
    peers,
  });
  opened.push(content);
  const staging = join(folder, "staging");
  return { folder, content, files: openEvidenceFiles(staging, content), staging };
}

async function* piecesOf(content: Uint8Array, bytes = 100_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += bytes) {
    await Promise.resolve();
    yield content.subarray(at, at + bytes);
  }
}

const stageIn = (files: EvidenceFiles, content: Uint8Array) =>
  files.stage(piecesOf(content), Infinity);

async function keptIn(files: EvidenceFiles, content: Uint8Array): Promise<string> {
  const staged = await stageIn(files, content);
  await staged.keep();
  return staged.cid;
}

async function bytesOf(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all);
}

async function expectFile(files: EvidenceFiles, cid: string, content: Uint8Array): Promise<void> {
  expect(hex(sha256(await bytesOf(files.read(cid))))).to.equal(hex(sha256(content)));
}

/** Content that is the same in every run: the key stream of AES-256-CTR with a key of zeros. */
function sameBytes(length: number): Buffer {
  const cipher = createCipheriv("aes-256-ctr", Buffer.alloc(32), Buffer.alloc(16));
  return cipher.update(Buffer.alloc(length));
}

async function reasonOf(call: Promise<unknown>): Promise<unknown> {
  try {
    await call;
  } catch (error) {
    return (error as { reason?: unknown }).reason ?? error;
  }
  return undefined;
}

/** Everything under a folder that is not a folder, or an empty one. */
function remainsIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (!entry.isDirectory()) return [entry.name];
    return remainsIn(join(folder, entry.name)).map((name) => join(entry.name, name));
  });
}

const blockFile = (folder: string, digest: Uint8Array) =>
  join(folder, "ipfs", "blocks", hex(digest).slice(0, 2), hex(digest));

describe("the CIDs of staged files", () => {
  // The first two are what `ipfs add --cid-version=1` prints; the others were computed with the settings
  // that it documents: chunks of 262144 bytes, raw leaves, a balanced tree of up to 174 links.
  const vectors: readonly (readonly [string, Uint8Array, string])[] = [
    ["nothing", Buffer.alloc(0), "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"],
    [
      "hello world",
      Buffer.from("hello world\n"),
      "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4",
    ],
    [
      "one whole chunk",
      sameBytes(CHUNK),
      "bafkreicrtk72fc7wopohko736g5gk44qmiyrq3zt225a5x4fl26nv5nape",
    ],
    [
      "one byte more",
      sameBytes(CHUNK + 1),
      "bafybeigiwqo3gami5vi4gwpsnqexap72qlqcq4lxzb7oq3gwrfjpb375mu",
    ],
    [
      "five megabytes of zeros",
      Buffer.alloc(5 * MIB),
      "bafybeid7mu43g4fehkxhdkl4x3lu4pybxuxpg57it6r6z7e36soj7h2yd4",
    ],
    [
      "a tree of three levels",
      sameBytes(175 * CHUNK),
      "bafybeigimnxtj5xsjxk7ndrmeypzmtstrpfxenxd6aqipiviwzwev5exgi",
    ],
  ];
  for (const [what, content, cid] of vectors) {
    it(`are those of ipfs add: ${what}`, async () => {
      const { files } = filesIn();
      const staged = await stageIn(files, content);
      expect(staged.cid).to.equal(cid);
      expect(hex(staged.cidBytes)).to.equal(hex(CID.parse(cid).bytes));
      expect(hex(staged.sha256)).to.equal(hex(sha256(content)));
      expect(staged.size).to.equal(content.length);
      await staged.keep();
      await expectFile(files, cid, content);
    });
  }

  it("do not depend on the pieces that a file comes in, and neither do its bytes", async () => {
    const seed = seedOfRun();
    const { files } = filesIn();
    const property = fc.asyncProperty(
      fc.integer({ min: 0, max: 3 * CHUNK + 5 }),
      fc.array(fc.integer({ min: 0, max: 2 * CHUNK }), { minLength: 1, maxLength: 8 }),
      async (length, sizes) => {
        const content = randomBytes(length);
        async function* pieces() {
          for (let at = 0, i = 0; at < length; i++) {
            await Promise.resolve();
            const size = i < 40 ? sizes[i % sizes.length]! : length;
            yield content.subarray(at, at + size);
            at += size;
          }
        }
        const staged = await files.stage(pieces(), length);
        const { cid } = await importBytes(content, new MemoryBlockstore() as never, KUBO_SETTINGS);
        expect(staged.cid).to.equal(cid.toString());
        expect(hex(staged.sha256)).to.equal(hex(sha256(content)));
        await staged.keep();
        await expectFile(files, staged.cid, content);
      },
    );
    await fc.assert(property, { seed, numRuns: 25 });
  });
});

describe("staging", () => {
  it("stops reading as soon as a file has more bytes than it may, and leaves nothing", async () => {
    const { files, staging } = filesIn();
    const content = randomBytes(2 * MIB);
    await stageIn(files, randomBytes(10)).then((staged) => staged.discard());
    let read = 0;
    let wasClosed = false;
    async function* pieces() {
      try {
        for await (const piece of piecesOf(content, 1000)) {
          read += piece.length;
          yield piece;
        }
      } finally {
        wasClosed = true;
      }
    }
    const call = files.stage(pieces(), MIB);
    expect(await reasonOf(call)).to.equal("EVIDENCE_TOO_LARGE");
    expect(read).to.equal(Math.ceil((MIB + 1) / 1000) * 1000);
    expect(wasClosed).to.equal(true);
    expect(remainsIn(staging)).to.deep.equal([]);
    expect((await files.stage(piecesOf(content), content.length)).size).to.equal(content.length);
  });

  it("rejects with what an upload ends with, and leaves nothing", async () => {
    const { files, staging } = filesIn();
    const cut = new Error("the caller has gone");
    for (const bytes of [0, 10, MIB + 1]) {
      async function* pieces() {
        yield* piecesOf(randomBytes(bytes));
        throw cut;
      }
      expect(await reasonOf(files.stage(pieces(), Infinity))).to.equal(cut);
      expect(remainsIn(staging)).to.deep.equal([]);
    }
  });

  it("takes the same file several times at once, which is then there once", async () => {
    const { files, staging, folder } = filesIn();
    const content = randomBytes(3 * MIB);
    const all = await Promise.all(Array.from({ length: 5 }, () => stageIn(files, content)));
    expect(new Set(all.map(({ cid }) => cid)).size).to.equal(1);
    await all[0]!.discard();
    await Promise.all(all.slice(1).map((staged) => staged.keep()));
    expect(remainsIn(staging)).to.deep.equal([]);
    expect(remainsIn(join(folder, "ipfs", "blocks"))).to.have.length(13);
    await expectFile(files, all[0]!.cid, content);
  });

  it("removes nothing that another file shares when it is given up", async () => {
    const { files } = filesIn();
    const [shared, other] = [randomBytes(2 * CHUNK), randomBytes(CHUNK)];
    const kept = await keptIn(files, shared);
    const given = await stageIn(files, Buffer.concat([shared, other]));
    await given.claim("given-up");
    await given.discard();
    async function* cut() {
      yield* piecesOf(shared);
      throw new Error("cut");
    }
    await reasonOf(files.stage(cut(), Infinity));
    await expectFile(files, kept, shared);
    expect(await files.claimed()).to.deep.equal([]);
  });

  it("keeps blocks for their owner alone, named by their SHA-256", async () => {
    const { files, staging } = filesIn();
    const content = randomBytes(CHUNK);
    await stageIn(files, content);
    const [file = ""] = remainsIn(staging);
    expect(file).to.match(new RegExp(`/${hex(sha256(content))}$`));
    expect(statSync(join(staging, file)).mode & 0o777).to.equal(0o600);
  });

  it("says which folder it cannot use", async () => {
    const { files, staging } = filesIn();
    writeFileSync(staging, "");
    expect(String(await reasonOf(stageIn(files, randomBytes(10))))).to.contain(staging);
  });

  it("says so when the disk is full, leaves nothing, and harms nothing", async function () {
    const folder = temporaryFolder();
    const script = `
      ${imports("embedded", "evidence-files")}
      const { readdirSync } = await import("node:fs");
      const folder = ${JSON.stringify(folder)};
      const content = openEmbeddedContent({ folder: folder + "/ipfs", listen: [], peers: [] });
      const files = openEvidenceFiles(folder + "/staging", content);
      const stage = (fill, megabytes) => files.stage((async function* () {
        for (let i = 0; i < megabytes * 16; i++) yield Buffer.alloc(65536, fill + String(i));
      })(), Infinity);
      const first = await stage("a", 1);
      await first.claim("first");
      const failures = await Promise.all([1, 2].map((n) => stage("b" + n, 8).catch((error) => error.reason)));
      await first.keep();
      const size = async (cid) => { let n = 0; for await (const p of files.read(cid)) n += p.length; return n; };
      const [own] = readdirSync(folder + "/staging");
      const left = readdirSync(folder + "/staging/" + own).length;
      const third = await stage("c", 2);
      await third.keep();
      console.log(failures.join(), left, await size(first.cid), await size(third.cid));`;
    const ended = await onSmallDisk(this, folder, "5m", script);
    expect(ended.stdout + ended.stderr).to.equal(`STORAGE_FULL,STORAGE_FULL 0 ${MIB} ${2 * MIB}\n`);
  });

  it("leaves some of the disk to others", async function () {
    const folder = temporaryFolder();
    const script = `
      ${imports("embedded", "evidence-files")}
      const { statfsSync } = await import("node:fs");
      const folder = ${JSON.stringify(folder)};
      const content = openEmbeddedContent({ folder: folder + "/ipfs", listen: [], peers: [] });
      const files = openEvidenceFiles(folder + "/staging", content);
      const free = () => { const { bavail, bsize } = statfsSync(folder); return bavail * bsize; };
      let least = Infinity;
      const stage = () => files.stage((async function* () {
        for (let i = 0; ; i++) {
          least = Math.min(least, free());
          yield Buffer.alloc(65536, String(Math.random()));
        }
      })(), Infinity).catch((error) => error.reason);
      const ends = await Promise.all([stage(), stage()]);
      console.log(ends.join(), least > 4 * ${MIB} && least < 16 * ${MIB} ? "some" : least);`;
    const ended = await onSmallDisk(this, folder, "400m", script);
    expect(ended.stdout + ended.stderr).to.equal("STORAGE_FULL,STORAGE_FULL some\n");
  });

  it("takes only so many files at once, and more when some have come", async () => {
    const { files } = filesIn();
    let come: (() => void) | undefined;
    const isOpen = new Promise<void>((resolve) => (come = resolve));
    async function* slow() {
      yield Buffer.from("slow");
      await isOpen;
    }
    const open = Array.from({ length: 64 }, () => files.stage(slow(), Infinity));
    expect(await reasonOf(stageIn(files, randomBytes(10)))).to.equal("OVERLOADED");
    come?.();
    await Promise.all(open);
    expect((await stageIn(files, randomBytes(10))).size).to.equal(10);
  });

  it("ends an upload that brings no byte for long, whatever else it brings, and leaves nothing", async () => {
    const { staging, content } = filesIn();
    const files = openEvidenceFiles(staging, content, { idleMs: 50 });
    async function* silent() {
      yield randomBytes(MIB);
      await new Promise(() => undefined);
    }
    async function* empty() {
      for (;;) {
        await new Promise((resolve) => setImmediate(resolve));
        yield new Uint8Array(0);
      }
    }
    for (const pieces of [silent(), empty()]) {
      const call = files.stage(pieces, Infinity);
      const error = await call.then(String, (thrown: unknown) => thrown);
      expect(error).to.include({ reason: "OVERLOADED" });
      expect(String(error)).to.contain("no byte of it came for 0.05 seconds");
      expect(remainsIn(staging)).to.deep.equal([]);
    }
  });

  it("needs no more memory for a large file than for a small one", async () => {
    const script = (megabytes: number) => `
      ${imports("embedded", "evidence-files")}
      const folder = ${JSON.stringify(temporaryFolder())};
      const content = openEmbeddedContent({ folder: folder + "/ipfs", listen: [], peers: [] });
      const files = openEvidenceFiles(folder + "/staging", content);
      const file = await files.stage((async function* () {
        for (let i = 0; i < ${megabytes * 16}; i++) yield Buffer.alloc(65536, String(i));
      })(), Infinity);
      await file.keep();
      let size = 0;
      for await (const piece of files.read(file.cid)) {
        size += piece.length;
        await new Promise((resolve) => setImmediate(resolve));
      }
      console.log(size, process.resourceUsage().maxRSS * 1024);`;
    const sizes = [16, 256].map(async (megabytes) => {
      const args = ["--input-type=module", "--eval", script(megabytes)];
      const [size, memory] = (await run(process.execPath, args)).stdout.split(" ").map(Number);
      expect(size).to.equal(megabytes * MIB);
      return memory!;
    });
    const [small, large] = await Promise.all(sizes);
    expect(large! - small!).to.be.lessThan(100 * MIB);
  });
});

/** Runs a script with a folder on a disk of its own of a size. Skips the test where we may not mount one. */
async function onSmallDisk(test: Mocha.Context, folder: string, size: string, script: string) {
  const inside = `mount -t tmpfs -o size=${size} none "$1" && exec "$2" --input-type=module --eval "$3"`;
  const unshare = ["--user", "--map-root-user", "--mount", "sh", "-c"];
  const possible = spawnSync("unshare", [...unshare, `mount -t tmpfs none "$1"`, "sh", folder]);
  if (possible.status !== 0) {
    const why = possible.error?.message ?? possible.stderr.toString().trim();
    skip(test, `needs a disk of its own, which cannot be mounted: ${why}`);
  }
  return run("unshare", [...unshare, inside, "sh", folder, process.execPath, script]);
}

/** Skips a test, which is said loudly, and is an error when CI=true. */
function skip(test: Mocha.Context, why: string): never {
  const message = `SKIPPED: "${test.test?.title}" ${why}`;
  if (process.env["CI"] === "true") throw new Error(message);
  process.stderr.write(`\n${"!".repeat(80)}\n${message}\n${"!".repeat(80)}\n\n`);
  return test.skip();
}

/** Code that imports these modules of content/. */
function imports(...names: string[]): string {
  const wanted = { embedded: "openEmbeddedContent", "evidence-files": "openEvidenceFiles" };
  return names
    .map((name) => {
      const module = new URL(`../../src/content/${name}.js`, import.meta.url).href;
      return `const { ${wanted[name as keyof typeof wanted]} } = await import(${JSON.stringify(module)});`;
    })
    .join("\n");
}

describe("claimed files", () => {
  it("can be read, and wait under their names until they are kept or discarded", async () => {
    const { files, staging } = filesIn();
    const content = [randomBytes(MIB), randomBytes(10), randomBytes(0)];
    const staged = await Promise.all(content.map((one) => stageIn(files, one)));
    expect(await reasonOf(bytesOf(files.read(staged[0]!.cid)))).to.equal("CONTENT_LOST");
    for (const [i, one] of staged.entries()) await one.claim(`name-${i}`);
    const waiting = await files.claimed();
    expect(waiting.map(({ name }) => name).sort()).to.deep.equal(["name-0", "name-1", "name-2"]);
    for (const [i, { cid }] of staged.entries()) await expectFile(files, cid, content[i]!);
    const named = (name: string) => waiting.find((one) => one.name === name)!;
    await named("name-0").keep();
    await named("name-0").keep();
    await staged[0]!.keep();
    await named("name-1").discard();
    await staged[1]!.discard();
    await expectFile(files, staged[0]!.cid, content[0]!);
    expect(await reasonOf(bytesOf(files.read(staged[1]!.cid)))).to.equal("CONTENT_LOST");
    expect((await files.claimed()).map(({ name }) => name)).to.deep.equal(["name-2"]);
    await staged[2]!.keep();
    await staged[2]!.claim("too-late");
    expect(await files.claimed()).to.deep.equal([]);
    expect(remainsIn(staging)).to.deep.equal([]);
  });

  it("are mended by an upload of the same", async () => {
    const { files, staging } = filesIn();
    const content = randomBytes(3 * CHUNK);
    const first = await stageIn(files, content);
    await first.claim("same");
    const [lost, damaged] = remainsIn(staging);
    rmSync(join(staging, lost!));
    writeFileSync(join(staging, damaged!), "damaged");
    expect(await reasonOf(bytesOf(files.read(first.cid)))).to.equal("CONTENT_LOST");
    await (await stageIn(files, content)).claim("same");
    await expectFile(files, first.cid, content);
    const waiting = await files.claimed();
    expect(waiting).to.have.length(1);
    expect(remainsIn(staging)).to.have.length(4);
    await waiting[0]!.keep();
    await expectFile(files, first.cid, content);
    expect(remainsIn(staging)).to.deep.equal([]);
  });

  for (const moment of ["before", "after"]) {
    it(`are mended also while they are kept: ${moment} their blocks have moved`, async () => {
      const { content: store, staging } = filesIn();
      const content = randomBytes(3 * CHUNK);
      let claim: (() => Promise<void>) | undefined;
      const claimNow = async () => {
        const due = claim;
        claim = undefined;
        await due?.();
      };
      const files = openEvidenceFiles(staging, {
        ...counted(store).store,
        keep: async (blocks) => {
          if (moment === "before") await claimNow();
          await store.keep(blocks);
          if (moment === "after") await claimNow();
        },
      });
      const first = await stageIn(files, content);
      await first.claim("same");
      rmSync(join(staging, remainsIn(staging)[0]!));
      const second = await stageIn(files, content);
      claim = () => second.claim("same");
      await first.keep();
      await expectFile(files, first.cid, content);
      expect(remainsIn(staging)).to.deep.equal([]);
      expect(await files.claimed()).to.deep.equal([]);
    });
  }

  it("refuse names that lead elsewhere", async () => {
    const { files } = filesIn();
    const staged = await stageIn(files, randomBytes(10));
    for (const name of ["", "../up", "a/b", "a~b", "x".repeat(101)]) {
      expect(await reasonOf(staged.claim(name))).to.be.instanceOf(Error);
    }
    await staged.claim("a_good-Name9");
    expect(await files.claimed()).to.have.length(1);
  });

  it("can be read while they are kept", async () => {
    const { files } = filesIn();
    const content = randomBytes(6 * MIB);
    const staged = await stageIn(files, content);
    await staged.claim("moving");
    let keeping: Promise<boolean> | undefined;
    const pieces: Uint8Array[] = [];
    for await (const piece of files.read(staged.cid)) {
      pieces.push(piece);
      keeping ??= staged.keep();
      if (pieces.length === 8) await keeping;
    }
    expect(hex(sha256(...pieces))).to.equal(hex(sha256(content)));
  });

  it("repair what is damaged in the content store, and leave what is intact", async () => {
    const { files, folder } = filesIn();
    const content = randomBytes(4 * CHUNK);
    await keptIn(files, content);
    const [bad, good] = [content.subarray(0, CHUNK), content.subarray(CHUNK, 2 * CHUNK)];
    writeFileSync(blockFile(folder, sha256(bad)), "damaged");
    utimesSync(blockFile(folder, sha256(good)), new Date(0), new Date(0));
    await keptIn(files, content);
    expect(hex(sha256(readFileSync(blockFile(folder, sha256(bad)))))).to.equal(hex(sha256(bad)));
    expect(statSync(blockFile(folder, sha256(good))).mtimeMs).to.equal(0);
  });

  it("are kept also where the content store is on another disk", async function () {
    const other = "/dev/shm";
    const folder = temporaryFolder();
    if (!existsSync(other) || statSync(other).dev === statSync(folder).dev) {
      skip(this, `needs ${other} to be another disk than ${folder}`);
    }
    const { content } = filesIn(folder);
    const staging = join(other, `anchord-test-${process.pid}`);
    opened.push({ stop: () => Promise.resolve(rmSync(staging, { recursive: true })) });
    const files = openEvidenceFiles(staging, content);
    const file = randomBytes(MIB + 1);
    await expectFile(files, await keptIn(files, file), file);
    expect(remainsIn(staging)).to.deep.equal([]);
  });
});

describe("staging that a process has left", () => {
  const children: ChildProcess[] = [];
  afterEach(() => children.splice(0).forEach((child) => child.kill("SIGKILL")));

  const PRELUDE = (folder: string) => `
    const { default: fs } = await import("node:fs/promises");
    const { syncBuiltinESMExports } = await import("node:module");
    const folder = ${JSON.stringify(folder)};
    let left = Number(process.env.STEPS ?? Infinity);
    for (const name of ["open", "mkdir", "rename", "rm", "rmdir", "readdir", "readFile", "stat"]) {
      const work = fs[name];
      fs[name] = (...args) => {
        if (String(args[0]).startsWith(folder) && --left < 0) process.kill(process.pid, "SIGKILL");
        return work(...args);
      };
    }
    syncBuiltinESMExports();
    ${imports("embedded", "evidence-files")}
    const content = openEmbeddedContent({ folder: folder + "/ipfs", listen: [], peers: [] });
    const files = openEvidenceFiles(folder + "/staging", content);
    const file = async (name) => (await import("node:fs")).readFileSync(folder + "/" + name);
    const stage = async (name) => files.stage((async function* () { yield await file(name); })(), Infinity);
    const say = (text) => (writeSync(1, text + "\\n"));
    const { writeSync } = await import("node:fs");`;

  it("is there as it was claimed, or not at all, wherever it was killed", async () => {
    const shared = randomBytes(CHUNK);
    const before = Buffer.concat([shared, randomBytes(10)]);
    const content = Buffer.concat([shared, randomBytes(CHUNK), randomBytes(77)]);
    let isDone = false;
    let steps = 0;
    const killedAfter = async (count: number) => {
      const { folder, files, staging } = filesIn();
      const kept = await keptIn(files, before);
      writeFileSync(join(folder, "content"), content);
      const script = `${PRELUDE(folder)}
        const staged = await stage("content");
        await staged.claim("the-name");
        say("claimed " + staged.cid);
        await staged.keep();
        say("kept");`;
      const said = await spoken(script, count);
      if (said.includes("kept")) isDone = true;
      const again = openEvidenceFiles(staging, openContent(folder));
      const waiting = await again.claimed();
      const cid = /claimed (\w+)/.exec(said)?.[1];
      if (cid !== undefined) await expectFile(again, cid, content);
      for (const { name, keep } of waiting) {
        expect(name).to.equal("the-name");
        await keep();
      }
      if (cid !== undefined) await expectFile(again, cid, content);
      await expectFile(again, kept, before);
      await (await stageIn(again, randomBytes(10))).discard(); // sweeps first
      expect(remainsIn(staging), `killed after ${count} steps`).to.deep.equal([]);
    };
    while (!isDone) {
      const counts = Array.from({ length: 6 }, () => steps++);
      await Promise.all(counts.map(killedAfter));
    }
    expect(steps).to.be.greaterThan(25);
  }).timeout(240_000);

  /** What a script says before it ends, or kills itself after so many steps. */
  function spoken(script: string, steps: number): Promise<string> {
    return new Promise((resolve, reject) => {
      const child = start(script, { STEPS: String(steps) });
      let [said, erred] = ["", ""];
      child.stdout?.on("data", (text: Buffer) => (said += text.toString()));
      child.stderr?.on("data", (text: Buffer) => (erred += text.toString()));
      child.once("close", () => (erred === "" ? resolve(said) : reject(new Error(erred))));
    });
  }

  function start(script: string, env: NodeJS.ProcessEnv = {}): ChildProcess {
    const args = ["--input-type=module", "--eval", script];
    const child = spawn(process.execPath, args, { env: { ...process.env, ...env } });
    children.push(child);
    return child;
  }

  const openContent = (folder: string) => {
    const content = openEmbeddedContent({ folder: join(folder, "ipfs"), listen: [], peers: [] });
    opened.push(content);
    return content;
  };

  it("is left alone while the process lives, and removed when it has been killed", async () => {
    const { folder, content, staging } = filesIn();
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "content"), randomBytes(MIB));
    const child = start(`${PRELUDE(folder)}
      await stage("content");
      await (await stage("content")).claim("busy");
      say("ready");
      setInterval(() => undefined, 1000);`);
    await new Promise((resolve) => child.stdout?.once("data", resolve));
    const living = openEvidenceFiles(staging, content);
    await (await stageIn(living, randomBytes(10))).discard();
    expect(remainsIn(staging)).to.have.length(10);
    expect(await living.claimed()).to.deep.equal([]);
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("close", resolve));
    const after = openEvidenceFiles(staging, content);
    await (await stageIn(after, randomBytes(10))).discard();
    expect(remainsIn(staging)).to.have.length(5);
    const [claim] = await after.claimed();
    expect(claim?.name).to.equal("busy");
    await claim!.keep();
    expect(remainsIn(staging)).to.deep.equal([]);
    await until("its folder is gone as well", async () => {
      await (await stageIn(openEvidenceFiles(staging, content), randomBytes(10))).discard();
      return readdirSync(staging).length === 1;
    });
  });

  it("of another host is left alone for a day, and what it has claimed is found", async () => {
    const { content, staging, files } = filesIn();
    const staged = await stageIn(files, randomBytes(10));
    await staged.claim("theirs");
    const [own = ""] = readdirSync(staging);
    const foreign = join(staging, "other-host.1.abcdef");
    mkdirSync(join(foreign, "young"), { recursive: true });
    mkdirSync(join(foreign, "old"));
    writeFileSync(join(foreign, "old", "block"), "");
    utimesSync(join(foreign, "old"), new Date(0), new Date(0));
    const again = openEvidenceFiles(staging, content);
    await (await stageIn(again, randomBytes(10))).discard();
    expect(readdirSync(foreign)).to.deep.equal(["young"]);
    const [mine = ""] = readdirSync(join(staging, own)).filter((name) => name.includes("~"));
    mkdirSync(join(foreign, mine));
    expect(await again.claimed()).to.have.length(1); // they may be writing its record
  });

  it("is looked for also later", async () => {
    const { content, staging } = filesIn();
    const files = openEvidenceFiles(staging, content, { sweepMs: 0 });
    await (await stageIn(files, randomBytes(10))).discard();
    const old = join(staging, "other-host.1.abcdef", "old");
    mkdirSync(old, { recursive: true });
    utimesSync(old, new Date(0), new Date(0));
    await until("it is gone", async () => {
      await files.claimed();
      return !existsSync(old);
    });
  });

  it("is not taken for that of an ended process where its id is of another container", async () => {
    const { content, staging, files } = filesIn();
    await stageIn(files, randomBytes(10));
    const [own = ""] = readdirSync(staging);
    const [place = "", id = ""] = own.split(".");
    const [here, there] = [`${place}.${id}.abcdef`, `${place.replace(/-\d*$/, "-1")}.${id}.abcdef`];
    for (const owner of [here, there])
      mkdirSync(join(staging, owner, "upload"), { recursive: true });
    const again = openEvidenceFiles(staging, content);
    await (await stageIn(again, randomBytes(10))).discard();
    expect(readdirSync(staging).sort()).to.deep.equal([own, there].sort());
  });
});

/** A content store that counts what is read of it. */
function counted(content: ContentStore) {
  const counts = { gets: 0, open: 0, aborted: 0 };
  const store: ContentStore = {
    put: (block) => content.put(block),
    keep: (blocks) => content.keep(blocks),
    check: (digest) => content.check(digest),
    addresses: () => content.addresses(),
    stop: () => content.stop(),
    get: async (digest, signal) => {
      counts.gets++;
      counts.open++;
      signal?.addEventListener("abort", () => counts.aborted++);
      return content.get(digest, signal).finally(() => counts.open--);
    },
  };
  return { counts, store };
}

describe("reading", () => {
  it("gives any range of a file", async () => {
    const seed = seedOfRun();
    const random = randomOf(seed);
    const { files } = filesIn();
    const content = sameBytes(180 * CHUNK + 11);
    const cid = await keptIn(files, content);
    const edges = [
      0,
      1,
      CHUNK - 1,
      CHUNK,
      CHUNK + 1,
      174 * CHUNK,
      content.length - 1,
      content.length,
    ];
    const ranges: Range[] = edges.flatMap((offset) =>
      [0, 1, CHUNK, 2 * CHUNK + 1].map((length) => ({ offset, length })),
    );
    for (let i = 0; i < 40; i++) {
      ranges.push({
        offset: random.between(0, content.length),
        length: random.between(0, i < 30 ? 3 * CHUNK : content.length),
      });
    }
    for (const { offset, length } of ranges) {
      const got = await bytesOf(files.read(cid, { offset, length }));
      const expected = content.subarray(offset, offset + length);
      const what = `seed ${seed}: ${length} bytes from ${offset}`;
      expect(got.length, what).to.equal(expected.length);
      expect(hex(sha256(got)), what).to.equal(hex(sha256(expected)));
    }
  }).timeout(120_000);

  it("reads only the blocks of a range", async () => {
    const { folder, content } = filesIn();
    const { counts, store } = counted(content);
    const files = openEvidenceFiles(join(folder, "staging"), store);
    const cid = await keptIn(files, sameBytes(64 * CHUNK));
    await bytesOf(files.read(cid, { offset: 30 * CHUNK, length: CHUNK }));
    expect(counts.gets).to.equal(2);
  });

  it("reads a little ahead of a slow reader, and ends what it has begun when the reader leaves", async () => {
    const { folder, content } = filesIn();
    const { counts, store } = counted(content);
    const files = openEvidenceFiles(join(folder, "staging"), store);
    const cid = await keptIn(files, sameBytes(64 * CHUNK));
    for await (const _ of files.read(cid)) {
      await until("nothing is being read", () => counts.open === 0);
      expect(counts.gets).to.be.within(2, 8);
      break;
    }
    expect(counts.gets).to.be.lessThan(8);
  });

  it("gives up waiting for peers when it is told to, with the reason", async () => {
    const { content } = filesIn();
    await content.listen();
    const { counts, store } = counted({ ...counted(content).store, get: waits });
    const files = openEvidenceFiles(join(temporaryFolder(), "staging"), store);
    const controller = new AbortController();
    const cid = CID.createV1(0x55, Digest.create(0x12, randomBytes(32))).toString();
    const call = reasonOf(bytesOf(files.read(cid, undefined, controller.signal)));
    await until("it waits", () => counts.open === 1);
    const reason = new Error("enough");
    controller.abort(reason);
    expect(await call).to.equal(reason);
    expect(counts.aborted).to.equal(1);
  });

  const waits = (_: Uint8Array, signal?: AbortSignal): Promise<undefined> =>
    new Promise((_resolve, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason as Error));
    });

  it("says which block is lost, after all that is before it", async () => {
    const { files, folder } = filesIn();
    const content = sameBytes(8 * CHUNK);
    const cid = await keptIn(files, content);
    const block = content.subarray(5 * CHUNK, 6 * CHUNK);
    for (const damage of [
      () => writeFileSync(blockFile(folder, sha256(block)), block.subarray(1)),
      () => rmSync(blockFile(folder, sha256(block))),
    ]) {
      damage();
      let got = 0;
      const reading = (async () => {
        for await (const piece of files.read(cid)) got += piece.length;
      })();
      const error = await reading.then(
        () => undefined,
        (thrown: unknown) => thrown as { reason: string; message: string },
      );
      expect(error?.reason).to.equal("CONTENT_LOST");
      expect(error?.message).to.contain(
        CID.createV1(0x55, Digest.create(0x12, sha256(block))).toString(),
      );
      expect(got).to.equal(5 * CHUNK);
    }
  });

  it("refuses what is no file", async () => {
    const { files, content } = filesIn();
    const folder = Buffer.from("0a020801", "hex"); // an empty directory
    await content.put(folder);
    await content.put(Buffer.from("nonsense"));
    for (const [code, bytes] of [
      [0x70, folder],
      [0x70, Buffer.from("nonsense")],
      [0x71, folder],
    ] as const) {
      const cid = CID.createV1(code, Digest.create(0x12, sha256(bytes))).toString();
      expect(await reasonOf(bytesOf(files.read(cid)))).to.equal("CONTENT_LOST");
    }
    const inline = CID.createV1(0x55, Digest.create(0, Buffer.from("inline"))).toString();
    expect(await reasonOf(bytesOf(files.read(inline)))).to.equal("CONTENT_LOST");
  });

  it("gives the blocks of a CAR file, of which another implementation reads the same file", async () => {
    const { files } = filesIn();
    const content = Buffer.concat([sameBytes(176 * CHUNK), Buffer.alloc(3 * CHUNK)]);
    const staged = await stageIn(files, content);
    await staged.claim("in-a-car");
    const root = CID.parse(staged.cid);
    const { writer, out } = CarWriter.create([root]);
    const writing = (async () => {
      for await (const block of files.blocks(staged.cid)) await writer.put(block);
      await writer.close();
    })();
    const car = await CarReader.fromIterable(out);
    await writing;
    const get = async (cid: CID) => (await car.get(cid))!.bytes;
    const file = await exporter(root, { get } as never);
    const got = await bytesOf(file.content() as AsyncIterable<Uint8Array>);
    expect(hex(sha256(got))).to.equal(hex(sha256(content)));
  });
});

describe("checking a file", () => {
  const FAST = { bytesPerSecond: 1e12 };

  it("finds it intact, with its SHA-256", async () => {
    const { files } = filesIn();
    for (const length of [0, 1, CHUNK, 3 * MIB]) {
      const content = randomBytes(length);
      const { sha256: hash, ...verdict } = await files.check(await keptIn(files, content), FAST);
      expect(verdict).to.deep.equal({ found: "intact", after: "intact" });
      expect(hex(hash!)).to.equal(hex(sha256(content)));
    }
  });

  const damages: Readonly<Record<string, (file: string) => void>> = {
    missing: (file) => rmSync(file),
    "altered: one bit of it": (file) => {
      const block = readFileSync(file);
      block[0]! ^= 1;
      writeFileSync(file, block);
    },
    "altered: it is cut short": (file) => writeFileSync(file, readFileSync(file).subarray(0, -1)),
    "altered: it is empty": (file) => writeFileSync(file, ""),
  };
  for (const [what, damage] of Object.entries(damages)) {
    const found = what.split(":")[0]!;
    it(`finds any block ${what}, and has it repaired where a peer can`, async () => {
      const peer = filesIn();
      const content = randomBytes(3 * CHUNK + 5);
      const cid = await keptIn(peer.files, content);
      await peer.content.listen();
      const alone = filesIn();
      const mended = filesIn(undefined, peer.content.addresses());
      for (const { files } of [alone, mended]) await keptIn(files, content);
      const blocks = remainsIn(join(alone.folder, "ipfs", "blocks"));
      expect(blocks).to.have.length(5);
      for (const block of blocks) {
        for (const { folder } of [alone, mended]) damage(join(folder, "ipfs", "blocks", block));
        const lonely = await alone.files.check(cid, FAST);
        expect(lonely).to.deep.equal({ found, after: found, sha256: undefined });
        const repaired = await mended.files.check(cid, FAST);
        expect({ ...repaired, sha256: hex(repaired.sha256!) }).to.deep.equal({
          found,
          after: "intact",
          sha256: hex(sha256(content)),
        });
        await keptIn(alone.files, content); // and it is whole again
        expect((await alone.files.check(cid, FAST)).found).to.equal("intact");
        expect((await mended.files.check(cid, FAST)).found).to.equal("intact");
      }
    });
  }

  it("looks at every block: what is altered is told before what is missing", async () => {
    const { files, folder } = filesIn();
    const content = randomBytes(6 * CHUNK);
    const cid = await keptIn(files, content);
    rmSync(blockFile(folder, sha256(content.subarray(0, CHUNK))));
    writeFileSync(blockFile(folder, sha256(content.subarray(5 * CHUNK))), "altered");
    expect(await files.check(cid, FAST)).to.deep.equal({
      found: "altered",
      after: "altered",
      sha256: undefined,
    });
  });

  it("does not ask peers for every block of a file that they do not have", async () => {
    const { folder, content, files } = filesIn();
    const file = sameBytes(60 * CHUNK);
    const cid = await keptIn(files, file);
    for (let at = 0; at < file.length; at += CHUNK) {
      rmSync(blockFile(folder, sha256(file.subarray(at, at + CHUNK))));
    }
    const { counts, store } = counted(content);
    const { found } = await openEvidenceFiles(join(folder, "staging"), store).check(cid, FAST);
    expect(found).to.equal("missing");
    expect(counts.gets).to.be.lessThan(20);
  });

  it("takes its time, and ends at once when it is told to", async () => {
    const { folder, content } = filesIn();
    const { counts, store } = counted(content);
    const files = openEvidenceFiles(join(folder, "staging"), store);
    const cid = await keptIn(files, sameBytes(8 * CHUNK));
    const controller = new AbortController();
    const { signal } = controller;
    const checking = reasonOf(files.check(cid, { bytesPerSecond: 1000, signal }));
    await until("it has begun", () => counts.gets === 1);
    const reason = new Error("the service stops");
    controller.abort(reason);
    expect(await checking).to.equal(reason);
    expect(counts.gets).to.be.lessThan(3);
  });
});
