import * as dagPb from "@ipld/dag-pb";
import canonicalize from "canonicalize";
import { CID } from "multiformats/cid";
import * as raw from "multiformats/codecs/raw";
import * as Digest from "multiformats/hashes/digest";
import { z } from "zod";
import type { Entry } from "../../gen/ts/anchord/v1/receipt_pb.js";
import { hex, sameBytes, sha256, unhex } from "./bytes.js";
import type { Block } from "./car.js";
import { messageOf } from "./errors.js";
import { evidenceColumns } from "./evidence.js";
import type { ChainTransaction, ExpectedLog, ReceiptChain } from "./receipt.js";

/** The documents of a bundle, in the order in which they stand in it. */
export const DOCUMENTS = ["evidence.json", "receipt.json", "trail.jsonl"] as const;

/** What every evidence.json begins its word with. */
export const BUNDLE_FORMAT = "anchord/evidence/v1";

/** The name of a file that has none, or that of a document. */
const PLAIN_NAME = "evidence";

const SHA2_256 = 0x12;

/** The steps of a check; docs/evidence-bundle.md says what each one compares. */
export type BundleStep =
  "blocks" | "directory" | "evidence" | "receipt" | "trail" | "file" | "registry";

/** What is wrong with a bundle. */
export class BundleFault extends Error {
  override readonly name = "BundleFault";

  constructor(
    /** The step that failed; of a receipt, its own step behind a slash. */
    readonly step: BundleStep | `${"receipt" | "trail"}/${string}`,
    message: string,
  ) {
    super(message);
  }
}

const digest = z.string().regex(/^[0-9a-f]{64}$/, "must be 64 lower-case hex digits");
const address = z.string().regex(/^0x[0-9a-f]{40}$/, "must be 0x and 40 lower-case hex digits");
const hash = z.string().regex(/^0x[0-9a-f]{64}$/, "must be 0x and 64 lower-case hex digits");
const decimal = z
  .string()
  .refine(isUint64, "must be a decimal number without leading zeros, below 2^64");
const time = z.string().refine(isTime, "must be a time in UTC, in whole seconds");

const evidenceSchema = z.strictObject({
  format: z.literal(BUNDLE_FORMAT),
  /** Chain id of EIP-155. */
  chainId: decimal,
  /** The EvidenceRegistry. */
  contract: address,
  subject: z.string(),
  subjectKey: digest,
  sha256: digest,
  /** Left out where none is known. */
  cid: z.string().min(1).optional(),
  /** Left out where it is not known. */
  size: decimal.optional(),
  /** Id of the record that says so. */
  evidenceId: digest,
  /** Left out where the bundle was made before the evidence was anchored. */
  anchor: z
    .strictObject({
      submitter: address,
      blockTime: time,
      blockNumber: decimal,
      blockHash: hash,
      transactionHash: hash,
    })
    .optional(),
});

/** What evidence.json says. */
export type EvidenceDocument = z.infer<typeof evidenceSchema>;

/** The text of evidence.json. */
export function evidenceText(evidence: EvidenceDocument): string {
  return `${canonicalize(evidence)}\n`;
}

/** Reads evidence.json, which has one form. Throws BundleFault. */
export function parseEvidence(text: string): EvidenceDocument {
  const read = evidenceSchema.safeParse(jsonOf(text));
  if (!read.success) throw fault(`evidence.json: ${z.prettifyError(read.error)}`);
  if (evidenceText(read.data) === text) return read.data;
  throw fault("evidence.json is not RFC 8785 JSON with a line feed behind it");
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw fault(`evidence.json: ${messageOf(error)}`);
  }
}

/** A time in whole seconds since 1970, as a bundle writes it. */
export function timeText(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace(".000Z", "Z");
}

function isTime(text: string): boolean {
  const milliseconds = Date.parse(text);
  return !Number.isNaN(milliseconds) && timeText(milliseconds / 1000) === text;
}

function isUint64(text: string): boolean {
  return /^(0|[1-9][0-9]{0,19})$/.test(text) && BigInt(text) < 2n ** 64n;
}

/** By which name a bundle has a file. No file system mistakes it for that of a document. */
export function bundleName(fileName: string): string {
  const taken: readonly string[] = ["", ...DOCUMENTS];
  return taken.includes(fileName.toLowerCase()) ? PLAIN_NAME : fileName;
}

