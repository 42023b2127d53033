import { timeText } from "../core/bundle.js";
import { messageOf } from "../core/errors.js";
import { logIdOf } from "../core/head.js";
import { receiptFromJson } from "../core/receipt-json.js";
import { checkReceipt } from "../core/receipt.js";
import { chainAt } from "./chain.js";
import { entryFields, entryText } from "./entry-text.js";
import { trustedWords } from "./trust.js";
import type { VerifyOptions } from "./trust.js";
import type { VerifyResult } from "./verify-result.js";

/** Checks the JSON of a receipt. Rejects when the chain is out of reach. */
export async function verifyReceipt(text: string, options: VerifyOptions): Promise<VerifyResult> {
  const { rpc, chainId, contract, log: name, difficulty } = options;
  let receipt;
  try {
    receipt = receiptFromJson(text);
  } catch (error) {
    return { verdict: "FALSE", failedStep: "format", message: messageOf(error) };
  }
  const log = name === undefined ? undefined : logIdOf(name);
  const expected = { chainId, contract, log, difficulty };
  const check = await checkReceipt(receipt, await chainAt(rpc), expected);
  if (check.verdict === "invalid") {
    return { verdict: "FALSE", failedStep: check.step, message: check.message };
  }
  const { id, entry } = check;
  const lines = [entryText(entry)];
  const record = { id, ...entryFields(entry) };
  if (check.verdict === "not-anchored") {
    const message = `record ${id} had no proof yet when this was made: fetch it again`;
    return { verdict: "NOT_ANCHORED", lines, found: { record }, messages: [message] };
  }
  const { time } = check.batch;
  return {
    verdict: "VALID",
    lines,
    found: { record, block_time: timeText(Number(time)) },
    message: `record ${id} is on the chain since ${new Date(Number(time) * 1000).toISOString()}`,
    trusted: trustedWords(options, "receipt"),
  };
}
