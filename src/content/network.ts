import "./with-resolvers.js"; // before what needs it
import { existsSync, readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { noise } from "@chainsafe/libp2p-noise";
import { yamux } from "@chainsafe/libp2p-yamux";
import { createBitswap } from "@helia/bitswap";
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from "@libp2p/crypto/keys";
import { identify } from "@libp2p/identify";
import { peerIdFromString } from "@libp2p/peer-id";
import { tcp } from "@libp2p/tcp";
import { multiaddr } from "@multiformats/multiaddr";
import type { Multiaddr } from "@multiformats/multiaddr";
import { createLibp2p } from "libp2p";
import { CID } from "multiformats/cid";
import * as Digest from "multiformats/hashes/digest";
import { messageOf } from "../core/errors.js";
import { createOnce } from "./files.js";
import { BITSWAP, Serving } from "./serve.js";
import type { WantMessage } from "./serve.js";
import { limitUnsent } from "./unsent.js";

type Libp2p = Awaited<ReturnType<typeof createLibp2p>>;
type Connection = Awaited<ReturnType<Libp2p["dial"]>>;
type PrivateKey = ReturnType<typeof privateKeyFromProtobuf>;
type BitswapComponents = Parameters<typeof createBitswap>[0];

const RAW = 0x55;
const SHA2_256 = 0x12;

/** The address that nobody has chosen: a port that is taken is then no reason to fail. */
const DEFAULT_LISTEN = "/ip4/127.0.0.1/tcp/4001";
const ANY_PORT = "/ip4/127.0.0.1/tcp/0";

/** How long to wait before a peer is dialled again, at first and at most. */
const REDIAL_MS = { first: 250, most: 15_000 } as const;

/** How many may be connected that have dialled us, at each address. */
const MAX_INBOUND = 64;

/** How many streams a peer may have opened: bitswap's own default, and some for what is not bitswap. */
const MAX_STREAMS = { bitswap: 32, all: 40 } as const;

/** How many messages are received at once: each may have 4 MiB. */
const MAX_RECEIVING = 64;

/** How long bitswap takes to forget a want that was given up. */
const FORGET_MS = 50;

/** What the network needs. */
export interface NetworkOptions {
  /** File of the node's private key; made at the first start, so that its peer id stays the same. */
  readonly identity: string;
  readonly listen: readonly string[];
  readonly peers: readonly string[];
  /** The block that peers are given for a SHA-256. */
  readonly read: (digest: Uint8Array) => Promise<Uint8Array | undefined>;
  /** How long a peer may take to read what it is handed, in milliseconds. Default: 30 seconds. */
  readonly takeMs?: number;
}

/** A running libp2p node that speaks bitswap. No routing, no discovery: it knows only its peers. */
export interface Network {
  addresses(): string[];
  /** Whether there is anybody to ask, or to wait for. */
  hasPeers(): boolean;
  /** A block from whichever peer has it first; rejects when the signal aborts. */
  want(digest: Uint8Array, signal: AbortSignal): Promise<Uint8Array>;
  /** Sends a block to the connected peers that want it and, where it is given, to whoever here does. */
  offer(digest: Uint8Array, block: Uint8Array | undefined): void;
  stop(): Promise<void>;
}

/** Starts the node, and keeps its peers dialled until it is stopped. */
export async function startNetwork(options: NetworkOptions): Promise<Network> {
  const peers = options.peers.map(peerAddress);
  const privateKey = await identityOf(options.identity);
  const { libp2p, bitswap, serving } = await startListening(privateKey, options);
  const stopping = new AbortController();
  const dialling = peers.map((peer) => keepDialled(libp2p, peer, stopping.signal));
  return {
    addresses: () => libp2p.getMultiaddrs().map(String),
    hasPeers: () => peers.length > 0 || libp2p.getConnections().length > 0,
    want: async (digest, signal) => {
      try {
        return await bitswap.want(cidOf(digest), { signal });
      } catch (error) {
        await delay(FORGET_MS); // a want for the same block would until then be lost with this one
        throw error;
      }
    },
    offer: (digest, block) => {
      const cid = cidOf(digest);
      serving.offer(cid.multihash.bytes);
      if (block !== undefined) bitswap.notify(cid, block).catch(() => undefined);
    },
    stop: async () => {
      stopping.abort();
      await Promise.all(dialling);
      await bitswap.stop();
      await libp2p.stop();
    },
  };
}

function peerAddress(text: string): Multiaddr {
  try {
    const [, id] = text.split("/p2p/");
    if (id !== undefined) peerIdFromString(id); // else found out at every dial
    return multiaddr(text);
  } catch (error) {
    throw new Error(`IPFS_PEERS: ${text} is not the multiaddr of a peer: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function startListening(privateKey: PrivateKey, options: NetworkOptions) {
  const { listen } = options;
  try {
    return await start(privateKey, options);
  } catch (error) {
    if (listen.includes(DEFAULT_LISTEN) && messageOf(error).includes("EADDRINUSE")) {
      const other = listen.map((address) => (address === DEFAULT_LISTEN ? ANY_PORT : address));
      return await start(privateKey, { ...options, listen: other });
    }
    const reasons = messageOf(error).match(/(?<=Error: ).*/g) ?? [messageOf(error)];
    throw new Error(
      `the IPFS node cannot listen on ${listen.join(", ")} (${reasons.join("; ")}): change IPFS_LISTEN`,
      { cause: error },
    );
  }
}

async function start(privateKey: PrivateKey, { listen, read, takeMs }: NetworkOptions) {
  const libp2p = await createLibp2p({
    privateKey,
    addresses: { listen: [...listen] },
    transports: [tcp({ maxConnections: MAX_INBOUND })],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux({ maxInboundStreams: MAX_STREAMS.all })],
    services: { identify: identify() },
    nodeInfo: { name: "anchord", version: "1", userAgent: "anchord" },
    start: false,
  });
  limitUnsent(libp2p);
  const bitswap = createBitswap(
    {
      libp2p,
      logger: libp2p.logger,
      blockstore: {} as BitswapComponents["blockstore"], // only its own serving, which is replaced, reads
      routing: { findProviders: nobody } as unknown as BitswapComponents["routing"],
    },
    { maxInboundStreams: MAX_STREAMS.bitswap },
  );
  const serving = new Serving(libp2p, served(read), takeMs);
  bound(bitswap, libp2p, serving);
  await bitswap.start();
  await libp2p.start();
  return { libp2p, bitswap, serving };
}

/** What we change of bitswap, which has no options for it. */
interface Internals {
  readonly peerWantLists: {
    receiveMessage: (peer: Connection["remotePeer"], message: WantMessage) => Promise<void>;
  };
  readonly network: { _onStream: (incoming: unknown) => void };
}

/** Makes bitswap leave serving to us, and receive only so much at once. */
function bound(bitswap: ReturnType<typeof createBitswap>, libp2p: Libp2p, serving: Serving): void {
  const { peerWantLists, network } = bitswap as unknown as Internals;
  peerWantLists.receiveMessage = async (peer, message) => serving.receive(peer, message);
  const receive = network._onStream;
  network._onStream = (incoming) => {
    makeRoom(libp2p);
    receive(incoming);
  };
}

/** Ends the stream that is open longest where too many are: its peer can ask again. */
function makeRoom(libp2p: Libp2p): void {
  const streams = libp2p
    .getConnections()
    .flatMap((connection) => connection.streams)
    .filter(({ direction, protocol }) => direction === "inbound" && protocol === BITSWAP);
  if (streams.length <= MAX_RECEIVING) return;
  const oldest = streams.reduce((a, b) => (b.timeline.open < a.timeline.open ? b : a));
  oldest.abort(new Error("too many streams"));
}

/** How peers are given blocks. Whatever the reason, a block that cannot be read is not found. */
function served(read: NetworkOptions["read"]) {
  return async ({ multihash: { code, digest } }: CID): Promise<Uint8Array | undefined> =>
    code === SHA2_256 ? read(digest).catch(() => undefined) : undefined;
}

// eslint-disable-next-line @typescript-eslint/no-empty-function
async function* nobody(): AsyncGenerator<never> {}

/** The CID of the raw block with a SHA-256. */
function cidOf(digest: Uint8Array): CID {
  return CID.createV1(RAW, Digest.create(SHA2_256, digest));
}

async function identityOf(file: string): Promise<PrivateKey> {
  if (!existsSync(file)) {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    createOnce(file, privateKeyToProtobuf(await generateKeyPair("Ed25519")));
  }
  const bytes = readFileSync(file);
  try {
    return privateKeyFromProtobuf(bytes);
  } catch (error) {
    throw new Error(
      `${file} does not hold the key of an IPFS node: restore it, or remove it to get another peer id`,
      { cause: error },
    );
  }
}

/** Dials a peer, and again whenever the connection ends. Never rejects. */
async function keepDialled(libp2p: Libp2p, peer: Multiaddr, signal: AbortSignal): Promise<void> {
  let pauseMs: number = REDIAL_MS.first;
  while (!signal.aborted) {
    try {
      const connection = await libp2p.dial(peer, { signal });
      pauseMs = REDIAL_MS.first;
      await closed(libp2p, connection, signal);
    } catch {
      pauseMs = Math.min(pauseMs * 2, REDIAL_MS.most);
    }
    await delay(pauseMs, undefined, { signal, ref: false }).catch(() => undefined);
  }
}

/** Resolves when the connection has ended, or the signal aborts. */
function closed(libp2p: Libp2p, connection: Connection, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      libp2p.removeEventListener("connection:close", check);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const check = () => {
      if (connection.status !== "open") end();
    };
    libp2p.addEventListener("connection:close", check);
    signal.addEventListener("abort", end);
    check();
    if (signal.aborted) end();
  });
}
