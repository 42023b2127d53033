import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import type { RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { expect } from "chai";
import { CID } from "multiformats/cid";
import * as Digest from "multiformats/hashes/digest";
import { openEvidenceFiles } from "../../src/content/evidence-files.js";
import { openKuboContent } from "../../src/content/kubo.js";
import type { KuboContent } from "../../src/content/kubo.js";
import { sha256 } from "../../src/core/bytes.js";
import { AnchordError } from "../../src/core/errors.js";
import { temporaryFolder } from "../support/daemon.js";
import { startKubo } from "../support/kubo.js";
import type { KuboWish } from "../support/kubo.js";

const MIB = 1024 * 1024;
const PASSWORD = "s3cret/word%";

const opened: { stop(): Promise<unknown> }[] = [];
afterEach(() => Promise.all(opened.splice(0).map((one) => one.stop())));

function openAt(url: string, silenceMs = 20_000): KuboContent {
  const store = openKuboContent({ url, fetchMs: 500, silenceMs });
  opened.push(store);
  return store;
}

async function kuboWith(wish: KuboWish = {}) {
  const kubo = await startKubo(wish);
  opened.push(kubo);
  return { kubo, store: openAt(kubo.url) };
}

/** Something else that answers on HTTP. */
async function serverWith(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const stop = () =>
    new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    });
  opened.push({ stop });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function failureOf(call: Promise<unknown>): Promise<AnchordError> {
  try {
    await call;
  } catch (error) {
    expect(error).to.be.instanceOf(AnchordError);
    return error as AnchordError;
  }
  throw new Error("it was not refused");
}

async function staged(store: KuboContent, content: Uint8Array) {
  const files = openEvidenceFiles(join(temporaryFolder(), "staging"), store);
  const pieces = (async function* () {
    for (let at = 0; at < content.length; at += 50_000) yield content.subarray(at, at + 50_000);
  })();
  return { files, file: await files.stage(pieces, Infinity) };
}

const callsOf = (store: KuboContent) => [
  store.listen(),
  store.put(randomBytes(10)),
  store.get(randomBytes(32)),
  store.check(randomBytes(32)),
  staged(store, randomBytes(MIB)).then(({ file }) => file.keep()),
];

