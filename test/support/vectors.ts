import { readFileSync } from "node:fs";
import type { ChainScript } from "./scripted-chain.js";
import type { ExpectedLog, ReceiptCheck, Step } from "../../src/core/receipt.js";
import { checkReceipt } from "../../src/core/receipt.js";
import { logIdOf } from "../../src/core/head.js";
import { chainOf } from "./scripted-chain.js";
import { receiptFromJson } from "../../src/core/receipt-json.js";
import { messageOf } from "../../src/core/errors.js";

/** What the one who checks says about the log that they expect. */
export interface Expectation {
  readonly chainId?: string;
  readonly contract?: string;
  /** The log's name. */
  readonly log?: string;
  /** Zero hex digits that the batch's head must start with. */
  readonly difficulty?: number;
}

/** A receipt with the verdict that every verifier must give. */
export interface ReceiptVector {
  readonly name: string;
  readonly verdict: ReceiptCheck["verdict"];
  readonly failedStep: Step | null;
  readonly exitCode: number;
  readonly chain: string;
  readonly expect: Expectation;
  readonly receipt: unknown;
}

/** docs/vectors/receipts.json. */
export interface Vectors {
  readonly entries: readonly { name: string; hex: string; id: string; fields: unknown }[];
  readonly refusedEntries: readonly { name: string; why: string; hex: string }[];
  readonly trailLeaves: readonly {
    entry: string;
    entryHash: string;
    index: string;
    previousLeaf: string;
    leaf: string;
  }[];
  readonly trees: readonly { leaves: string[]; root: string; paths: string[][] }[];
  readonly logIds: readonly { name: string; log: string }[];
  readonly genesisHeads: readonly {
    chainId: string;
    contract: string;
    log: string;
    head: string;
  }[];
  readonly nextHeads: readonly {
    head: string;
    number: string;
    root: string;
    size: string;
    manifestDigest: string;
    trailsRoot: string;
    nonce: string;
    next: string;
  }[];
  readonly selectors: Readonly<Record<string, string>>;
  readonly chains: Readonly<Record<string, ChainScript>>;
  readonly receipts: readonly ReceiptVector[];
}

/** The file's path from the repository's root, where the tests run. */
export const vectors = JSON.parse(readFileSync("docs/vectors/receipts.json", "utf8")) as Vectors;

/** The receipt vector of that name. */
export function receiptVector(name: string): ReceiptVector {
  const found = vectors.receipts.find((vector) => vector.name === name);
  if (found === undefined) throw new Error(`there is no receipt vector ${name}`);
  return found;
}

/** Checks a receipt's JSON text against a scripted chain, as a verifier does. */
export async function checkText(
  text: string,
  chain: ChainScript,
  expect: Expectation = {},
): Promise<ReceiptCheck> {
  let receipt;
  try {
    receipt = receiptFromJson(text);
  } catch (error) {
    return { verdict: "invalid", step: "format", message: messageOf(error) };
  }
  const expected: ExpectedLog = {
    chainId: expect.chainId === undefined ? undefined : BigInt(expect.chainId),
    contract: expect.contract,
    log: expect.log === undefined ? undefined : logIdOf(expect.log),
    difficulty: expect.difficulty,
  };
  return checkReceipt(receipt, chainOf(chain), expected);
}

/** The chain script that a receipt vector asks for. */
export function chainScript(name: string): ChainScript {
  const found = vectors.chains[name];
  if (found === undefined) throw new Error(`there is no chain ${name}`);
  return found;
}
