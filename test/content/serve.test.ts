import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { noise } from "@chainsafe/libp2p-noise";
import { yamux } from "@chainsafe/libp2p-yamux";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { bitswap } from "@helia/block-brokers";
import { Helia } from "@helia/utils";
import { identify } from "@libp2p/identify";
import { tcp } from "@libp2p/tcp";
import { multiaddr } from "@multiformats/multiaddr";
import { MemoryBlockstore } from "blockstore-core";
import { expect } from "chai";
import { MemoryDatastore } from "datastore-core";
import { createLibp2p } from "libp2p";
import { CID } from "multiformats/cid";
import * as Digest from "multiformats/hashes/digest";
import { startNetwork } from "../../src/content/network.js";
import type { Network } from "../../src/content/network.js";
import { hex, sha256 } from "../../src/core/bytes.js";
import { temporaryFolder } from "../support/daemon.js";
import { until } from "../support/until.js";

const LOOPBACK = "/ip4/127.0.0.1/tcp/0";
const BITSWAP = "/ipfs/bitswap/1.2.0";
const KIB = 1024;

type Libp2p = Awaited<ReturnType<typeof createLibp2p>>;
type Connection = Awaited<ReturnType<Libp2p["dial"]>>;

/** A frame of yamux: 0 is data, 1 a window update, 2 a ping. */
interface Frame {
  readonly type: number;
  readonly flag: number;
  readonly streamID: number;
  readonly length: number;
}

/** What a hostile peer reaches for in its own libp2p. */
interface Muxer {
  sendFrame(frame: Frame): void;
  handleFrame: (header: Frame, readData?: () => Promise<unknown>) => Promise<void>;
  readonly source: { readonly readableLength: number };
}

const muxerOf = (connection: Connection) => (connection as unknown as { muxer: Muxer }).muxer;

const cidOf = (digest: Uint8Array) => CID.createV1(0x55, Digest.create(0x12, digest));

/** A message of bitswap that wants blocks. */
function wants(cids: readonly Uint8Array[], wantType = 0): Uint8Array {
  const message = new BinaryWriter();
  message.tag(1, WireType.LengthDelimited).fork();
  for (const cid of cids) {
    message.tag(1, WireType.LengthDelimited).fork();
    message.tag(1, WireType.LengthDelimited).bytes(cid);
    message.tag(2, WireType.Varint).int32(1);
    message.tag(4, WireType.Varint).int32(wantType);
    message.tag(5, WireType.Varint).bool(true);
    message.join();
  }
  return new BinaryWriter().bytes(message.join().finish()).finish();
}

const wantsOf = (blocks: readonly Uint8Array[]) =>
  wants(blocks.map((block) => cidOf(sha256(block)).bytes));