describe("a Kubo node behind its RPC", () => {
  it("is told to pin each block, also one above 1 MiB, and each file by its root alone", async () => {
    const { kubo, store } = await kuboWith();
    const block = randomBytes(MIB + 16);
    await store.put(block);
    const { file } = await staged(store, randomBytes(MIB));
    await file.keep();
    const cid = CID.createV1(0x55, Digest.create(0x12, sha256(block)));
    expect([...kubo.repository.pins]).to.deep.equal([cid.toString(), file.cid]);
  });

  it("is told user and password, which no message repeats", async () => {
    const kubo = await startKubo({ credentials: `user:${PASSWORD}` });
    opened.push(kubo);
    const urlWith = (password: string) =>
      kubo.url.replace("//", `//user:${encodeURIComponent(password)}@`);
    await openAt(urlWith(PASSWORD)).put(randomBytes(10));
    for (const call of callsOf(openAt(urlWith("wr0ng")))) {
      const error = await failureOf(call);
      expect(error.reason).to.equal("CONTENT_UNAVAILABLE");
      expect(error.message)
        .to.contain("password")
        .and.not.contain("wr0ng")
        .and.not.contain("user:");
      expect(JSON.stringify(error.detail)).to.not.contain("wr0ng");
    }
    await kubo.stop();
    for (const call of callsOf(openAt(urlWith(PASSWORD)))) {
      const error = await failureOf(call);
      expect(error.reason).to.equal("CONTENT_UNAVAILABLE");
      expect(error.message).to.contain(kubo.url).and.contain("IPFS_API_URL");
      expect(error.stack + String(error.cause)).to.not.contain("s3cret");
    }
  });

  it("may be named with or without /api/v0, and with a path of its own", async () => {
    const { kubo } = await kuboWith();
    for (const end of ["", "/", "/api/v0", "/api/v0/"]) {
      await openAt(`${kubo.url}${end}`).put(randomBytes(10));
    }
    const url = await serverWith((request, response) => {
      const isRight = request.url?.startsWith("/ipfs/node/api/v0/id") === true;
      response.writeHead(isRight ? 200 : 404).end('{"Addresses":[]}');
    });
    await openAt(`${url}/ipfs/node/`).listen();
  });

  it("is unavailable where something else answers, nobody does, or it falls silent", async () => {
    const others = [
      await serverWith((_, response) => response.writeHead(404).end("not found")),
      await serverWith((_, response) => response.end("<html></html>")),
      await serverWith((_, response) => response.end("null")),
      await serverWith((_, response) => response.writeHead(502).end()),
      await serverWith((request) => request.socket.destroy()),
      await serverWith(() => undefined),
      "http://127.0.0.1:1",
    ];
    for (const url of others) {
      const store = openAt(url, 300);
      for (const call of [
        store.put(randomBytes(10)),
        staged(store, randomBytes(MIB)).then(({ file }) => file.keep()),
      ]) {
        expect((await failureOf(call)).reason, url).to.equal("CONTENT_UNAVAILABLE");
      }
    }
  });

  it("is not believed when it gives other bytes, or says that it kept something else", async () => {
    const other = CID.createV1(0x55, Digest.create(0x12, randomBytes(32))).toString();
    const url = await serverWith((request, response) => {
      request.resume();
      request.on("end", () => {
        if (request.url?.includes("block/get")) response.end(randomBytes(100));
        else response.end(JSON.stringify({ Key: other, Root: { Cid: { "/": other } } }));
      });
    });
    const store = openAt(url);
    expect(await store.get(randomBytes(32))).to.equal(undefined);
    expect(await store.check(randomBytes(32))).to.equal("altered");
    expect((await failureOf(store.put(randomBytes(10)))).reason).to.equal("CONTENT_UNAVAILABLE");
    const { file } = await staged(store, randomBytes(MIB));
    expect((await failureOf(file.keep())).reason).to.equal("CONTENT_UNAVAILABLE");
  });

  it("is believed when it says that it has read a block with a different hash", async () => {
    const message = "block in storage has different hash than requested";
    const { store } = await kuboWith({
      onCall: () => {
        throw new Error(message);
      },
    });
    expect(await store.check(randomBytes(32))).to.equal("altered");
  });

  it("keeps a file when it is there again, and the file can be read meanwhile", async () => {
    let isDown = true;
    const { kubo, store } = await kuboWith({
      onCall: () => {
        if (isDown) throw new Error("lease is lost");
      },
    });
    const content = randomBytes(3 * MIB);
    const { files, file } = await staged(store, content);
    await file.claim("a-name");
    const error = await failureOf(file.keep());
    expect(error.reason).to.equal("CONTENT_UNAVAILABLE");
    expect(error.message).to.contain("lease is lost");
    const read = async () => {
      const pieces: Uint8Array[] = [];
      for await (const piece of files.read(file.cid)) pieces.push(piece);
      return sha256(...pieces).toString("hex");
    };
    expect(await read()).to.equal(sha256(content).toString("hex"));
    isDown = false;
    const [waiting] = await files.claimed();
    await waiting!.keep();
    expect(await files.claimed()).to.deep.equal([]);
    expect([...kubo.repository.pins]).to.deep.equal([file.cid]);
    expect(await read()).to.equal(sha256(content).toString("hex"));
  });

  it("says so when its disk is full", async () => {
    const { store } = await kuboWith({
      onCall: () => {
        throw new Error("write /data/ipfs/blocks/put-1: no space left on device");
      },
    });
    for (const call of [
      store.put(randomBytes(10)),
      staged(store, randomBytes(10)).then(({ file }) => file.keep()),
    ]) {
      const error = await failureOf(call);
      expect(error.reason).to.equal("STORAGE_FULL");
      expect(error.message).to.contain("Kubo");
    }
  });

  it("is not handed a file that has lost a block on the way", async () => {
    const { kubo, store } = await kuboWith();
    const { file } = await staged(store, randomBytes(MIB));
    const broken = {
      root: CID.parse(file.cid),
      folder: "",
      walk: () =>
        (async function* () {
          yield* [];
          throw new AnchordError("CONTENT_LOST", "a block is lost");
        })(),
    };
    expect((await failureOf(store.keep(broken))).reason).to.equal("CONTENT_LOST");
    expect(kubo.repository.pins.size).to.equal(0);
  });

  it("gives up a fetch when it is stopped, and when the caller does", async () => {
    const { store } = await kuboWith({ onCall: () => new Promise(() => undefined) });
    const controller = new AbortController();
    const left = store.get(randomBytes(32), controller.signal).catch((error: unknown) => error);
    const reason = new Error("enough");
    controller.abort(reason);
    expect(await left).to.equal(reason);
    const waiting = store.get(randomBytes(32));
    await store.stop();
    expect(await waiting).to.equal(undefined);
  });
});
