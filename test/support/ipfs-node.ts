import "../../src/content/with-resolvers.js"; // before what needs it
import { noise } from "@chainsafe/libp2p-noise";
import { yamux } from "@chainsafe/libp2p-yamux";
import { bitswap } from "@helia/block-brokers";
import { Helia } from "@helia/utils";
import { identify } from "@libp2p/identify";
import { tcp } from "@libp2p/tcp";
import { multiaddr } from "@multiformats/multiaddr";
import { MemoryBlockstore } from "blockstore-core";
import { MemoryDatastore } from "datastore-core";
import { createLibp2p } from "libp2p";

/** An IPFS node that shares no code with ours. */
export type PlainNode = Helia<Awaited<ReturnType<typeof createLibp2p>>>;

/** Starts one on loopback, with these blocks, and dials these peers. */
export async function startPlainNode(
  options: {
    readonly listen?: readonly string[];
    readonly peers?: readonly string[];
    readonly blockstore?: MemoryBlockstore;
  } = {},
): Promise<PlainNode> {
  const datastore = new MemoryDatastore();
  const libp2p = await createLibp2p({
    addresses: { listen: [...(options.listen ?? ["/ip4/127.0.0.1/tcp/0"])] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: { identify: identify() },
    datastore,
  });
  const node: PlainNode = new Helia({
    libp2p,
    datastore,
    blockstore: options.blockstore ?? new MemoryBlockstore(),
    blockBrokers: [bitswap()],
  } as unknown as ConstructorParameters<typeof Helia>[0]);
  await node.start();
  for (const peer of options.peers ?? []) await libp2p.dial(multiaddr(peer));
  return node;
}