describe("serving peers", () => {
  const opened: { stop(): unknown }[] = [];
  afterEach(() => Promise.all(opened.splice(0).map((node) => node.stop())));

  /** A network that serves these blocks, and counts what it has read of them. */
  async function serve(blocks: readonly Uint8Array[], takeMs?: number) {
    const byDigest = new Map(blocks.map((block) => [hex(sha256(block)), block]));
    let bytes = 0;
    const network = await startNetwork({
      identity: join(temporaryFolder(), "identity"),
      listen: [LOOPBACK],
      peers: [],
      read: (digest) => {
        const block = byDigest.get(hex(digest));
        bytes += block?.length ?? 0;
        return Promise.resolve(block && new Uint8Array(block));
      },
      ...(takeMs === undefined ? {} : { takeMs }),
    });
    opened.push(network);
    const add = (block: Uint8Array) => {
      byDigest.set(hex(sha256(block)), block);
      network.offer(sha256(block), block);
    };
    return { network, bytesRead: () => bytes, add };
  }

  async function libp2pNode(): Promise<Libp2p> {
    const libp2p = await createLibp2p({
      addresses: { listen: [LOOPBACK] },
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      services: { identify: identify() },
    });
    opened.push(libp2p);
    return libp2p;
  }

  const dial = (libp2p: Libp2p, network: Network) =>
    libp2p.dial(network.addresses().map((address) => multiaddr(address)));

  /** A peer that reads nothing of what it is sent. */
  async function deafPeer(network: Network) {
    const libp2p = await libp2pNode();
    await libp2p.handle(BITSWAP, () => undefined, { maxInboundStreams: 10_000 });
    return dial(libp2p, network);
  }

  async function say(connection: Connection, messages: Iterable<Uint8Array>): Promise<void> {
    const stream = await connection.newStream(BITSWAP);
    await stream.sink(messages);
  }

  function* times(count: number, message: Uint8Array): Generator<Uint8Array> {
    for (let i = 0; i < count; i++) yield message;
  }

  /** An IPFS node that shares no code with ours fetches the blocks, all at once. */
  async function expectFetched(network: Network, blocks: readonly Uint8Array[]): Promise<void> {
    const datastore = new MemoryDatastore();
    const libp2p = await libp2pNode();
    const node = new Helia({
      libp2p,
      datastore,
      blockstore: new MemoryBlockstore(),
      blockBrokers: [bitswap()],
    } as unknown as ConstructorParameters<typeof Helia>[0]);
    await node.start();
    opened.push(node);
    await dial(libp2p, network);
    const found = await Promise.all(
      blocks.map((block) =>
        node.blockstore.get(cidOf(sha256(block)), { signal: AbortSignal.timeout(20_000) }),
      ),
    );
    expect(found.map((block) => hex(sha256(block)))).to.deep.equal(
      blocks.map((block) => hex(sha256(block))),
    );
  }

  const closed = (connection: Connection) =>
    until("it has hung up", () => connection.status !== "open");

  it("gives 300 blocks at once to a peer that asks for them at once", async () => {
    const blocks = Array.from({ length: 300 }, (_, i) => randomBytes(i * 200 + 1));
    const { network } = await serve(blocks);
    await expectFetched(network, blocks);
  });

  it("gives large blocks to several peers at once", async () => {
    const blocks = Array.from({ length: 12 }, () => randomBytes(KIB * KIB + 16));
    const { network } = await serve(blocks);
    await Promise.all([1, 2, 3].map(() => expectFetched(network, blocks)));
  });

  it("reads no more for a peer that asks over and over and does not read, and serves others", async () => {
    const blocks = Array.from({ length: 20 }, () => randomBytes(200 * KIB));
    const { network, bytesRead } = await serve(blocks);
    const deaf = await deafPeer(network);
    await say(deaf, times(2000, wantsOf(blocks)));
    await until("it was handed something", () => bytesRead() > 0);
    await expectFetched(network, blocks);
    expect(bytesRead()).to.be.lessThan(25 * 200 * KIB);
    expect(deaf.status).to.equal("open");
  });

  it("hangs up on a peer that does not read for too long", async () => {
    const blocks = Array.from({ length: 20 }, () => randomBytes(200 * KIB));
    const { network, bytesRead } = await serve(blocks, 200);
    const deaf = await deafPeer(network);
    await say(deaf, times(10, wantsOf(blocks)));
    await closed(deaf);
    expect(bytesRead()).to.be.at.most(400 * KIB);
    await expectFetched(network, blocks);
  });

  it("reads no more for a peer that takes any amount, but not from its socket", async () => {
    const blocks = Array.from({ length: 200 }, () => randomBytes(200 * KIB));
    const { network, bytesRead } = await serve(blocks);
    const libp2p = await libp2pNode();
    const connection = await dial(libp2p, network);
    const muxer = muxerOf(connection);
    const stream = await connection.newStream(BITSWAP);
    const handle = muxer.handleFrame.bind(muxer);
    muxer.handleFrame = async (header, readData) => {
      // Each stream that it is sent may take a gigabyte, and what comes is left lying.
      if (header.type === 0) await new Promise(() => undefined);
      await handle(header, readData);
      if (header.flag === 1) {
        muxer.sendFrame({ type: 1, flag: 0, streamID: header.streamID, length: 2 ** 30 });
      }
    };
    await stream.sink(times(20, wantsOf(blocks)));
    await expectFetched(network, blocks.slice(0, 100));
    expect(bytesRead()).to.be.lessThan(150 * 200 * KIB);
    expect(connection.status).to.equal("open");
  });

  it("keeps no answers for a peer that sends pings and does not read", async () => {
    const { network } = await serve([]);
    const libp2p = await libp2pNode();
    const connection = await dial(libp2p, network);
    const muxer = muxerOf(connection);
    muxer.handleFrame = () => new Promise(() => undefined);
    let pings = 0;
    const pinging = setInterval(() => {
      if (muxer.source.readableLength > KIB * KIB) return;
      for (let i = 0; i < 20_000; i++, pings++) {
        muxer.sendFrame({ type: 2, flag: 1, streamID: 0, length: i });
      }
    }, 1);
    opened.push({ stop: () => clearInterval(pinging) });
    await until("it has hung up", () => connection.status !== "open", 40_000);
    expect(pings).to.be.lessThan(700_000); // most of them are in the buffers of the system
  });

  it("hangs up on a peer that wants too much at once, or what cannot be a CID", async () => {
    const { network } = await serve([]);
    const many = Array.from({ length: 1025 }, () => cidOf(randomBytes(32)).bytes);
    const huge = CID.createV1(0x55, Digest.create(0, randomBytes(KIB))).bytes;
    for (const message of [wants(many), wants([huge]), wants([randomBytes(3)])]) {
      const connection = await deafPeer(network);
      await say(connection, [message]).catch(() => undefined);
      await closed(connection);
    }
  });

  it("answers one that asks for what is not here, keeps on, and sends it when it comes", async () => {
    const [small, large] = [randomBytes(10), randomBytes(2000)];
    const { network, add } = await serve([small, large]);
    const libp2p = await libp2pNode();
    let received = Buffer.alloc(0);
    const has = (bytes: Uint8Array) => received.indexOf(bytes) >= 0;
    await libp2p.handle(BITSWAP, async ({ stream }) => {
      for await (const data of stream.source) {
        received = Buffer.concat([received, data.subarray()]);
      }
    });
    const connection = await dial(libp2p, network);
    for (let round = 0; round < 4; round++) {
      const absent = Array.from({ length: 1000 }, () => cidOf(randomBytes(32)).bytes);
      await say(connection, [wants(absent)]);
      await until("the last was answered", () => has(absent.at(-1)!));
    }
    await say(connection, [
      wants(
        [small, large].map((block) => cidOf(sha256(block)).bytes),
        1,
      ),
    ]);
    await until("both were answered", () => has(cidOf(sha256(large)).bytes));
    expect(has(small)).to.equal(true);
    expect(has(large)).to.equal(false);
    const late = randomBytes(5000);
    await say(connection, [wantsOf([late])]);
    await until("it was answered", () => has(cidOf(sha256(late)).bytes));
    add(late);
    await until("it was sent", () => has(late));
    expect(connection.status).to.equal("open");
  });

  it("keeps only so many messages that are not finished, and takes whole ones beside them", async () => {
    const block = randomBytes(1000);
    const { network } = await serve([block]);
    const started = Uint8Array.of(0x80, 0x80, 0x80, 0x01, 0); // the first of 2 MiB
    const streams = await Promise.all(
      [1, 2, 3].map(async () => {
        const connection = await deafPeer(network);
        return Promise.all(
          Array.from({ length: 30 }, async () => {
            const stream = await connection.newStream(BITSWAP);
            void stream
              .sink(
                (async function* () {
                  yield started;
                  await new Promise(() => undefined);
                })(),
              )
              .catch(() => undefined);
            return stream;
          }),
        );
      }),
    );
    const open = () => streams.flat().filter(({ status }) => status === "open").length;
    await until("the oldest have ended", () => open() <= 64, 4000); // before they end by themselves
    await expectFetched(network, [block]);
  });
});
