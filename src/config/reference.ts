import { z } from "zod";
import { settings } from "../settings.js";
import type { SettingName } from "../settings.js";

/** What people are told of a setting. */
export interface Reference {
  readonly meaning: string;
  /** What it may be, to follow on "must be". */
  readonly values: string;
  /** What it is where it is not set, as it would be written; empty where nothing is set then. */
  readonly fallback: string;
  /** Whether it may have several items, separated by commas, or as a list in YAML. */
  readonly isList: boolean;
  /** What of it nobody may see: all, or of an address the password, or also user, path and query. */
  readonly secret: "all" | "password" | "path" | undefined;
}

/** A setting's schema as JSON has it, with the metadata of settings.ts. */
interface Schema {
  readonly description?: string;
  readonly default?: unknown;
  readonly type?: string;
  readonly format?: string;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly values?: string;
  readonly fallback?: string;
  readonly list?: boolean;
  readonly secret?: Reference["secret"];
}

/** Every setting, as the documentation and the messages describe it. */
export const REFERENCE: Readonly<Record<SettingName, Reference>> = referenceOf(
  z.toJSONSchema(settings, { io: "input" }).properties as Record<SettingName, Schema>,
);

function referenceOf(schemas: Readonly<Record<SettingName, Schema>>) {
  const entries = Object.entries(schemas).map(([name, schema]): [string, Reference] => [
    name,
    {
      meaning: schema.description ?? "",
      values: schema.values ?? valuesOf(schema),
      fallback: schema.fallback ?? String(schema.default ?? ""),
      isList: schema.list ?? false,
      secret: schema.secret,
    },
  ]);
  return Object.fromEntries(entries) as Record<SettingName, Reference>;
}

function valuesOf(schema: Schema): string {
  const { type, enum: choices, minimum, maximum, minLength, maxLength, format } = schema;
  if (choices !== undefined) return `one of ${choices.join(", ")}`;
  if (type === "integer") return `a whole number from ${minimum} to ${maximum}`;
  if (type === "number") return `a number from ${minimum} to ${maximum}`;
  if (format === "uri") return "an http or https address";
  if (maxLength !== undefined) return `text of ${minLength ?? 0} to ${maxLength} characters`;
  return "text";
}
