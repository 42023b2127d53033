import { fromJson, toJson } from "@bufbuild/protobuf";
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import canonicalize from "canonicalize";
import { ReceiptSchema } from "../../gen/ts/anchord/v1/receipt_pb.js";
import type { Receipt } from "../../gen/ts/anchord/v1/receipt_pb.js";
import { messageOf } from "./errors.js";

/**
 * Reads a receipt from its JSON, alone or under `receipt` in the answer of a call. Only the canonical
 * form passes, so that a changed character never goes unseen. Returns what is wrong otherwise.
 */
export function parseReceipt(text: string): Receipt | string {
  try {
    const json = unwrapped(JSON.parse(text) as JsonValue);
    const receipt = fromJson(ReceiptSchema, json);
    if (canonicalize(toJson(ReceiptSchema, receipt)) !== canonicalize(json)) {
      return "the JSON is not in canonical form: take it as the service gave it";
    }
    return receipt;
  } catch (error) {
    return `not the JSON of a receipt: ${messageOf(error)}`;
  }
}

function unwrapped(json: JsonValue): JsonValue {
  const inner = (json as JsonObject | null)?.["receipt"];
  return inner ?? json;
}
