import { createHash } from "node:crypto";
import type { CID } from "multiformats/cid";
import type { Entry } from "../../gen/ts/anchord/v1/receipt_pb.js";
import { chunksOf, importChunks, walkFile } from "../content/unixfs.js";
import {
  BundleFault,
  checkRegistry,
  linkCount,
  parseDirectory,
  parseEvidence,
  requireEvidence,
  requireFile,
} from "../core/bundle.js";
import type {
  AddedEvidence,
  BundleChain,
  BundleLink,
  EvidenceDocument,
  ExpectedBundle,
  FoundFile,
  RegistryAnchor,
} from "../core/bundle.js";
import { parseReceipt, rememberingChain, TrailCheck } from "../core/bundle-trail.js";
import type { CheckedTrail } from "../core/bundle-trail.js";
import { CarFault, CarReader } from "../core/car.js";
import { AnchordError, messageOf } from "../core/errors.js";
import { checkReceipt } from "../core/receipt.js";
import type { ChainBatch, ReceiptChain } from "../core/receipt.js";

/** No document and no line of one has so many bytes; what has is not read to its end. */
const MAX_TEXT_BYTES = 1_048_576;

/** Nodes of files have at most so many links, and are at most so deep: enough for more bytes than there are. */
const MAX_LINKS = 174;
const MAX_DEPTH = 8;

/** A bundle in which everything holds, and how much it proves. */
export interface CheckedBundle {
  /** The evidence's record. */
  readonly entry: Entry;
  readonly document: EvidenceDocument;
  /** The file, where the bundle has it. */
  readonly file: FoundFile | undefined;
  readonly trail: CheckedTrail;
  /** The batch that seals the record; undefined where it was not sealed yet. */
  readonly batch: ChainBatch | undefined;
  /** The anchor that the registry has; undefined where it has none yet. */
  readonly anchor: RegistryAnchor | undefined;
}

/** Takes the bytes of a member as they come by. */
type Take = (bytes: Uint8Array) => void | Promise<void>;

/**
 * Checks a bundle from its first byte to its last, with little memory however large it is. Throws
 * BundleFault; rejects when the chain is out of reach, or with what the chunks reject with.
 */
export async function checkBundle(
  chunks: AsyncIterable<Uint8Array>,
  chain: BundleChain,
  expected: ExpectedBundle,
): Promise<CheckedBundle> {
  try {
    return await checkParts(await Members.open(chunks), chain, expected);
  } catch (error) {
    const isBroken = error instanceof AnchordError && error.reason === "CONTENT_LOST";
    if (!isBroken && !(error instanceof CarFault)) throw error;
    throw new BundleFault("blocks", error.message);
  }
}

async function checkParts(
  members: Members,
  chain: BundleChain,
  expected: ExpectedBundle,
): Promise<CheckedBundle> {
  const remembering = rememberingChain(chain);
  const document = parseEvidence(await members.text("evidence.json"));
  const log = { ...expected, chainId: expected.chainId ?? BigInt(document.chainId) };
  const own = withoutLineFeed(await members.text("receipt.json"));
  const { entry, added, batch } = await checkOwn(own, document, remembering, log);
  const trail = new TrailCheck({ subject: entry.subject, own, expected: log, chain: remembering });
  await members.lines("trail.jsonl", (line) => trail.take(line));
  const checked = { entry, document, batch, trail: await trail.end() };
  const file = await members.end();
  requireFile(document, added, file);
  return { ...checked, file, anchor: await checkRegistry(document, chain, expected) };
}

/** The evidence's own receipt: what it tells of is what evidence.json says. */
async function checkOwn(
  text: string,
  document: EvidenceDocument,
  chain: ReceiptChain,
  expected: ExpectedBundle,
): Promise<Pick<CheckedBundle, "entry" | "batch"> & { readonly added: AddedEvidence }> {
  let receipt;
  try {
    ({ receipt } = parseReceipt(text));
  } catch (error) {
    throw new BundleFault("receipt/format", messageOf(error));
  }
  const found = await checkReceipt(receipt, chain, expected);
  if (found.verdict === "invalid") throw new BundleFault(`receipt/${found.step}`, found.message);
  const { entry, id } = found;
  const added = requireEvidence(document, entry, id);
  return { entry, added, batch: found.verdict === "valid" ? found.batch : undefined };
}

/** A file that somebody says is the one that evidence is of. Throws BundleFault where it is not. */
export async function requireOriginal(
  { sha256, size }: EvidenceDocument,
  chunks: AsyncIterable<Uint8Array>,
): Promise<FoundFile> {
  const hash = new FileHash();
  const cid = await importBytes(chunks, (bytes) => hash.take(bytes));
  const file = hash.end("the file", cid);
  if (file.sha256 !== sha256) {
    throw new BundleFault("file", `the file has SHA-256 ${file.sha256}, the evidence ${sha256}`);
  }
  if (size === undefined || size === String(file.size)) return file;
  throw new BundleFault("file", `the file has ${file.size} bytes, and evidence.json says ${size}`);
}

