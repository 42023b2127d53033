import { create } from "@bufbuild/protobuf";
import * as dagPb from "@ipld/dag-pb";
import {
  EvidenceAddedSchema,
  LoginSchema,
  RecordState,
} from "../../gen/ts/anchord/v1/record_pb.js";
import { chunksOf, importChunks } from "../../src/content/unixfs.js";
import {
  BUNDLE_FORMAT,
  directoryBlock,
  evidenceText,
  timeText,
  treeSize,
} from "../../src/core/bundle.js";
import type { BundleChain, BundleLink, EvidenceDocument } from "../../src/core/bundle.js";
import { receiptText } from "../../src/core/bundle-trail.js";
import { hex, sha256, ZERO32 } from "../../src/core/bytes.js";
import { carHeader, carSection } from "../../src/core/car.js";
import type { Block } from "../../src/core/car.js";
import { subjectKey } from "../../src/core/evidence.js";
import { genesisHead, logIdOf, nextHead } from "../../src/core/head.js";
import { inclusionPath, treeLevels } from "../../src/core/merkle.js";
import { encodeRecord } from "../../src/core/record.js";
import type { Body, EncodedRecord } from "../../src/core/record.js";
import type { ChainBatch } from "../../src/core/receipt.js";
import { trailLeaf } from "../../src/core/trail.js";

const LOG = { chainId: 1337n, contract: `0x${"a1".repeat(20)}`, log: logIdOf("default") };
const REGISTRY = `0x${"e1".repeat(20)}`;

/** What the parts of a bundle say, each of which a test may change. */
export interface BundleParts {
  document: EvidenceDocument;
  /** The receipts of the trail, a line each, without line feeds. */
  trail: string[];
  /** That of the evidence. */
  own: string;
  file: { name: string; bytes: Uint8Array } | undefined;
}

/** A chain that has what these parts claim, and the parts. */
export interface BundleWorld {
  readonly chain: BundleChain;
  readonly parts: BundleParts;
}

/** How a bundle differs from one whose file is kept and whose evidence is anchored. */
export interface WorldOptions {
  readonly fileName?: string;
  /** The file. */
  readonly bytes?: Uint8Array;
  /** Whether the file was handed in, and not its hash alone. */
  readonly isKept?: boolean;
  readonly subject?: string;
  /** How many records the trail has; the evidence is the second, or the only one. */
  readonly records?: 1 | 4;
  /** How many of them are sealed, two a batch. Default: all. */
  readonly sealed?: 0 | 1 | 2 | 4;
  readonly isAnchored?: boolean;
}

/** Imports bytes, and gives their blocks in depth-first order. */
export async function blocksOf(bytes: Uint8Array): Promise<Block[]> {
  const blocks = new Map<string, Block>();
  async function* source() {
    yield bytes;
  }
  const chunks = chunksOf(source());
  const root = await importChunks(chunks, async (cid, block) => {
    blocks.set(cid.toString(), { cid, bytes: block });
  });
  return depthFirst(root.toString(), blocks);
}

function depthFirst(cid: string, blocks: ReadonlyMap<string, Block>): Block[] {
  const block = blocks.get(cid) as Block;
  return [block, ...linksOf(block).flatMap((link) => depthFirst(link, blocks))];
}

function linksOf({ cid, bytes }: Block): string[] {
  return cid.code === dagPb.code ? dagPb.decode(bytes).Links.map(({ Hash }) => `${Hash}`) : [];
}

/** The members of a bundle, by their names. */
export function membersOf({ document, trail, own, file }: BundleParts): Map<string, Uint8Array> {
  return new Map<string, Uint8Array>([
    ["evidence.json", Buffer.from(evidenceText(document))],
    ["receipt.json", Buffer.from(`${own}\n`)],
    ["trail.jsonl", Buffer.from(trail.map((line) => `${line}\n`).join(""))],
    ...(file === undefined ? [] : [[file.name, file.bytes] as const]),
  ]);
}

/** A CAR file with a directory of these members. Each block's hash is right, whatever they say. */
export async function carOf(members: ReadonlyMap<string, Uint8Array>): Promise<Buffer> {
  return joined(await sectionsOf(members));
}

