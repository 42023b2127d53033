import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { createLibp2p } from "libp2p";
import { CID } from "multiformats/cid";
import { hex } from "../core/bytes.js";
import { hangUp, unsent } from "./unsent.js";

type Libp2p = Awaited<ReturnType<typeof createLibp2p>>;
type Connection = ReturnType<Libp2p["getConnections"]>[number];
type PeerId = Connection["remotePeer"];

/** The protocol that is spoken with peers. */
export const BITSWAP = "/ipfs/bitswap/1.2.0";

/** How many blocks a peer may ask for at once, and how many it lacks are remembered. */
const MAX_WANTS = 1024;

/** The longest CID that is taken for one: those of SHA-256 have 36 bytes. */
const MAX_CID_BYTES = 128;

/** How much a peer is handed before it has taken all of what it was handed before. One block may be more. */
const BATCH_BYTES = 256 * 1024;

/** How long a peer may take for that, in milliseconds. */
const TAKE_MS = 30_000;

/** A block up to this size is sent to a peer that asks only whether it is here. */
const SENT_UNASKED_BYTES = 1024;

/** What is read of a peer's message. */
export interface WantMessage {
  readonly wantlist?: {
    readonly full?: boolean;
    readonly entries: readonly {
      readonly cid: Uint8Array;
      readonly cancel?: boolean;
      readonly wantType?: string;
      readonly sendDontHave?: boolean;
    }[];
  };
}

interface Want {
  readonly cid: CID;
  readonly haveOnly: boolean;
  readonly sayAbsent: boolean;
}

/** What a peer wants, by digest. */
interface Peer {
  readonly id: PeerId;
  /** Not looked for yet. */
  readonly due: Map<string, Want>;
  /** Not here: sent when they come. */
  readonly absent: Map<string, Want>;
  running: boolean;
}

/**
 * Gives peers the blocks that they want. Each peer is answered one batch after another, and the next is
 * not read before the one before has left for it: what it asks meanwhile waits as a list of digests.
 * So a peer costs no more than one batch, one block and its wants, whatever it asks and does not read.
 */
export class Serving {
  readonly #libp2p: Libp2p;
  readonly #read: (cid: CID) => Promise<Uint8Array | undefined>;
  readonly #takeMs: number;
  readonly #peers = new Map<string, Peer>();

  constructor(
    libp2p: Libp2p,
    read: (cid: CID) => Promise<Uint8Array | undefined>,
    takeMs = TAKE_MS,
  ) {
    this.#libp2p = libp2p;
    this.#read = read;
    this.#takeMs = takeMs;
    libp2p.addEventListener("peer:disconnect", ({ detail }) => {
      const name = detail.toString();
      this.#peers.get(name)?.due.clear(); // so that a run under way ends
      this.#peers.delete(name);
    });
  }

  /** Takes what a peer says that it wants. Hangs up on one that wants too much. */
  receive(id: PeerId, { wantlist }: WantMessage): void {
    if (wantlist === undefined || this.#connection(id) === undefined) return;
    const peer = this.#peerOf(id);
    try {
      note(peer, wantlist);
    } catch (error) {
      return this.#hangUp(peer, error as Error);
    }
    void this.#run(peer);
  }

  /** Sends a block that has come to the peers that wait for it. */
  offer(multihash: Uint8Array): void {
    const key = hex(multihash);
    for (const peer of this.#peers.values()) {
      const want = peer.absent.get(key);
      if (want === undefined) continue;
      peer.absent.delete(key);
      peer.due.set(key, want);
      void this.#run(peer);
    }
  }

  #peerOf(id: PeerId): Peer {
    const name = id.toString();
    const known = this.#peers.get(name);
    if (known !== undefined) return known;
    const peer: Peer = { id, due: new Map(), absent: new Map(), running: false };
    this.#peers.set(name, peer);
    return peer;
  }

