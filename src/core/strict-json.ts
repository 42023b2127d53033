import { fromJson, toJson } from "@bufbuild/protobuf";
import type { DescMessage, JsonObject, JsonValue, MessageShape } from "@bufbuild/protobuf";
import canonicalize from "canonicalize";

/** The JSON object in a text. Throws an Error that calls it by this name where there is another value. */
export function jsonObject(text: string, name: string): JsonObject {
  const json = JSON.parse(text) as JsonValue;
  if (typeof json === "object" && json !== null && !Array.isArray(json)) return json;
  throw new Error(`a ${name} is a JSON object`);
}

/**
 * A message from the one proto3 JSON that there is of it. Decoders are lenient: what they would not write
 * themselves is refused. Throws an Error that calls it by this name.
 */
export function strictFromJson<Desc extends DescMessage>(
  schema: Desc,
  json: JsonObject,
  name: string,
): MessageShape<Desc> {
  const message = fromJson(schema, json);
  if (canonicalize(json) === canonicalize(toJson(schema, message))) return message;
  throw new Error(`the JSON is not what proto3 JSON writes for this ${name}`);
}
