import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { CarBlockIterator } from "@ipld/car";
import * as dagPb from "@ipld/dag-pb";
import { MemoryBlockstore } from "blockstore-core";
import { CID } from "multiformats/cid";
import { sha256 } from "multiformats/hashes/sha2";
import { startPlainNode } from "./ipfs-node.js";
import type { PlainNode } from "./ipfs-node.js";

/*
 * Not Kubo: no binary of it could be had for the tests. It is a small HTTP server with those endpoints of
 * Kubo's RPC that we use, written from https://docs.ipfs.tech/reference/kubo/rpc/ and Kubo's sources, in
 * front of another IPFS node (Helia) with a block store of its own. Like Kubo it takes POST alone, parses
 * multipart bodies and CAR files, refuses blocks that do not have the hash of their CID, and blocks above
 * 1 MiB unless told to allow them, pins only what it has all blocks of, and gives out what its block store
 * has without hashing it. What a real Kubo does beyond that is not shown by it.
 */

/** What outlives a restart. */
export class KuboRepository {
  readonly blocks = new MemoryBlockstore();
  /** Pinned with all that is below them, by CID. */
  readonly pins = new Set<string>();
}

/** How a test wants it. */
export interface KuboWish {
  readonly repository?: KuboRepository;
  readonly listen?: readonly string[];
  readonly peers?: readonly string[];
  /** Of its RPC. Default: any that is free. */
  readonly port?: number;
  /** user:password, where it asks for them. */
  readonly credentials?: string;
  /** Called with the path of each call first; what it throws is what Kubo answers. */
  readonly onCall?: (path: string) => void | Promise<void>;
}

/** One that runs. */
export interface RunningKubo {
  /** Base URL of its RPC, without credentials. */
  readonly url: string;
  readonly repository: KuboRepository;
  readonly node: PlainNode;
  stop(): Promise<void>;
}

