import { create, toJson } from "@bufbuild/protobuf";
import type { DescMessage, JsonObject, Message, MessageInitShape } from "@bufbuild/protobuf";
import { EntrySchema } from "../../gen/ts/anchord/v1/receipt_pb.js";
import type { Body } from "./record.js";

/** The messages of bodies, by the names of their fields. */
const BODIES: ReadonlyMap<string, DescMessage> = new Map(
  EntrySchema.fields.flatMap(({ oneof, message, localName }) =>
    oneof?.name === "body" && message !== undefined ? [[localName, message]] : [],
  ),
);

/** What a body says, by the proto names of its fields and the words of enums; of a custom one, what the caller gave. */
export function bodyJson(body: Body): JsonObject {
  if (body.case === "custom") return body.value.data ?? {};
  const schema = BODIES.get(body.case);
  if (schema === undefined) throw new Error(`a record has no body ${body.case}`);
  const message = create(schema, body.value as MessageInitShape<DescMessage>);
  const json = toJson(schema, message, { useProtoFieldName: true, alwaysEmitImplicit: true });
  return { ...(json as JsonObject), ...enumsOf(schema, message) };
}

/** Enums by the words that people use: SIDE_BUY becomes "buy", and what is not set null. */
function enumsOf(schema: DescMessage, message: Message): JsonObject {
  const values = message as unknown as Readonly<Record<string, number>>;
  return Object.fromEntries(
    schema.fields
      .filter((field) => field.fieldKind === "enum")
      .map((field) => {
        const number = values[field.localName] ?? 0;
        const word = field.enum?.value[number]?.localName.toLowerCase() ?? null;
        return [field.name, number === 0 ? null : word];
      }),
  );
}
