import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
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
import { connect, createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { multiaddr } from "@multiformats/multiaddr";
import { expect } from "chai";
import { exporter } from "ipfs-unixfs-exporter";
import { importBytes } from "ipfs-unixfs-importer";
import { fixedSize } from "ipfs-unixfs-importer/chunker";
import { balanced } from "ipfs-unixfs-importer/layout";
import { CID } from "multiformats/cid";
import * as Digest from "multiformats/hashes/digest";
import { sha256 as hasher } from "multiformats/hashes/sha2";
import { openEmbeddedContent } from "../../src/content/embedded.js";
import type { EmbeddedContent } from "../../src/content/embedded.js";
import { openEvidenceFiles } from "../../src/content/evidence-files.js";
import { openKuboContent } from "../../src/content/kubo.js";
import type { ContentStore } from "../../src/content/port.js";
import { hex, sha256 } from "../../src/core/bytes.js";
import { temporaryFolder } from "../support/daemon.js";
import { startPlainNode } from "../support/ipfs-node.js";
import type { PlainNode } from "../support/ipfs-node.js";
import { KuboRepository, startKubo } from "../support/kubo.js";
import { run } from "../support/run.js";
import { until } from "../support/until.js";

const MIB = 1024 * 1024;
const LOOPBACK = "/ip4/127.0.0.1/tcp/0";

/** What `ipfs add --cid-version=1` does. */
const KUBO_SETTINGS = {
  cidVersion: 1,
  rawLeaves: true,
  chunker: fixedSize({ chunkSize: 262_144 }),
  layout: balanced({ maxChildrenPerNode: 174 }),
} as const;

/** How a test wants a store. */
interface Wish {
  readonly folder?: string;
  readonly listen?: readonly string[];
  readonly peers?: readonly string[];
  readonly fetchMs?: number;
}

/** An implementation of the port. */
interface Implementation {
  readonly name: string;
  /** Opens a store and waits until it listens. */
  open(wish?: Wish): Promise<ContentStore>;
  /** Changes a block, or removes it, where the store of a folder keeps it. */
  damage(folder: string, digest: Uint8Array, to: Uint8Array | undefined): Promise<void>;
}

const opened: { stop(): Promise<unknown> }[] = [];
afterEach(() => Promise.all(opened.splice(0).map((node) => node.stop())));

/** One that is not on the network yet. */
function embedded(wish: Wish = {}): EmbeddedContent {
  const store = openEmbeddedContent({
    folder: temporaryFolder(),
    listen: [LOOPBACK],
    peers: [],
    fetchMs: 20_000,
    ...wish,
  });
  opened.push(store);
  return store;
}

/** What a Kubo node keeps in a folder. */
const repositories = new Map<string, KuboRepository>();

function repositoryIn(folder: string): KuboRepository {
  const repository = repositories.get(folder) ?? new KuboRepository();
  repositories.set(folder, repository);
  return repository;
}

/** Opens a Kubo node; when it is stopped, what is behind it is as well. */
async function openKubo({ folder = temporaryFolder(), fetchMs = 20_000, ...wish }: Wish = {}) {
  const kubo = await startKubo({ repository: repositoryIn(folder), ...wish });
  const store = openKuboContent({ url: kubo.url, fetchMs });
  const hangUp = store.stop.bind(store);
  const stop = once(async () => {
    await hangUp();
    await kubo.stop();
  });
  opened.push({ stop });
  await store.listen();
  return Object.assign(store, { stop });
}

function once(work: () => Promise<void>): () => Promise<void> {
  let working: Promise<void> | undefined;
  return () => (working ??= work());
}

function blockFile(folder: string, digest: Uint8Array): string {
  return join(folder, "blocks", hex(digest).slice(0, 2), hex(digest));
}

const EMBEDDED: Implementation = {
  name: "the embedded IPFS node",
  open: async (wish) => {
    const store = embedded(wish);
    await store.listen();
    return store;
  },
  damage: async (folder, digest, to) => {
    if (to === undefined) rmSync(blockFile(folder, digest));
    else writeFileSync(blockFile(folder, digest), to);
  },
};

const KUBO: Implementation = {
  name: "a Kubo node",
  open: openKubo,
  damage: async (folder, digest, to) => {
    const cid = CID.createV1(0x55, Digest.create(0x12, digest));
    const { blocks } = repositoryIn(folder);
    if (to === undefined) await blocks.delete(cid);
    else await blocks.put(cid, to);
  },
};

async function expectBlock(store: ContentStore, block: Uint8Array): Promise<void> {
  const found = await store.get(sha256(block));
  expect(found === undefined ? found : hex(sha256(found))).to.equal(hex(sha256(block)));
}

async function* piecesOf(content: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += 100_000) yield content.subarray(at, at + 100_000);
}

