import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import * as dagPb from "@ipld/dag-pb";
import { CID } from "multiformats/cid";
import * as raw from "multiformats/codecs/raw";
import * as Digest from "multiformats/hashes/digest";
import { sha256 } from "../core/bytes.js";
import { AnchordError } from "../core/errors.js";

/** Bytes of a file that make one block. */
export const CHUNK_BYTES = 262_144;

/** Takes the blocks of a file as they are made. */
export type TakeBlock = (cid: CID, block: Uint8Array) => Promise<void>;

/** How many links a node of a file has at most. */
const MAX_LINKS = 174;

/** A block that was made: how many bytes of the file, and how many in blocks, it stands for. */
interface Made {
  readonly cid: CID;
  readonly size: number;
  readonly treeSize: number;
}

/**
 * A file in the pieces that blocks are made of, whatever pieces it comes in; one that is empty where it is.
 * `room` gives each of them its CHUNK_BYTES, which nobody else uses meanwhile. Default: new ones.
 */
export async function* chunksOf(
  pieces: AsyncIterable<Uint8Array>,
  room = newRoom,
): AsyncGenerator<Uint8Array> {
  let chunk = room();
  let filled = 0;
  let isEmpty = true;
  for await (const piece of pieces) {
    for (let done = 0; done < piece.length;) {
      const part = piece.subarray(done, done + CHUNK_BYTES - filled);
      chunk.set(part, filled);
      filled += part.length;
      done += part.length;
      isEmpty = false;
      if (filled < CHUNK_BYTES) continue;
      yield chunk;
      chunk = room();
      filled = 0;
    }
  }
  if (filled > 0 || isEmpty) yield chunk.subarray(0, filled);
}

/** Room for a chunk. */
export function newRoom(): Uint8Array {
  return Buffer.allocUnsafeSlow(CHUNK_BYTES);
}

/**
 * Imports a file as `ipfs add --cid-version=1` does. Requires the chunks of `chunksOf`. ipfs-unixfs-importer is not used: it writes sizes from 2 GiB to 4 GiB
 * wrongly (protons-runtime, uint64).
 */
export async function importChunks(
  chunks: AsyncIterable<Uint8Array>,
  take: TakeBlock,
): Promise<CID> {
  const levels: Made[][] = []; // what waits for its parent, from the leaves up
  const add = async (level: number, made: Made): Promise<void> => {
    const row = (levels[level] ??= []);
    if (row.length === MAX_LINKS) await add(level + 1, await makeNode(row.splice(0), take));
    row.push(made);
  };
  for await (const chunk of chunks) {
    const size = chunk.length;
    await add(0, { cid: await makeBlock(raw.code, chunk, take), size, treeSize: size });
  }
  for (let level = 0; ; level++) {
    const row = levels[level] ?? [];
    const [root] = row;
    if (root !== undefined && row.length === 1 && level === levels.length - 1) return root.cid;
    await add(level + 1, await makeNode(row, take));
  }
}

async function makeNode(children: readonly Made[], take: TakeBlock): Promise<Made> {
  const size = children.reduce((sum, child) => sum + child.size, 0);
  const data = new BinaryWriter().tag(1, WireType.Varint).uint32(FILE_NODE);
  data.tag(3, WireType.Varint).uint64(size);
  for (const child of children) data.tag(4, WireType.Varint).uint64(child.size);
  const Links = children.map(({ cid, treeSize }) => ({ Name: "", Hash: cid, Tsize: treeSize }));
  const block = dagPb.encode({ Data: data.finish(), Links });
  const treeSize = children.reduce((sum, child) => sum + child.treeSize, block.length);
  return { cid: await makeBlock(dagPb.code, block, take), size, treeSize };
}

async function makeBlock(codec: number, block: Uint8Array, take: TakeBlock): Promise<CID> {
  const cid = CID.createV1(codec, Digest.create(SHA2_256, sha256(block)));
  await take(cid, block);
  return cid;
}

const SHA2_256 = 0x12;

/** A part of a file: by its CID, and where in the file its bytes stand. */
interface Part {
  readonly cid: CID;
  readonly offset: number;
  /** How many bytes of the file it has, as its parent says; undefined for the root. */
  readonly size: number | undefined;
}