/** The members of a bundle, one after the other, in the order of their names. */
class Members {
  #file: FoundFile | undefined;

  private constructor(
    private readonly car: CarReader,
    private readonly links: BundleLink[],
  ) {}

  static async open(chunks: AsyncIterable<Uint8Array>): Promise<Members> {
    const car = await CarReader.open(chunks);
    return new Members(car, parseDirectory(await car.take(car.root)));
  }

  /** The text of a document. */
  async text(name: string): Promise<string> {
    const pieces: Uint8Array[] = [];
    let length = 0;
    await this.#document(name, (bytes) => {
      length += bytes.length;
      if (length > MAX_TEXT_BYTES) throw new BundleFault("file", `${name} is too long`);
      pieces.push(bytes);
    });
    return textOf(Buffer.concat(pieces), name);
  }

  /** The lines of a document, each of which ends with a line feed. */
  async lines(name: string, take: (line: string) => Promise<void>): Promise<void> {
    let rest: Uint8Array = new Uint8Array(0);
    await this.#document(name, async (bytes) => {
      rest = Buffer.concat([rest, bytes]);
      for (let end = rest.indexOf(LINE_FEED); end >= 0; end = rest.indexOf(LINE_FEED)) {
        await take(textOf(rest.subarray(0, end), name));
        rest = rest.subarray(end + 1);
      }
      if (rest.length > MAX_TEXT_BYTES)
        throw new BundleFault("file", `${name} has a line too long`);
    });
    if (rest.length > 0) throw new BundleFault("trail", `${name} has no line feed at its end`);
  }

  /** The file, where there is one, once nothing is left. */
  async end(): Promise<FoundFile | undefined> {
    for (const link of this.links.splice(0)) await this.#readFile(link);
    await this.car.end();
    return this.#file;
  }

  async #document(name: string, take: Take): Promise<void> {
    for (let link = this.links.shift(); link !== undefined; link = this.links.shift()) {
      if (link.name === name) return void (await this.#read(link, take));
      await this.#readFile(link);
    }
  }

  async #readFile(link: BundleLink): Promise<void> {
    const hash = new FileHash();
    const cid = await this.#read(link, (bytes) => hash.take(bytes));
    this.#file = hash.end(link.name, cid);
  }

  /** Reads a member and imports its bytes anew: that gives its CID again, or its blocks lie. */
  async #read(link: BundleLink, take: Take): Promise<CID> {
    const cid = await importBytes(bytesOf(this.car, link), take);
    const [text, said] = [cid.toString(), link.cid.toString()];
    if (text === said) return cid;
    throw new BundleFault(
      "file",
      `${link.name} stands here as ${said}, and its bytes have ${text}`,
    );
  }
}

const LINE_FEED = 0x0a;

/** SHA-256 and size of bytes that come by. */
class FileHash {
  readonly #hash = createHash("sha256");
  #size = 0;

  take(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    this.#size += bytes.length;
  }

  end(name: string, cid: CID): FoundFile {
    return { name, sha256: this.#hash.digest("hex"), size: this.#size, cid: cid.toString() };
  }
}

/** The bytes of a member, as its blocks come by. */
async function* bytesOf(car: CarReader, link: BundleLink): AsyncGenerator<Uint8Array> {
  let size = 0;
  let due = 1;
  const get = async (cid: CID) => {
    const bytes = await car.take(cid);
    const links = linkCount({ cid, bytes });
    size += bytes.length;
    due += links - 1;
    if (links <= MAX_LINKS && due <= MAX_LINKS * MAX_DEPTH) return bytes;
    throw new BundleFault("file", `${link.name} has more blocks at once than any file of IPFS`);
  };
  for await (const { data } of walkFile(link.cid, { get, ahead: 0 })) yield data;
  if (size === link.size) return;
  throw new BundleFault("directory", `${link.name} has ${size} bytes in blocks, not ${link.size}`);
}

/** Imports bytes as `ipfs add --cid-version=1` does, and keeps nothing. Resolves to their CID. */
function importBytes(bytes: AsyncIterable<Uint8Array>, take: Take): Promise<CID> {
  return importChunks(chunksOf(tapped(bytes, take)), () => Promise.resolve());
}

async function* tapped(bytes: AsyncIterable<Uint8Array>, take: Take): AsyncGenerator<Uint8Array> {
  for await (const piece of bytes) {
    await take(piece);
    yield piece;
  }
}

function textOf(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new BundleFault("file", `${name} is not UTF-8`);
  }
}

function withoutLineFeed(text: string): string {
  if (text.endsWith("\n")) return text.slice(0, -1);
  throw new BundleFault("receipt", "receipt.json has no line feed at its end");
}