/** The SHA-256 of a file that an IPFS node fetches by its CID. */
async function sha256Of({ blockstore }: PlainNode, cid: string): Promise<string> {
  const signal = AbortSignal.timeout(30_000);
  const file = await exporter(CID.parse(cid), blockstore as never, { signal });
  const pieces: Uint8Array[] = [];
  for await (const piece of file.content({ signal, blockReadConcurrency: 4 }))
    pieces.push(piece as Uint8Array);
  return hex(sha256(...pieces));
}

/** What the call was rejected with. */
async function failureOf(call: Promise<unknown>): Promise<Error & { readonly reason?: string }> {
  try {
    await call;
  } catch (error) {
    return error as Error;
  }
  throw new Error("it was not refused");
}

async function plainNode(): Promise<PlainNode> {
  const node = await startPlainNode();
  opened.push(node);
  return node;
}

for (const { name, open, damage } of [EMBEDDED, KUBO]) {
  describe(`${name} as a content store`, () => {
    it("gives back what it was given", async () => {
      const store = await open();
      for (const block of [randomBytes(1), randomBytes(300), randomBytes(MIB + 16)]) {
        expect(await store.check(sha256(block))).to.equal("missing");
        await store.put(block);
        expect(await store.check(sha256(block))).to.equal("intact");
        await expectBlock(store, block);
      }
    });

    it("keeps the empty block like any other", async () => {
      const store = await open();
      await store.put(new Uint8Array(0));
      expect(await store.get(sha256(new Uint8Array(0)))).to.have.length(0);
    });

    it("keeps blocks when it is opened again", async () => {
      const folder = temporaryFolder();
      const blocks = [randomBytes(10), randomBytes(MIB)];
      const before = await open({ folder });
      for (const block of blocks) await before.put(block);
      await before.stop();
      const after = await open({ folder });
      for (const block of blocks) await expectBlock(after, block);
    });

    it("takes the same block any number of times, also at once", async () => {
      const store = await open();
      const block = randomBytes(MIB);
      await Promise.all(Array.from({ length: 8 }, () => store.put(block)));
      await store.put(block);
      await expectBlock(store, block);
    });

    it("takes and gives many at once", async () => {
      const store = await open();
      const blocks = Array.from({ length: 200 }, (_, i) => randomBytes(i * 500));
      await Promise.all(blocks.map((block) => store.put(block)));
      await Promise.all(blocks.map((block) => expectBlock(store, block)));
    });

    it("has nothing for a block that no peer has, within its bound, and finds it later", async () => {
      const first = await open();
      const second = await open({ peers: first.addresses(), fetchMs: 300 });
      const block = randomBytes(1000);
      const start = performance.now();
      expect(await second.get(sha256(block))).to.equal(undefined);
      expect(performance.now() - start).to.be.lessThan(5000);
      await first.put(block);
      const patient = await open({ peers: first.addresses() });
      await expectBlock(patient, block);
      await until("the impatient one finds it", async () => {
        return (await second.get(sha256(block))) !== undefined;
      });
    });

    it("tells what is intact from what is missing or altered, and gives out nothing else", async () => {
      const folder = temporaryFolder();
      const store = await open({ folder, fetchMs: 100 });
      const blocks = [randomBytes(10), randomBytes(2000), randomBytes(MIB)];
      for (const block of blocks) await store.put(block);
      const [first = randomBytes(1), second = first, third = first] = blocks;
      await damage(folder, sha256(first), first.subarray(1));
      await damage(folder, sha256(second), undefined);
      const checks = await Promise.all(blocks.map((block) => store.check(sha256(block))));
      expect(checks).to.deep.equal(["altered", "missing", "intact"]);
      expect(await store.get(sha256(first))).to.equal(undefined);
      expect(await store.get(sha256(second))).to.equal(undefined);
      await expectBlock(store, third);
    });

    it("takes over the blocks of a staged file, which another IPFS node can then fetch by its CID", async () => {
      const store = await open();
      const content = randomBytes(5 * MIB + 17);
      const files = openEvidenceFiles(join(temporaryFolder(), "staging"), store);
      const staged = await files.stage(piecesOf(content), Infinity);
      expect(await store.check(CID.parse(staged.cid).multihash.digest)).to.equal("missing");
      await staged.keep();
      expect(await store.check(CID.parse(staged.cid).multihash.digest)).to.equal("intact");
      const node = await plainNode();
      await node.libp2p.dial(store.addresses().map((address) => multiaddr(address)));
      expect(await sha256Of(node, staged.cid)).to.equal(hex(sha256(content)));
    });

    it("takes over a file again where that was cut short, and mends blocks that are missing", async () => {
      const folder = temporaryFolder();
      const store = await open({ folder });
      const content = randomBytes(MIB);
      const files = openEvidenceFiles(join(temporaryFolder(), "staging"), store);
      for (const _ of ["once", "again"]) {
        const staged = await files.stage(piecesOf(content), Infinity);
        await Promise.all([staged.keep(), staged.keep()]);
        await staged.keep();
        expect(await store.check(sha256(content.subarray(0, 262_144)))).to.equal("intact");
        await damage(folder, sha256(content.subarray(0, 262_144)), undefined);
      }
    });

    it("fetches the blocks of a file from an IPFS node that knows nothing of us", async () => {
      const node = await plainNode();
      const content = randomBytes(MIB + 1);
      const { cid } = await importBytes(content, node.blockstore as never, KUBO_SETTINGS);
      const store = await open({ peers: node.libp2p.getMultiaddrs().map(String) });
      const files = openEvidenceFiles(join(temporaryFolder(), "staging"), store);
      const got: Uint8Array[] = [];
      for await (const piece of files.read(cid.toString())) got.push(piece);
      expect(hex(sha256(...got))).to.equal(hex(sha256(content)));
      expect(await store.check(cid.multihash.digest)).to.equal("intact");
    });

    it("gives up when the caller does", async () => {
      const first = await open();
      const second = await open({ peers: first.addresses(), fetchMs: 60_000 });
      const block = randomBytes(1000);
      const reason = new Error("enough");
      const controller = new AbortController();
      const call = failureOf(second.get(sha256(block), controller.signal));
      controller.abort(reason);
      expect(await call).to.equal(reason);
      expect(await failureOf(second.get(sha256(block), controller.signal))).to.equal(reason);
      const waiting = second.get(sha256(block)); // shares the fetch that was left alone
      await first.put(block);
      expect(hex((await waiting)!)).to.equal(hex(block));
    });

    it("fetches from a peer, and keeps what it has fetched", async () => {
      const first = await open();
      const folder = temporaryFolder();
      const second = await open({ folder, peers: first.addresses() });
      const blocks = [new Uint8Array(0), randomBytes(300), randomBytes(MIB + 16)];
      for (const block of blocks) await first.put(block);
      await Promise.all([...blocks, ...blocks].map((block) => expectBlock(second, block)));
      await second.stop();
      await first.stop();
      const alone = await open({ folder });
      for (const block of blocks) await expectBlock(alone, block);
    });

    it("gives to the peer that it dialled as well", async () => {
      const first = await open();
      const second = await open({ peers: first.addresses() });
      const [early, late] = [randomBytes(2000), randomBytes(2000)];
      await second.put(early);
      await first.put(late);
      await expectBlock(second, late); // they are connected now
      await expectBlock(first, early);
    });

    it("sends a block as soon as it has it to a peer that waits for it", async () => {
      const first = await open();
      const second = await open({ peers: first.addresses() });
      const other = randomBytes(100);
      await first.put(other);
      await expectBlock(second, other);
      const block = randomBytes(1000);
      const waiting = second.get(sha256(block));
      await first.put(block);
      expect(hex((await waiting)!)).to.equal(hex(block));
    });

    it("can be stopped in the middle of a fetch, and twice", async () => {
      const first = await open();
      const second = await open({ peers: first.addresses(), fetchMs: 60_000 });
      const waiting = second.get(randomBytes(32));
      await second.stop();
      expect(await waiting).to.equal(undefined);
      await second.stop();
      expect(second.addresses()).to.deep.equal([]);
    });

    it("serves an IPFS node that knows nothing of us", async () => {
      const store = await open();
      const node = await plainNode();
      await node.libp2p.dial(store.addresses().map((address) => multiaddr(address)));
      for (const block of [randomBytes(300), randomBytes(MIB + 16)]) {
        await store.put(block);
        const cid = CID.createV1(0x55, await hasher.digest(block));
        const got = await node.blockstore.get(cid, { signal: AbortSignal.timeout(20_000) });
        expect(hex(sha256(got))).to.equal(hex(sha256(block)));
      }
    });

    it("fetches from an IPFS node that knows nothing of us", async () => {
      const node = await plainNode();
      const block = randomBytes(MIB);
      await node.blockstore.put(CID.createV1(0x55, await hasher.digest(block)), block);
      const store = await open({ peers: node.libp2p.getMultiaddrs().map(String) });
      await expectBlock(store, block);
    });
  });
}