/** A member of the bundle's directory. */
export interface BundleLink {
  readonly name: string;
  readonly cid: CID;
  /** How many bytes the blocks below it have. */
  readonly size: number;
}

/** A directory of UnixFS, as its data says. */
const DIRECTORY = Uint8Array.of(0x08, 0x01);

/** The block of the bundle's directory. */
export function directoryBlock(links: readonly BundleLink[]): Block {
  const Links = links.map(({ name, cid, size }) => ({ Name: name, Hash: cid, Tsize: size }));
  const bytes = dagPb.encode(dagPb.prepare({ Data: DIRECTORY, Links }));
  return { cid: CID.createV1(dagPb.code, Digest.create(SHA2_256, sha256(bytes))), bytes };
}

/** Reads the directory, which has one form: the documents, and at most one file. Throws BundleFault. */
export function parseDirectory(bytes: Uint8Array): BundleLink[] {
  const links = linksIn(bytes);
  if (!sameBytes(directoryBlock(links).bytes, bytes)) {
    throw new BundleFault("directory", "its root is no directory as bundles have it");
  }
  const names = new Set(links.map(({ name }) => name));
  const missing = DOCUMENTS.filter((name) => !names.has(name));
  if (missing.length > 0) throw new BundleFault("directory", `it has no ${missing.join(", no ")}`);
  if (names.size < links.length || links.length > DOCUMENTS.length + 1) {
    throw new BundleFault("directory", "it has more than its documents and one file");
  }
  return links;
}

function linksIn(bytes: Uint8Array): BundleLink[] {
  try {
    const { Links } = dagPb.decode(bytes);
    return Links.map(({ Name = "", Hash, Tsize = 0 }) => ({ name: Name, cid: Hash, size: Tsize }));
  } catch (error) {
    throw new BundleFault("directory", `its root cannot be read: ${messageOf(error)}`);
  }
}

/** How many bytes a file's blocks have, each as often as the file has it, by its first block. */
export function treeSize({ cid, bytes }: Block): number {
  if (cid.code === raw.code) return bytes.length;
  const { Links } = dagPb.decode(bytes);
  return Links.reduce((sum, { Tsize = 0 }) => sum + Tsize, bytes.length);
}

/** How many links a block has; none where it cannot be read. */
export function linkCount({ cid, bytes }: Block): number {
  try {
    return cid.code === dagPb.code ? dagPb.decode(bytes).Links.length : 0;
  } catch {
    return 0; // whoever needs what it says finds out
  }
}

/** The body of an evidence_added entry. */
export type AddedEvidence = Extract<Entry["body"], { case: "evidenceAdded" }>["value"];

/** The evidence that a record tells of, once evidence.json was found to say the same. Throws BundleFault. */
export function requireEvidence(
  document: EvidenceDocument,
  entry: Entry,
  id: string,
): AddedEvidence {
  const { body } = entry;
  if (body.case !== "evidenceAdded") throw fault("the record of receipt.json tells of no evidence");
  const key = hex(evidenceColumns(entry)?.subjectKey ?? new Uint8Array(0));
  requireSame("evidenceId", document.evidenceId, id);
  requireSame("subject", document.subject, entry.subject);
  requireSame("subjectKey", document.subjectKey, key);
  requireSame("sha256", document.sha256, body.value.sha256);
  return body.value;
}

/** A file, by its bytes. */
export interface FoundFile {
  readonly name: string;
  /** In lower-case hex. */
  readonly sha256: string;
  readonly size: number;
  /** As `ipfs add --cid-version=1` gives it. */
  readonly cid: string;
}

/**
 * Compares what is said of a file with the file of the bundle. What the record says of CID and size stands
 * where it came with the file, or where there is none; else the file came later. Throws BundleFault.
 */
export function requireFile(
  document: EvidenceDocument,
  added: AddedEvidence,
  file: FoundFile | undefined,
): void {
  if (added.contentKept && file === undefined) {
    throw new BundleFault("file", "the record says that the file is kept, and it is missing here");
  }
  if (added.contentKept || file === undefined) {
    requireSame("cid", document.cid ?? "", added.cid);
    requireSame("size", document.size ?? "", added.size === undefined ? "" : String(added.size));
  }
  if (file === undefined) return;
  requireSame("sha256", document.sha256, file.sha256, "file");
  requireSame("size", document.size ?? "", String(file.size), "file");
  requireSame("cid", document.cid ?? "", file.cid, "file");
  const name = bundleName(added.fileName);
  if (name === file.name) return;
  throw new BundleFault("directory", `the file is called "${file.name}", and must be "${name}"`);
}

