import { fromJson } from "@bufbuild/protobuf";
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { InvalidArgumentError, Option } from "commander";
import { messageOf } from "../core/errors.js";
import { durationSeconds } from "../core/iso-duration.js";

/** How a command prints what it found. */
export type Format = "json" | "table";

/** The option by which a command is told of its format. */
export function formatOption(): Option {
  return new Option("--format <format>", "one JSON object a line, or columns")
    .choices(["json", "table"])
    .default(process.stdout.isTTY ? "table" : "json", "table on a terminal, else json");
}

/** A number above 0. */
export function positive(text: string): number {
  if (!/^[1-9][0-9]{0,14}$/.test(text)) throw new InvalidArgumentError("must be a positive number");
  return Number(text);
}

/** A moment, such as 2026-02-01T12:00:00Z. */
export function moment(text: string): Timestamp {
  try {
    return fromJson(TimestampSchema, text);
  } catch {
    throw new InvalidArgumentError("must be a time such as 2026-02-01T12:00:00Z");
  }
}

/** An ISO 8601 duration, such as PT48H. */
export function duration(text: string): Duration {
  try {
    return fromJson(DurationSchema, `${durationSeconds(text)}s`);
  } catch (error) {
    throw new InvalidArgumentError(messageOf(error));
  }
}

/** ISO 8601 durations, separated by commas. */
export function durations(text: string): Duration[] {
  return text.split(",").map((each) => duration(each.trim()));
}

/** A parser of one of some words, in upper or lower case, to what each stands for. */
export function choice<T>(choices: Readonly<Record<string, T>>): (text: string) => T {
  const words = Object.keys(choices);
  const wanted = `must be ${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
  return (text) => {
    const word = text.toLowerCase();
    if (!words.includes(word)) throw new InvalidArgumentError(wanted);
    return choices[word] as T;
  };
}
