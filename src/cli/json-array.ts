import type { JsonValue } from "@bufbuild/protobuf";
import { safeJson } from "./columns.js";
import type { Output } from "./write-output.js";

/** Writes values as one JSON array, each on a line, as they come. */
export async function jsonArray(output: Output, values: AsyncIterable<JsonValue>): Promise<void> {
  let before = "[\n";
  for await (const value of values) {
    await output.write(before + safeJson(value));
    before = ",\n";
  }
  await output.write(before === "[\n" ? "[]\n" : "\n]\n");
}
