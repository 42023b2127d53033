import type { MessageInitShape } from "@bufbuild/protobuf";
import { create, toJson } from "@bufbuild/protobuf";
import canonicalize from "canonicalize";
import { GetReceiptResponseSchema } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import type { Entry, Receipt } from "../../gen/ts/anchord/v1/receipt_pb.js";
import { sameBytes, sha256, ZERO32 } from "./bytes.js";
import { BundleFault } from "./bundle.js";
import { messageOf } from "./errors.js";
import { receiptFromJson } from "./receipt-json.js";
import { chainThrough, checkReceipt, isBare } from "./receipt.js";
import type { ExpectedLog, ReceiptChain } from "./receipt.js";
import { decodeEntry } from "./record.js";
import { SharedCache } from "./shared-cache.js";
import { trailLeaf } from "./trail.js";

/** How many receipts are compared with the chain at once. */
const AT_ONCE = 16;

/** How many answers of the chain are remembered: receipts of one batch ask for the same. */
const REMEMBERED = 1_000;

/** A receipt as a bundle writes it, without the line feed behind it. */
export function receiptText(response: MessageInitShape<typeof GetReceiptResponseSchema>): string {
  const json = toJson(GetReceiptResponseSchema, create(GetReceiptResponseSchema, response));
  return canonicalize(json) as string;
}

/** A receipt of a bundle. */
export interface BundleReceipt {
  readonly receipt: Receipt;
  readonly entry: Entry;
}

/** Reads a receipt of a bundle, which has one form. Throws an Error that says what is wrong. */
export function parseReceipt(text: string): BundleReceipt {
  const receipt = receiptFromJson(text);
  const json = JSON.parse(text) as { readonly state?: unknown };
  if (canonicalize(json) !== text) throw new Error("it is not RFC 8785 JSON");
  const states = isBare(receipt)
    ? ["RECORD_STATE_ACCEPTED"]
    : ["RECORD_STATE_ANCHORED", "RECORD_STATE_FINAL"];
  if (states.includes(json.state as string)) return { receipt, entry: decodeEntry(receipt.entry) };
  throw new Error(`its state must be ${states.join(" or ")}`);
}

/** The same chain, which is asked only once for what many receipts ask for. */
export function rememberingChain(chain: ReceiptChain): ReceiptChain {
  const answers = new SharedCache<unknown>(REMEMBERED, () => 1);
  return chainThrough(chain, (key, ask) => answers.get(key, ask) as ReturnType<typeof ask>);
}

/** How much of a trail is proven. */
export interface CheckedTrail {
  /** Records that are on the chain: the first of the trail, without a gap. */
  readonly sealed: number;
  /** Records behind those, which nothing proves yet. */
  readonly accepted: number;
}

/** What a trail must belong to. */
export interface TrailOf {
  readonly subject: string;
  /** The text of receipt.json without its line feed: it must be one of the trail's lines. */
  readonly own: string;
  readonly expected: ExpectedLog;
  readonly chain: ReceiptChain;
}

/** Checks a trail line by line. Nothing but what the next line needs is kept. */
export class TrailCheck {
  readonly #of: TrailOf;
  #expected: ExpectedLog;
  #sealed = 0;
  #accepted = 0;
  #own = 0;
  #previousLeaf: Uint8Array = ZERO32;
  readonly #checks: Promise<void>[] = [];

  constructor(of: TrailOf) {
    this.#of = of;
    this.#expected = of.expected;
  }

  /** Takes the next line, without its line feed. Throws BundleFault; rejects as the chain does. */
  async take(line: string): Promise<void> {
    const at = this.#sealed + this.#accepted;
    const { receipt, entry } = readLine(line, at);
    if (entry.subject !== this.#of.subject) {
      throw fault(at, `it is of subject "${entry.subject}"`);
    }
    if (line === this.#of.own) this.#own++;
    if (isBare(receipt)) {
      this.#accepted++;
      return;
    }
    if (this.#accepted > 0) throw fault(at, "it is sealed, and the one before it is not");
    this.#link(receipt, at);
    this.#checks.push(this.#check(receipt, at));
    if (this.#checks.length >= AT_ONCE) await this.#checks.shift();
  }

  /** Throws BundleFault unless the trail is whole; rejects as the chain does. */
  async end(): Promise<CheckedTrail> {
    await Promise.all(this.#checks);
    if (this.#own === 1) return { sealed: this.#sealed, accepted: this.#accepted };
    throw new BundleFault("trail", `receipt.json stands in it ${this.#own} times, and must once`);
  }

  /** Whether a record stands where it says, behind the leaf of the one before it. */
  #link({ entry, trail, identity }: Receipt, at: number): void {
    const index = trail?.index;
    if (index !== BigInt(at)) throw fault(at, `it says to be record ${index} of its trail`);
    if (trail === undefined || !sameBytes(trail.previousLeaf, this.#previousLeaf)) {
      throw fault(at, "it does not follow the record before it");
    }
    this.#previousLeaf = trailLeaf(sha256(entry), at, this.#previousLeaf);
    this.#sealed++;
    if (identity === undefined || at > 0) return;
    const { chainId, contract, log } = identity;
    this.#expected = { chainId, contract, log, ...definedIn(this.#of.expected) };
  }

  #check(receipt: Receipt, at: number): Promise<void> {
    const check = checkReceipt(receipt, this.#of.chain, this.#expected).then((found) => {
      if (found.verdict !== "invalid") return;
      throw new BundleFault(`trail/${found.step}`, `record ${at}: ${found.message}`);
    });
    check.catch(() => undefined); // it is told when it is this one's turn
    return check;
  }
}

function definedIn(expected: ExpectedLog): ExpectedLog {
  return Object.fromEntries(Object.entries(expected).filter(([, value]) => value !== undefined));
}

function readLine(line: string, at: number): BundleReceipt {
  try {
    return parseReceipt(line);
  } catch (error) {
    throw fault(at, messageOf(error));
  }
}

function fault(at: number, message: string): BundleFault {
  return new BundleFault("trail", `record ${at}: ${message}`);
}