describe("the embedded IPFS node among its peers", () => {
  const { open } = EMBEDDED;

  it("has nothing for an unknown block, at once where there is nobody to ask", async () => {
    const store = await open({ fetchMs: 60_000 });
    const start = performance.now();
    expect(await store.get(randomBytes(32))).to.equal(undefined);
    expect(performance.now() - start).to.be.lessThan(5000);
  });

  it("finds its peer again after that has restarted", async () => {
    const folder = temporaryFolder();
    const first = await open({ folder });
    const [address = ""] = first.addresses();
    const second = await open({ peers: [address] });
    const [before, after] = [randomBytes(1000), randomBytes(1000)];
    await first.put(before);
    await expectBlock(second, before);
    await first.stop();
    const again = await open({ folder, listen: [address.replace(/\/p2p\/.*/, "")] });
    expect(again.addresses()).to.deep.equal([address]);
    await again.put(after);
    await expectBlock(second, after);
  });

  it("waits for a peer that is not there yet", async () => {
    const folder = temporaryFolder();
    const early = await open({ folder });
    const [address = ""] = early.addresses();
    await early.stop();
    const store = await open({ peers: [address] });
    const block = randomBytes(1000);
    const waiting = store.get(sha256(block));
    const late = await open({ folder, listen: [address.replace(/\/p2p\/.*/, "")] });
    await late.put(block);
    expect(hex((await waiting)!)).to.equal(hex(block));
  });

  it("has what is on its disk after it was stopped, and nothing else", async () => {
    const first = await open();
    const store = await open({ peers: first.addresses(), fetchMs: 60_000 });
    const block = randomBytes(100);
    await store.put(block);
    await store.stop();
    await expectBlock(store, block);
    expect(await store.get(randomBytes(32))).to.equal(undefined);
  });

  it("listens on loopback alone", async function () {
    const store = await open();
    const [address = ""] = store.addresses();
    const port = Number(/^\/ip4\/127\.0\.0\.1\/tcp\/(\d+)\/p2p\/\w+$/.exec(address)?.[1]);
    expect(store.addresses()).to.have.length(1);
    expect(await reachable("127.0.0.1", port)).to.equal(true);
    const others = Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      .filter(({ internal, family }) => !internal && family === "IPv4");
    if (others.length === 0) this.skip();
    for (const { address: host } of others) expect(await reachable(host, port)).to.equal(false);
  });
});

