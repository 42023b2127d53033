import { fromJson, toJson } from "@bufbuild/protobuf";
import type { JsonValue } from "@bufbuild/protobuf";
import canonicalize from "canonicalize";
import { GetReceiptResponseSchema } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { ReceiptSchema } from "../../gen/ts/anchord/v1/receipt_pb.js";
import type { Receipt } from "../../gen/ts/anchord/v1/receipt_pb.js";

/**
 * Reads a receipt's JSON as docs/receipts.md specifies it: the proto3 JSON of a GetReceiptResponse or
 * of a Receipt alone, and no other way to write the same. Throws an Error that says what is wrong; a
 * check then fails at its step "format".
 */
export function receiptFromJson(text: string): Receipt {
  const json = JSON.parse(text) as JsonValue;
  const isObject = typeof json === "object" && json !== null && !Array.isArray(json);
  if (!isObject) throw new Error("a receipt is a JSON object");
  if (!("receipt" in json)) {
    const receipt = fromJson(ReceiptSchema, json);
    requireSame(json, toJson(ReceiptSchema, receipt));
    return requireWholeSeconds(receipt);
  }
  const response = fromJson(GetReceiptResponseSchema, json);
  requireSame(json, toJson(GetReceiptResponseSchema, response));
  if (response.receipt === undefined) throw new Error("there is no receipt");
  return requireWholeSeconds(response.receipt);
}

/** Decoders of proto3 JSON are lenient; what they would not write themselves is refused. */
function requireSame(given: JsonValue, written: JsonValue): void {
  if (canonicalize(given) !== canonicalize(written)) {
    throw new Error("the JSON is not what proto3 JSON writes for this receipt");
  }
}

function requireWholeSeconds(receipt: Receipt): Receipt {
  if ((receipt.anchor?.blockTime?.nanos ?? 0) === 0) return receipt;
  throw new Error("anchor.blockTime has a fraction of a second");
}
