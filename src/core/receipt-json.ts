import { GetReceiptResponseSchema } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { ReceiptSchema } from "../../gen/ts/anchord/v1/receipt_pb.js";
import type { Receipt } from "../../gen/ts/anchord/v1/receipt_pb.js";
import { jsonObject, strictFromJson } from "./strict-json.js";

/**
 * Reads a receipt's JSON as docs/receipts.md specifies it: the proto3 JSON of a GetReceiptResponse or
 * of a Receipt alone, and no other way to write the same. Throws an Error that says what is wrong; a
 * check then fails at its step "format".
 */
export function receiptFromJson(text: string): Receipt {
  const json = jsonObject(text, "receipt");
  if (!("receipt" in json)) {
    return requireWholeSeconds(strictFromJson(ReceiptSchema, json, "receipt"));
  }
  const { receipt } = strictFromJson(GetReceiptResponseSchema, json, "receipt");
  if (receipt === undefined) throw new Error("there is no receipt");
  return requireWholeSeconds(receipt);
}

/** A receipt whose block time has no fraction of a second. Throws an Error for others. */
export function requireWholeSeconds(receipt: Receipt): Receipt {
  if ((receipt.anchor?.blockTime?.nanos ?? 0) === 0) return receipt;
  throw new Error("anchor.blockTime has a fraction of a second");
}
