import type { JsonObject } from "@bufbuild/protobuf";
import type { TextFormat } from "./arguments.js";
import { jsonLine } from "./columns.js";
import { ExitCode } from "./exit-code.js";
import { printable } from "./printable.js";

/** What checking a file has found. */
export type VerifyResult =
  | (Found & {
      readonly verdict: "VALID";
      readonly message: string;
      /** Whose word that rests on. */
      readonly trusted: readonly string[];
    })
  | (Found & {
      readonly verdict: "NOT_ANCHORED";
      /** What the chain does not prove yet. */
      readonly messages: readonly string[];
    })
  | {
      readonly verdict: "FALSE";
      /** The first step that does not hold. */
      readonly failedStep: string;
      readonly message: string;
    };

interface Found {
  /** What was found, a fact a line, safe to show. */
  readonly lines: readonly string[];
  /** The same, by name: the record at least. */
  readonly found: JsonObject & { readonly record: JsonObject };
}

const EXIT_CODES = {
  VALID: ExitCode.ok,
  FALSE: ExitCode.broken,
  NOT_ANCHORED: ExitCode.notAnchored,
} as const;

/** Prints what was found, and returns the exit code. */
export function printResult(result: VerifyResult, format: TextFormat): number {
  const text = format === "json" ? jsonLine(jsonOf(result)) : `${linesOf(result).join("\n")}\n`;
  process.stdout.write(text);
  return EXIT_CODES[result.verdict];
}

function linesOf(result: VerifyResult): readonly string[] {
  switch (result.verdict) {
    case "VALID": {
      const { lines, message, trusted } = result;
      return [...lines, `VALID: ${printable(message)}`, `Trusted: ${trusted.join(", and ")}`];
    }
    case "NOT_ANCHORED": {
      const { lines, messages } = result;
      return [...lines, ...messages.map((message) => `NOT ANCHORED: ${printable(message)}`)];
    }
    case "FALSE":
      return [`FALSE at step ${result.failedStep}: ${printable(result.message)}`];
  }
}

/** By the names that examples/verify.py uses, as far as it has them. */
function jsonOf(result: VerifyResult): JsonObject {
  const { verdict } = result;
  return {
    verdict,
    failed_step: verdict === "FALSE" ? result.failedStep : null,
    message: verdict === "NOT_ANCHORED" ? result.messages.join("; ") : result.message,
    record: null,
    block_time: null,
    ...(verdict === "FALSE" ? {} : result.found),
    trusted: verdict === "VALID" ? [...result.trusted] : [],
  };
}