function requireSame(
  name: string,
  said: string,
  found: string,
  step: "evidence" | "file" = "evidence",
): void {
  if (said === found) return;
  const whose = step === "file" ? "the file" : "the record";
  throw new BundleFault(step, `evidence.json has ${name} "${said}", and ${whose} has "${found}"`);
}

/** An anchor as the registry has it. */
export interface RegistryAnchor {
  /** The account that anchored it: 0x and 40 lower-case hex digits. */
  readonly submitter: string;
  /** Block time in seconds. */
  readonly time: number;
  readonly blockNumber: number;
}

/** What checking a bundle needs of a chain. Each call may reject when the chain is out of reach. */
export interface BundleChain extends ReceiptChain {
  /** Whether an EvidenceRegistry contract of a version that we know answers at the address. */
  isEvidenceRegistry(contract: string): Promise<boolean>;
  /** Undefined where the registry has no such anchor. */
  evidenceAnchor(
    contract: string,
    subjectKey: Uint8Array,
    digest: Uint8Array,
  ): Promise<RegistryAnchor | undefined>;
}

/** The log and the registry that the one who checks expects, as far as they say. */
export interface ExpectedBundle extends ExpectedLog {
  /** 0x and 40 hex digits. */
  readonly registry?: string | undefined;
}

/**
 * The anchor that the registry has of evidence, once evidence.json was found to say the same; undefined
 * where neither has one. Throws BundleFault; rejects when the chain is out of reach.
 */
export async function checkRegistry(
  document: EvidenceDocument,
  chain: BundleChain,
  expected: ExpectedBundle,
): Promise<RegistryAnchor | undefined> {
  const { chainId, contract, subjectKey, sha256: digest, anchor } = document;
  const { registry } = expected;
  if (registry !== undefined && registry.toLowerCase() !== contract) {
    throw wrong(`the bundle is for registry ${contract}, not ${registry}`);
  }
  for (const id of [expected.chainId, await chain.chainId()]) {
    if (id !== undefined && id !== BigInt(chainId)) {
      throw wrong(`the bundle is for chain ${chainId}, not ${id}`);
    }
  }
  if (!(await chain.isEvidenceRegistry(contract))) {
    throw wrong(`no EvidenceRegistry contract answers at ${contract}`);
  }
  const found = await chain.evidenceAnchor(contract, unhex(subjectKey), unhex(digest));
  if (anchor !== undefined) await requireAnchor(anchor, found, document, chain);
  return found;
}

async function requireAnchor(
  said: NonNullable<EvidenceDocument["anchor"]>,
  found: RegistryAnchor | undefined,
  { contract, subjectKey, sha256: digest }: EvidenceDocument,
  chain: ReceiptChain,
): Promise<void> {
  if (found === undefined) throw wrong("the registry has no anchor of it");
  const { submitter, time: seconds, blockNumber } = found;
  if (submitter !== said.submitter) throw wrong(`the registry says that ${submitter} anchored it`);
  if (timeText(seconds) !== said.blockTime || String(blockNumber) !== said.blockNumber) {
    throw moved(`the registry has it in block ${blockNumber}, of ${timeText(seconds)}`);
  }
  const transaction = await chain.transaction(said.transactionHash);
  if (transaction === undefined) throw moved(`transaction ${said.transactionHash} is in no block`);
  const { blockNumber: number, blockHash } = transaction;
  if (String(number) !== said.blockNumber || blockHash !== said.blockHash) {
    throw moved(`its transaction is in block ${number} ${blockHash}`);
  }
  const isIt = (each: ChainTransaction["anchored"][number]) =>
    each.contract === contract &&
    hex(each.subjectKey) === subjectKey &&
    hex(each.digest) === digest;
  if (!transaction.anchored.some(isIt)) {
    throw moved(`transaction ${said.transactionHash} did not anchor it`);
  }
}

function moved(message: string): BundleFault {
  return wrong(`${message}; the evidence itself is anchored: export it again`);
}

function wrong(message: string): BundleFault {
  return new BundleFault("registry", message);
}

function fault(message: string): BundleFault {
  return new BundleFault("evidence", message);
}