  #connection(id: PeerId): Connection | undefined {
    return this.#libp2p.getConnections(id).find(({ status }) => status === "open");
  }

  #hangUp(peer: Peer, reason: Error): void {
    peer.due.clear();
    peer.absent.clear();
    for (const connection of this.#libp2p.getConnections(peer.id)) hangUp(connection, reason);
  }

  /** Answers until nothing is due any more. */
  async #run(peer: Peer): Promise<void> {
    if (peer.running) return;
    peer.running = true;
    try {
      while (peer.due.size > 0) {
        const answer = await this.#batch(peer);
        const connection = this.#connection(peer.id);
        if (connection === undefined) break;
        if (answer.length > 0) await send(connection, answer, this.#takeMs);
      }
    } catch (error) {
      this.#hangUp(peer, error as Error);
    } finally {
      peer.running = false;
    }
  }

  /** The message for as many due wants as make a batch. */
  async #batch(peer: Peer): Promise<Uint8Array> {
    const answer = new BinaryWriter();
    let bytes = 0;
    for (const [key, want] of peer.due) {
      peer.due.delete(key);
      remember(peer, key, want); // before it is read: it may come meanwhile
      const block = await this.#read(want.cid);
      if (block !== undefined) peer.absent.delete(key);
      bytes += writeAnswer(answer, want, block);
      if (bytes >= BATCH_BYTES) break;
    }
    return answer.finish();
  }
}

/** Changes what a peer wants as its message says. */
function note(peer: Peer, { full, entries }: NonNullable<WantMessage["wantlist"]>): void {
  if (full === true) {
    peer.due.clear();
    peer.absent.clear();
  }
  for (const { cid: bytes, cancel, wantType, sendDontHave } of entries) {
    if (bytes.length > MAX_CID_BYTES) throw new Error("its CID is too long");
    const cid = CID.decode(new Uint8Array(bytes)); // a copy: else all of the message is kept
    const key = hex(cid.multihash.bytes);
    peer.absent.delete(key);
    if (cancel === true) {
      peer.due.delete(key);
      continue;
    }
    peer.due.set(key, {
      cid,
      haveOnly: wantType === "WantHave",
      sayAbsent: sendDontHave === true,
    });
    if (peer.due.size > MAX_WANTS) throw new Error("it wants too much at once");
  }
}

/** Keeps what is not here, and forgets the oldest where that is too much. */
function remember(peer: Peer, key: string, want: Want): void {
  peer.absent.set(key, want);
  if (peer.absent.size <= MAX_WANTS) return;
  for (const oldest of peer.absent.keys()) {
    peer.absent.delete(oldest);
    return;
  }
}

/** Sends a message in a stream of its own; resolves once all of it has left. */
async function send(connection: Connection, message: Uint8Array, takeMs: number): Promise<void> {
  const late = new AbortController();
  const { signal } = late;
  const timer = setTimeout(() => {
    hangUp(connection, new Error("it does not read"));
    late.abort();
  }, takeMs);
  try {
    const stream = await connection.newStream(BITSWAP, { signal });
    await stream.closeRead({ signal });
    await stream.sink([new BinaryWriter().bytes(message).finish()]);
    await stream.close({ signal });
    await unsent(connection)?.onEmpty({ signal });
  } finally {
    clearTimeout(timer);
  }
}

const HAVE = 0;
const DONT_HAVE = 1;

/** Adds what there is to say about a want. Returns about how many bytes that takes. */
function writeAnswer(to: BinaryWriter, want: Want, block: Uint8Array | undefined): number {
  const { cid, haveOnly, sayAbsent } = want;
  if (block === undefined && !sayAbsent) return 0;
  if (block === undefined) writePresence(to, cid, DONT_HAVE);
  else if (haveOnly && block.length >= SENT_UNASKED_BYTES) writePresence(to, cid, HAVE);
  else {
    writeBlock(to, cid, block);
    return cid.bytes.length + block.length;
  }
  return cid.bytes.length;
}

// Fields of https://specs.ipfs.tech/bitswap-protocol/#bitswap-1-2-0-wire-format

function writeBlock(to: BinaryWriter, { version, code, multihash }: CID, block: Uint8Array): void {
  const numbers = [version, code, multihash.code, multihash.size];
  const prefix = new BinaryWriter();
  for (const number of numbers) prefix.uint32(number);
  to.tag(3, WireType.LengthDelimited).fork();
  to.tag(1, WireType.LengthDelimited).bytes(prefix.finish());
  to.tag(2, WireType.LengthDelimited).bytes(block);
  to.join();
}

function writePresence(to: BinaryWriter, { bytes }: CID, type: number): void {
  to.tag(4, WireType.LengthDelimited).fork();
  to.tag(1, WireType.LengthDelimited).bytes(bytes);
  to.tag(2, WireType.Varint).int32(type);
  to.join();
}