function reachable(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 2000 });
    const end = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => end(true));
    socket.once("error", () => end(false));
    socket.once("timeout", () => end(false));
  });
}

describe("the embedded IPFS node", () => {
  const fileOf = (folder: string, block: Uint8Array) => {
    const name = hex(sha256(block));
    return join(folder, "blocks", name.slice(0, 2), name);
  };

  /** What may have happened to a file. */
  const damages: Readonly<Record<string, (block: Buffer) => Buffer>> = {
    "a changed bit": (block) => Buffer.concat([Buffer.of(block[0]! ^ 1), block.subarray(1)]),
    "a lost end": (block) => block.subarray(0, -1),
    "nothing left": () => Buffer.alloc(0),
    "something appended": (block) => Buffer.concat([block, Buffer.of(0)]),
  };
  for (const [what, damage] of Object.entries(damages)) {
    it(`takes a block with ${what} on the disk as missing, and mends it`, async () => {
      const folder = temporaryFolder();
      const store = embedded({ folder, fetchMs: 200 });
      const block = randomBytes(1000);
      await store.put(block);
      writeFileSync(fileOf(folder, block), damage(block));
      expect(await store.get(sha256(block))).to.equal(undefined);
      await store.put(block);
      await expectBlock(store, block);
    });

    it(`mends a block with ${what} on the disk from a peer`, async () => {
      const folder = temporaryFolder();
      const block = randomBytes(1000);
      const peer = embedded();
      await peer.listen();
      await peer.put(block);
      const store = embedded({ folder, peers: peer.addresses() });
      await store.put(block);
      writeFileSync(fileOf(folder, block), damage(block));
      await expectBlock(store, block);
      expect(hex(readFileSync(fileOf(folder, block)))).to.equal(hex(block));
    });
  }

  it("does not hand a damaged block to a peer", async () => {
    const folder = temporaryFolder();
    const first = embedded({ folder });
    await first.listen();
    const [good, bad] = [randomBytes(1000), randomBytes(1000)];
    await first.put(good);
    await first.put(bad);
    writeFileSync(fileOf(folder, bad), randomBytes(1000));
    const second = embedded({ peers: first.addresses(), fetchMs: 3000 });
    await expectBlock(second, good);
    expect(await second.get(sha256(bad))).to.equal(undefined);
  });

  it("names files by their SHA-256, for its owner alone", async () => {
    const folder = join(temporaryFolder(), "data", "ipfs");
    const store = embedded({ folder });
    const block = randomBytes(1000);
    await store.put(block);
    expect(hex(readFileSync(fileOf(folder, block)))).to.equal(hex(block));
    expect(statSync(fileOf(folder, block)).mode & 0o777).to.equal(0o600);
    expect(statSync(folder).mode & 0o777).to.equal(0o700);
    expect(readdirSync(join(folder, "tmp"))).to.deep.equal([]);
  });

  it("removes what a crash has left, but not what is being written", async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, "tmp"));
    const [old, young] = [join(folder, "tmp", "old"), join(folder, "tmp", "young")];
    writeFileSync(old, "half a block");
    writeFileSync(young, "half a block");
    utimesSync(old, new Date(0), new Date(0));
    await embedded({ folder }).put(randomBytes(10));
    expect(existsSync(old)).to.equal(false);
    expect(existsSync(young)).to.equal(true);
  });

  it("makes its folder again when someone has removed it", async () => {
    const folder = temporaryFolder();
    const store = embedded({ folder });
    const block = randomBytes(10);
    await store.put(block);
    rmSync(folder, { recursive: true });
    expect(await store.get(sha256(block))).to.equal(undefined);
    await until("it takes blocks again", () =>
      store.put(block).then(
        () => true,
        () => false,
      ),
    );
    await expectBlock(store, block);
  });

  it("says which folder it cannot use", async () => {
    const folder = join(temporaryFolder(), "ipfs");
    writeFileSync(folder, "");
    const store = embedded({ folder });
    for (const call of [
      store.put(randomBytes(10)),
      store.get(randomBytes(32)),
      store.check(randomBytes(32)),
    ]) {
      expect((await failureOf(call)).message)
        .to.contain(folder)
        .and.contain("ENOTDIR");
    }
  });

  it("says so when the disk is full, and takes blocks again when it is not", async function () {
    // A file system of 1 MiB that only the child can see, and that goes with it.
    const folder = temporaryFolder();
    const module = new URL("../../src/content/embedded.js", import.meta.url).href;
    const script = `
      const { openEmbeddedContent } = await import(${JSON.stringify(module)});
      const { rmSync, readdirSync } = await import("node:fs");
      const folder = ${JSON.stringify(folder)};
      const store = openEmbeddedContent({ folder: folder + "/ipfs", listen: [], peers: [] });
      await store.put(Buffer.alloc(600_000, 1));
      const said = await store.put(Buffer.alloc(600_000, 2)).catch((error) => error.reason);
      const litter = readdirSync(folder + "/ipfs/tmp").length;
      rmSync(folder + "/ipfs/blocks", { recursive: true });
      await store.put(Buffer.alloc(600_000, 2));
      console.log(said, litter);`;
    const inside = `mount -t tmpfs -o size=1m none "$1" && exec "$2" --input-type=module --eval "$3"`;
    const unshare = ["--user", "--map-root-user", "--mount", "sh", "-c"];
    const possible = spawnSync("unshare", [...unshare, `mount -t tmpfs none "$1"`, "sh", folder]);
    if (possible.status !== 0) this.skip();
    const args = [...unshare, inside, "sh", folder, process.execPath, script];
    expect(await run("unshare", args)).to.include({ code: 0, stdout: "STORAGE_FULL 0\n" });
  });

  it("needs no network for what is on its disk, and loads none until it has to listen", async () => {
    const module = new URL("../../src/content/embedded.js", import.meta.url).href;
    const script = `
      const { openEmbeddedContent } = await import(${JSON.stringify(module)});
      const store = openEmbeddedContent({ folder: ${JSON.stringify(temporaryFolder())},
        listen: [${JSON.stringify(LOOPBACK)}], peers: [] });
      const polyfilled = () => "withResolvers" in Promise;
      const had = polyfilled();
      await store.put(Buffer.alloc(10));
      const before = polyfilled();
      await store.listen();
      console.log(had === before, store.addresses().length, polyfilled());
      await store.stop();`;
    const ended = await run(process.execPath, ["--input-type=module", "--eval", script]);
    expect(ended).to.include({ code: 0, stdout: "true 1 true\n" });
  });

  it("keeps its peer id, and the key of it for its owner alone", async () => {
    const folder = temporaryFolder();
    const peerId = async () => {
      const store = embedded({ folder });
      await store.listen();
      const [address = ""] = store.addresses();
      await store.stop();
      return address.split("/p2p/")[1];
    };
    const first = await peerId();
    expect(first).to.match(/^12D3KooW/);
    expect(await peerId()).to.equal(first);
    expect(statSync(join(folder, "identity")).mode & 0o777).to.equal(0o600);
  });

  it("says which identity is damaged, and still has its blocks", async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "identity"), "no key");
    const store = embedded({ folder });
    const { message } = await failureOf(store.listen());
    expect(message).to.contain(join(folder, "identity")).and.contain("remove it");
    const block = randomBytes(10);
    await store.put(block);
    await expectBlock(store, block);
    rmSync(join(folder, "identity"));
    await store.listen();
    expect(store.addresses()).to.have.length(1);
  });

  it("takes a free port where the default one is taken", async () => {
    const holder = createServer();
    await new Promise((resolve) => {
      holder.once("error", resolve).listen(4001, "127.0.0.1", () => resolve(undefined));
    }); // held now, by us or by someone else
    const store = embedded({ listen: ["/ip4/127.0.0.1/tcp/4001"] });
    await store.listen();
    expect(store.addresses().join()).to.match(/^\/ip4\/127\.0\.0\.1\/tcp\/(?!4001\/)\d+\/p2p\//);
    holder.close();
  });

  it("says so where a chosen port is taken, and listens once it is free", async () => {
    const holder = createServer();
    await new Promise<void>((resolve) => holder.listen(0, "127.0.0.1", resolve));
    const address = `/ip4/127.0.0.1/tcp/${(holder.address() as AddressInfo).port}`;
    const store = embedded({ listen: [address] });
    const { message } = await failureOf(store.listen());
    expect(message).to.contain(address).and.contain("EADDRINUSE").and.contain("IPFS_LISTEN");
    expect(await store.get(randomBytes(32))).to.equal(undefined);
    await new Promise((resolve) => holder.close(resolve));
    await store.listen();
    expect(store.addresses().join()).to.contain(address);
  });

  it("stays off the network where there is nothing to listen on and nobody to dial", async () => {
    const store = openEmbeddedContent({ folder: temporaryFolder(), listen: [], peers: [] });
    await store.listen();
    expect(store.addresses()).to.deep.equal([]);
    expect(await store.get(randomBytes(32))).to.equal(undefined);
    const block = randomBytes(100);
    await store.put(block);
    expect(hex((await store.get(sha256(block))) as Uint8Array)).to.equal(hex(block));
    await store.stop();
  });

  it("says which peer has no id that can be one", async () => {
    const right = "12D3KooWHdQcicjQHLEeGEG3v6q1Fjgc499UWFobZi86eBn1KxeE";
    for (const id of ["nobody", right.slice(0, -1), right.replace("H", "0")]) {
      const peer = `/ip4/127.0.0.1/tcp/1/p2p/${id}`;
      const store = embedded({ peers: [peer] });
      expect((await failureOf(store.listen())).message).to.contain(`IPFS_PEERS: ${peer}`);
    }
  });

  it("can be stopped before and while it joins the network", async () => {
    const unused = embedded();
    await unused.stop();
    expect((await failureOf(unused.listen())).message).to.contain("has been stopped");
    const hasty = embedded({ peers: ["/ip4/127.0.0.1/tcp/1"] });
    const listening = hasty.listen();
    await hasty.stop();
    await listening;
    expect(hasty.addresses()).to.deep.equal([]);
  });

  it("lives with peers that hang up, say nonsense, or do not answer", async () => {
    const sockets: (() => void)[] = [];
    const server = createServer((socket) => {
      sockets.push(() => socket.destroy());
      socket.on("error", () => undefined);
      if (sockets.length % 3 === 0) socket.destroy();
      else if (sockets.length % 3 === 1) socket.end("this is not libp2p\n");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const bad = `/ip4/127.0.0.1/tcp/${(server.address() as AddressInfo).port}`;
    const good = embedded();
    await good.listen();
    const block = randomBytes(1000);
    await good.put(block);
    const store = embedded({ peers: [bad, bad, bad, ...good.addresses()] });
    await expectBlock(store, block);
    await until("all kinds were tried", () => sockets.length >= 3);
    await store.stop();
    for (const destroy of sockets) destroy();
    await new Promise((resolve) => server.close(resolve));
  });
});