/** Starts one on loopback. */
export async function startKubo(wish: KuboWish = {}): Promise<RunningKubo> {
  const { repository = new KuboRepository(), listen, peers } = wish;
  const node = await startPlainNode({
    blockstore: repository.blocks,
    ...(listen && { listen }),
    ...(peers && { peers }),
  });
  const server = createServer((request, response) => {
    answer({ node, repository, wish }, request, response).catch((error: unknown) => {
      if (!response.headersSent) response.writeHead(500, { "content-type": "application/json" });
      response.end(JSON.stringify({ Message: (error as Error).message, Code: 0, Type: "error" }));
    });
  });
  await new Promise<void>((resolve) => server.listen(wish.port ?? 0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    repository,
    node,
    stop: async () => {
      await closed(server);
      await node.stop();
    },
  };
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

interface Kubo {
  readonly node: PlainNode;
  readonly repository: KuboRepository;
  readonly wish: KuboWish;
}

async function answer(kubo: Kubo, request: IncomingMessage, response: ServerResponse) {
  const { credentials, onCall } = kubo.wish;
  const expected = `Basic ${Buffer.from(credentials ?? "").toString("base64")}`;
  if (credentials !== undefined && request.headers.authorization !== expected) {
    return response.writeHead(401).end("Unauthorized");
  }
  const { pathname, searchParams } = new URL(request.url ?? "", "http://kubo");
  const call = CALLS[pathname.replace(/^\/api\/v0\//, "")];
  if (call === undefined) return response.writeHead(404).end("404 page not found");
  if (request.method !== "POST") return response.writeHead(405).end("405 - Method Not Allowed");
  await onCall?.(pathname.replace(/^\/api\/v0\//, ""));
  const body = await call(kubo, searchParams, request);
  if (body instanceof Uint8Array) return response.end(body);
  response.setHeader("content-type", "application/json");
  return response.end(`${JSON.stringify(body)}\n`);
}

type Call = (kubo: Kubo, query: URLSearchParams, request: IncomingMessage) => Promise<unknown>;

const CALLS: Readonly<Record<string, Call | undefined>> = {
  id: async ({ node }) => ({
    ID: node.libp2p.peerId.toString(),
    Addresses: node.libp2p.getMultiaddrs().map(String),
    AgentVersion: "kubo/0.39.0/",
  }),

  "block/put": async ({ node, repository }, query, request) => {
    const block = await whole(fileIn(request));
    if (query.get("cid-codec") !== "raw" || query.get("mhtype") !== "sha2-256") {
      throw new Error("unrecognized format");
    }
    if (block.length > 1024 * 1024 && query.get("allow-big-block") !== "true") {
      throw new Error(
        "produced block is over 1MiB: big blocks can't be exchanged with other peers",
      );
    }
    const cid = CID.createV1(0x55, await sha256.digest(block));
    await node.blockstore.put(cid, block);
    if (query.get("pin") === "true") repository.pins.add(cid.toString());
    return { Key: cid.toString(), Size: block.length };
  },

  "block/get": async ({ node, repository }, query) => {
    const cid = CID.parse(query.get("arg") ?? "");
    if (await repository.blocks.has(cid)) return repository.blocks.get(cid);
    if (query.get("offline") === "true") throw notFound(cid);
    const ms = Number(/^(\d+)ms$/.exec(query.get("timeout") ?? "")?.[1]);
    try {
      return await node.blockstore.get(cid, { signal: AbortSignal.timeout(ms) });
    } catch (error) {
      throw new Error("context deadline exceeded", { cause: error });
    }
  },

  "dag/import": async ({ node, repository }, query, request) => {
    const car = await CarBlockIterator.fromIterable(fileIn(request));
    const [root] = await car.getRoots();
    for await (const { cid, bytes } of car) {
      const digest = await sha256.digest(bytes);
      if (!CID.create(cid.version, cid.code, digest).equals(cid)) {
        throw new Error(`mismatch in content integrity, expected: ${cid.toString()}`);
      }
      if (bytes.length > 1024 * 1024) throw new Error("produced block is over 1MiB");
      await node.blockstore.put(cid, bytes);
    }
    if (root === undefined || query.get("pin-roots") !== "true") return {};
    const error = await pinned(repository, root).catch((error: unknown) => error as Error);
    return { Root: { Cid: { "/": root.toString() }, PinErrorMsg: error?.message ?? "" } };
  },
};

function notFound(cid: CID): Error {
  return new Error(`block was not found locally (offline): ipld: could not find ${cid.toString()}`);
}

/** Pins a DAG; rejects where it is not all there. */
async function pinned({ blocks, pins }: KuboRepository, root: CID): Promise<undefined> {
  const due = [root];
  for (let cid = due.pop(); cid !== undefined; cid = due.pop()) {
    if (!(await blocks.has(cid))) throw notFound(cid);
    if (cid.code === dagPb.code) {
      due.push(...dagPb.decode(await blocks.get(cid)).Links.map(({ Hash }) => Hash));
    }
  }
  pins.add(root.toString());
  return undefined;
}

/** The one file of a multipart body, as it arrives. */
async function* fileIn(request: IncomingMessage): AsyncGenerator<Uint8Array> {
  const boundary = /^multipart\/form-data; boundary=(.+)$/.exec(
    request.headers["content-type"] ?? "",
  )?.[1];
  if (boundary === undefined) throw new Error("file argument 'path' is required");
  const end = Buffer.from(`\r\n--${boundary}--`);
  let held = Buffer.alloc(0);
  let isInside = false;
  for await (const piece of request as AsyncIterable<Buffer>) {
    held = Buffer.concat([held, piece]);
    if (!isInside) {
      const start = held.indexOf("\r\n\r\n");
      if (start < 0) continue;
      if (!held.toString("latin1").startsWith(`--${boundary}\r\n`)) throw new Error("no multipart");
      held = held.subarray(start + 4);
      isInside = true;
    }
    const safe = held.length - end.length - 4; // what cannot be part of the end
    if (safe <= 0) continue;
    yield held.subarray(0, safe);
    held = held.subarray(safe);
  }
  const stop = held.indexOf(end);
  if (!isInside || stop < 0) throw new Error("multipart: NextPart: EOF");
  yield held.subarray(0, stop);
}

async function whole(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return Uint8Array.from(Buffer.concat(all));
}
