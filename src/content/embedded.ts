import { join } from "node:path";
import { hex, sameBytes, sha256 } from "../core/bytes.js";
import { BlockFiles } from "./blocks.js";
import type { Network } from "./network.js";
import type { Condition, ContentStore, StagedBlocks } from "./port.js";

/** How long peers may take to come up with a block, in milliseconds. */
const FETCH_MS = 10_000;

/** Where the embedded IPFS node keeps its blocks, and whom it talks to. */
export interface EmbeddedContentOptions {
  /** Folder of its blocks and its identity; made when it is first needed. */
  readonly folder: string;
  /** Multiaddrs to listen on. Where there are neither these nor peers, it stays off the network. */
  readonly listen: readonly string[];
  /** Multiaddrs of peers to stay connected to. */
  readonly peers: readonly string[];
  /** How long peers may take to come up with a block, in milliseconds. Default: 10 seconds. */
  readonly fetchMs?: number;
}

/** An IPFS node in this process. Blocks on the local disk are at hand before it is on the network. */
export interface EmbeddedContent extends ContentStore {
  /**
   * Joins the network: loads libp2p, listens, and from then on keeps the peers dialled. Resolves once it
   * listens, at once when it does already; rejects where it cannot, and may then be called again. A get
   * that needs peers calls it itself.
   */
  listen(): Promise<void>;
}

/** Opens the embedded IPFS node. Touches neither the disk nor the network yet. */
export function openEmbeddedContent(options: EmbeddedContentOptions): EmbeddedContent {
  return new EmbeddedNode(options);
}

class EmbeddedNode implements EmbeddedContent {
  readonly #options: EmbeddedContentOptions;
  readonly #files: BlockFiles;
  /** What ends the fetches under way. */
  readonly #limits = new Set<AbortController>();
  /** Fetches under way, by digest. */
  readonly #fetches = new Map<string, Promise<Uint8Array | undefined>>();
  #joining: Promise<Network> | undefined;
  #network: Network | undefined;
  #stopped = false;

  constructor(options: EmbeddedContentOptions) {
    this.#options = options;
    this.#files = new BlockFiles(options.folder);
  }

  async listen(): Promise<void> {
    if (this.#isOnNetwork) await this.#join();
  }

  async put(block: Uint8Array): Promise<void> {
    const digest = sha256(block);
    await this.#files.write(digest, block);
    this.#network?.offer(digest, block);
  }

  async get(digest: Uint8Array, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    if (digest.length !== 32) throw new Error(`a SHA-256 has 32 bytes, not ${digest.length}`);
    signal?.throwIfAborted();
    const local = await this.#files.read(digest);
    return local ?? (await unlessAborted(this.#fetchOnce(digest), signal));
  }

  check(digest: Uint8Array): Promise<Condition> {
    return this.#files.check(digest);
  }

  async keep({ folder }: StagedBlocks): Promise<void> {
    for (const digest of await this.#files.adopt(folder)) await this.#announce(digest);
  }

  addresses(): string[] {
    return this.#network?.addresses() ?? [];
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const limit of this.#limits) limit.abort();
    const network = await this.#joining?.catch(() => undefined); // it has then nothing to stop
    this.#network = undefined;
    await network?.stop();
  }

  /** Gives a block that has come to whoever waits for it. It is read only for those here. */
  async #announce(digest: Uint8Array): Promise<void> {
    const isAwaited = this.#fetches.has(hex(digest));
    this.#network?.offer(digest, isAwaited ? await this.#files.read(digest) : undefined);
  }

  /** All who want one block share its fetch. */
  #fetchOnce(digest: Uint8Array): Promise<Uint8Array | undefined> {
    if (!this.#isOnNetwork) return Promise.resolve(undefined);
    const key = hex(digest);
    const running = this.#fetches.get(key);
    if (running !== undefined) return running;
    const fetching = this.#fetch(digest).finally(() => this.#fetches.delete(key));
    this.#fetches.set(key, fetching);
    return fetching;
  }

  async #fetch(digest: Uint8Array): Promise<Uint8Array | undefined> {
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), this.#options.fetchMs ?? FETCH_MS);
    this.#limits.add(limit);
    try {
      const network = await unlessAborted(this.#join(), limit.signal);
      if (!network.hasPeers()) return undefined;
      const block = await network.want(digest, limit.signal);
      if (!sameBytes(sha256(block), digest)) return undefined;
      // A disk that does not take it is no reason to withhold it.
      await this.#files.write(digest, block).catch(() => undefined);
      return block;
    } catch {
      return undefined; // nobody had it in time, or there is no network
    } finally {
      clearTimeout(timer);
      this.#limits.delete(limit);
    }
  }

  get #isOnNetwork(): boolean {
    return this.#options.listen.length + this.#options.peers.length > 0;
  }

  #join(): Promise<Network> {
    if (this.#stopped) return Promise.reject(new Error("the content store has been stopped"));
    this.#joining ??= this.#start().catch((error: unknown) => {
      this.#joining = undefined;
      throw error;
    });
    return this.#joining;
  }

  async #start(): Promise<Network> {
    // Loaded here: it takes longer than all the rest of a start.
    const { startNetwork } = await import("./network.js");
    const { folder, listen, peers } = this.#options;
    const read = (digest: Uint8Array) => this.#files.read(digest);
    const identity = join(folder, "identity");
    this.#network = await startNetwork({ identity, listen, peers, read });
    return this.#network;
  }
}

/** What the promise resolves to, unless the signal aborts before; the promise then goes on unheeded. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  let abort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason as Error);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    if (abort !== undefined) signal.removeEventListener("abort", abort);
  }
}