/** The blocks of a CAR file with a directory of these members, the directory first. */
export async function sectionsOf(members: ReadonlyMap<string, Uint8Array>): Promise<Block[]> {
  const names = [...members.keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  const links: BundleLink[] = [];
  const below: Block[] = [];
  for (const name of names) {
    const blocks = await blocksOf(members.get(name) as Uint8Array);
    const [first] = blocks as [Block];
    links.push({ name, cid: first.cid, size: treeSize(first) });
    below.push(...blocks);
  }
  return [directoryBlock(links), ...below];
}

/** A CAR file of these blocks, the first of which is its root. */
export function joined(blocks: readonly Block[]): Buffer {
  const [root] = blocks as [Block];
  return Buffer.concat([carHeader(root.cid), ...blocks.map(carSection)]);
}

/** Bytes as a file is read: in pieces of this size. */
export async function* pieces(bytes: Uint8Array, size = 65_536): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** Makes evidence, its trail, and a chain that has both. */
export async function bundleWorld(options: WorldOptions = {}): Promise<BundleWorld> {
  const { fileName = "report.pdf", isKept = true, isAnchored = true } = options;
  const { subject = "complaint/ABC12345", bytes = Buffer.from("it was me\n") } = options;
  const said = await whatIsSaid(bytes, fileName, isKept);
  const { records: length = 4, sealed = length } = options;
  const own = length === 1 ? 0 : 1;
  const bodies = ["ada", "bob", "eve"].map(loginOf);
  bodies.splice(own, 0, {
    case: "evidenceAdded",
    value: create(EvidenceAddedSchema, { ...said, cid: said.cid ?? "" }),
  });
  const records = bodies.slice(0, length).map((body) => recordOf(subject, body));
  const { lines, batches } = sealedTrail(records, sealed);
  const document: EvidenceDocument = {
    format: BUNDLE_FORMAT,
    chainId: String(LOG.chainId),
    contract: REGISTRY,
    subject,
    subjectKey: hex(subjectKey(subject)),
    sha256: said.sha256,
    ...(said.cid === undefined ? {} : { cid: said.cid, size: String(said.size) }),
    evidenceId: hex((records[own] as EncodedRecord).id),
    ...(isAnchored ? { anchor: anchorText() } : {}),
  };
  const chain = chainWith(batches, isAnchored ? document : undefined);
  const file = isKept ? { name: fileName === "" ? "evidence" : fileName, bytes } : undefined;
  return { chain, parts: { document, trail: lines, own: lines[own] as string, file } };
}

/** What a record says of a file. */
async function whatIsSaid(bytes: Uint8Array, fileName: string, isKept: boolean) {
  const said = { sha256: hex(sha256(bytes)), fileName, contentKept: isKept };
  if (!isKept) return { ...said, cid: undefined, size: undefined };
  const [root] = (await blocksOf(bytes)) as [Block];
  return { ...said, cid: root.cid.toString(), size: BigInt(bytes.length) };
}

/** The only anchor that the registry has, if any. */
const ANCHOR = { submitter: `0x${"5e".repeat(20)}`, time: 1_800_000_100, blockNumber: 40 };

function anchorText(): NonNullable<EvidenceDocument["anchor"]> {
  const { submitter, time, blockNumber } = ANCHOR;
  const said = { submitter, blockTime: timeText(time), blockNumber: String(blockNumber) };
  return { ...said, ...placeOf(blockNumber) };
}

function chainWith(
  batches: readonly ChainBatch[],
  anchored: EvidenceDocument | undefined,
): BundleChain {
  return {
    chainId: () => Promise.resolve(LOG.chainId),
    isAuditLog: (contract) => Promise.resolve(contract === LOG.contract),
    isEvidenceRegistry: (contract) => Promise.resolve(contract === REGISTRY),
    batch: ({ log }, number) =>
      Promise.resolve(hex(log) === hex(LOG.log) ? batches[Number(number) - 1] : undefined),
    transaction: (hash) => Promise.resolve(transactionOf(hash, anchored)),
    minimumDifficulty: () => Promise.resolve(0),
    difficultyChanges: () => Promise.resolve([]),
    evidenceAnchor: (contract, ...asked) => {
      const { subjectKey: key, sha256: digest } = anchored ?? {};
      const isIt = contract === REGISTRY && String(asked.map(hex)) === String([key, digest]);
      return Promise.resolve(isIt ? ANCHOR : undefined);
    },
  };
}

function loginOf(user: string): Body {
  return { case: "login", value: create(LoginSchema, { user }) };
}

function recordOf(subject: string, body: Body): EncodedRecord {
  const draft = { caller: "local", subject, actor: "", occurTime: undefined };
  return encodeRecord({ ...draft, request: undefined, body });
}

/** Seals the first of a trail's records, two a batch, beside those of others. */
function sealedTrail(records: readonly EncodedRecord[], sealed: number) {
  const batches: ChainBatch[] = [];
  const lines: string[] = [];
  let head: Uint8Array = genesisHead(LOG);
  let previousLeaf: Uint8Array = ZERO32;
  for (let first = 0; first < sealed; first += 2) {
    const previousHead = head;
    const links = records.slice(first, first + 2).map(({ entry }, i) => {
      const link = { entry, index: BigInt(first + i), previousLeaf };
      previousLeaf = trailLeaf(sha256(entry), link.index, previousLeaf);
      return { ...link, leaf: previousLeaf };
    });
    const other = sha256(Buffer.from(`the leaf of another subject ${first}`));
    const levels = treeLevels([...links.map(({ leaf }) => leaf), other]);
    const seal = {
      number: BigInt(batches.length + 1),
      root: levels.at(-1)?.[0] as Uint8Array,
      size: BigInt(links.length + 1),
      manifestDigest: sha256(Buffer.from("manifest")),
      trailsRoot: ZERO32,
      nonce: 0n,
    };
    head = nextHead(head, seal);
    const time = 1_800_000_000n + seal.number;
    batches.push({ root: seal.root, head, size: seal.size, time });
    const anchor = {
      ...placeOf(batches.length),
      blockNumber: seal.number,
      blockTime: { seconds: time, nanos: 0 },
    };
    for (const [i, { entry, index, previousLeaf: previous }] of links.entries()) {
      const inclusion = { leafIndex: BigInt(i), path: inclusionPath(levels, i) as Uint8Array[] };
      const trail = { index, previousLeaf: previous };
      const batch = { ...seal, previousHead };
      const receipt = { entry, identity: LOG, trail, inclusion, batch, anchor };
      lines.push(receiptText({ receipt, state: RecordState.FINAL }));
    }
  }
  for (const { entry } of records.slice(sealed)) {
    lines.push(receiptText({ receipt: { entry }, state: RecordState.ACCEPTED }));
  }
  return { lines, batches };
}

/** Block n has one transaction, and both have hashes that tell n. */
function placeOf(number: number) {
  const digits = number.toString(16).padStart(63, "0");
  return { blockHash: `0xb${digits}`, transactionHash: `0xc${digits}` };
}

/**
 * Each block has two transactions: 0xc… sealed the batch of that number and anchored the evidence, 0xe… did
 * neither.
 */
function transactionOf(hash: string, document: EvidenceDocument | undefined) {
  if (!/^0x[ce]/.test(hash)) return undefined;
  const blockNumber = BigInt(`0x${hash.slice(3)}`);
  const { blockHash } = placeOf(Number(blockNumber));
  if (hash.startsWith("0xe")) return { blockNumber, blockHash, sealed: [], anchored: [] };
  const sealed = [{ contract: LOG.contract, log: LOG.log, number: blockNumber }];
  const anchored = document === undefined ? [] : [keyOf(document)];
  return { blockNumber, blockHash, sealed, anchored };
}

function keyOf({ contract, subjectKey, sha256 }: EvidenceDocument) {
  return {
    contract,
    subjectKey: Buffer.from(subjectKey, "hex"),
    digest: Buffer.from(sha256, "hex"),
  };
}