/** A block of a file, as the walk through it comes by. */
export interface Visit {
  readonly cid: CID;
  /** Undefined where it could not be had. */
  readonly block: Uint8Array | undefined;
  /** The bytes of the file that are in the block itself, those of the range alone. */
  readonly data: Uint8Array;
}

/** How a file is walked through. */
export interface WalkOptions {
  /** The block with a CID; undefined where it cannot be had. */
  readonly get: (cid: CID) => Promise<Uint8Array | undefined>;
  /** How many blocks are asked for before they are needed. */
  readonly ahead: number;
  /** Blocks without bytes of this range are left out. Default: all of the file. */
  readonly range?: { readonly offset: number; readonly length: number } | undefined;
}

/**
 * The blocks of a file in depth-first order, which is the order of its bytes. Below a block that cannot be
 * had it goes on with the next. Nothing is asked for that the reader is not close to.
 */
export async function* walkFile(
  root: CID,
  { get, ahead, range }: WalkOptions,
): AsyncGenerator<Visit, void, undefined> {
  const from = range?.offset ?? 0;
  const to = range === undefined ? Infinity : range.offset + range.length;
  const due: Part[] = [{ cid: root, offset: 0, size: undefined }]; // the next one is the last
  const asked = new Map<Part, Promise<Uint8Array | undefined>>();
  const ask = (part: Part): Promise<Uint8Array | undefined> => {
    const answer = asked.get(part) ?? get(part.cid);
    asked.set(part, answer);
    answer.catch(() => undefined); // it is told when it is this one's turn
    return answer;
  };
  for (let part = due.pop(); part !== undefined; part = due.pop()) {
    const answer = ask(part);
    for (const next of due.slice(Math.max(due.length - ahead, 0))) void ask(next);
    const block = await answer;
    asked.delete(part);
    if (block === undefined) {
      yield { cid: part.cid, block, data: new Uint8Array(0) };
      continue;
    }
    const { data, children } = nodeOf(part, block);
    const start = Math.max(from - part.offset, 0);
    yield { cid: part.cid, block, data: data.subarray(start, Math.max(to - part.offset, start)) };
    const wanted = children.filter(
      ({ offset, size }) => range === undefined || (offset < to && offset + size > from),
    );
    due.push(...wanted.reverse());
  }
}

/** What a block has of the file, and where the rest is. */
function nodeOf(part: Part, block: Uint8Array) {
  const { cid, offset, size } = part;
  if (cid.code === raw.code) {
    if (size !== undefined && size !== block.length) throw noFile(cid);
    return { data: block, children: [] };
  }
  if (cid.code !== dagPb.code) throw noFile(cid);
  const { Data, Links } = decoded(cid, () => dagPb.decode(block));
  const { type, data, sizes } = decoded(cid, () => readUnixFs(Data ?? new Uint8Array(0)));
  if ((type !== RAW_NODE && type !== FILE_NODE) || sizes.length !== Links.length) throw noFile(cid);
  let end = offset + data.length;
  const children = Links.map(({ Hash }, i) => {
    const child = { cid: Hash, offset: end, size: sizes[i] as number };
    end += child.size;
    return child;
  });
  if (size !== undefined && end - offset !== size) throw noFile(cid);
  return { data, children };
}

const RAW_NODE = 0;
const FILE_NODE = 2;

/** Fields of https://specs.ipfs.tech/unixfs/#data-field */
function readUnixFs(bytes: Uint8Array) {
  const reader = new BinaryReader(bytes);
  const node = { type: -1, data: new Uint8Array(0) as Uint8Array, sizes: [] as number[] };
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag();
    if (field === 1) node.type = reader.uint32();
    else if (field === 2) node.data = reader.bytes();
    else if (field === 4 && wire === 0) node.sizes.push(Number(reader.uint64()));
    else if (field === 4) {
      for (const end = reader.uint32() + reader.pos; reader.pos < end;) {
        node.sizes.push(Number(reader.uint64()));
      }
    } else reader.skip(wire, field);
  }
  return node;
}

function decoded<T>(cid: CID, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    throw noFile(cid, error);
  }
}

function noFile(cid: CID, cause?: unknown): AnchordError {
  const message = `block ${cid.toString()} is not part of a file: its CID must be that of a file in UnixFS`;
  return new AnchordError("CONTENT_LOST", message, { cause });
}
