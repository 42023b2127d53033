import type { JsonValue } from "@bufbuild/protobuf";
import { InvalidArgumentError } from "commander";
import { parseDocument } from "yaml";
import { messageOf } from "../core/errors.js";

/** Strings, which are passed over, and numbers. */
const TOKENS = /"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*/g;

/**
 * JSON of which every number is kept as it is written. Throws InvalidArgumentError where the text is no JSON,
 * or a number has more digits than a double holds.
 */
export function exactJson(text: string): JsonValue {
  let json: JsonValue;
  try {
    json = JSON.parse(text) as JsonValue;
  } catch (error) {
    throw new InvalidArgumentError(`it is no JSON: ${messageOf(error)}`);
  }
  // JSON is YAML, whose parser notices what JSON.parse drops.
  const isTwice = parseDocument(text).errors.some(({ code }) => code === "DUPLICATE_KEY");
  if (isTwice)
    throw new InvalidArgumentError("a key stands twice in one object: which one counts?");
  for (const [token] of text.matchAll(TOKENS)) {
    if (!token.startsWith('"')) requireExact(token);
  }
  return json;
}

/** Throws InvalidArgumentError where a double does not hold a decimal number to its last digit. */
export function requireExact(decimal: string): void {
  const kept = String(Number(decimal));
  if (canonical(decimal) === canonical(kept)) return;
  const advice = "round it, or write it as a string within details";
  throw new InvalidArgumentError(`${decimal} would be kept as ${kept}: ${advice}`);
}

/** Digits and exponent of a number, the same however it is written. */
function canonical(decimal: string): string {
  const found = /^([+-]?)([0-9]*)\.?([0-9]*)(?:[eE]([+-]?[0-9]+))?$/.exec(decimal.trim());
  if (found === null) return decimal;
  const [, sign, whole = "", fraction = "", exponent = "0"] = found;
  const digits = `${whole}${fraction}`.replace(/^0+/, "");
  const significant = digits.replace(/0+$/, "");
  if (significant === "") return "0";
  const power = Number(exponent) - fraction.length + digits.length - significant.length;
  return `${sign === "-" ? "-" : ""}${significant}e${power}`;
}
