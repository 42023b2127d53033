import { fromJson } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { InvalidArgumentError, Option } from "commander";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import { messageOf } from "../core/errors.js";
import { durationSeconds } from "../core/iso-duration.js";

/** How a command prints what it found. */
export type Format = "json" | "table";

/** How a command prints what it found that people read in pipes as well. */
export type TextFormat = "json" | "text";

/** The option by which a command is told of its format; `readable` is what it calls the one for people. */
export function formatOption(
  description = "one JSON object a line, or columns",
  readable = "table",
): Option {
  return new Option("--format <format>", description)
    .choices(["json", readable])
    .default(process.stdout.isTTY ? readable : "json", `${readable} on a terminal, else json`);
}

/** The option by which a command is told of its format that people read the result of, in pipes as well. */
export function textFormatOption(): Option {
  return new Option("--format <format>", "lines as people read them, or a JSON object")
    .choices(["text", "json"])
    .default("text", "text, in pipes as well");
}

/** The configuration file that a command was told of. */
export interface ConfigFileOption {
  readonly config?: string;
}

/** The option by which a command that reads the settings is told of a configuration file. */
export function configOption(): Option {
  return new Option(
    "--config <file>",
    "configuration file (default: CONFIG_FILE, else ./config.yaml where there is one)",
  );
}

/** The option by which a command is told of its format, where it prints one object. */
export function objectFormatOption(): Option {
  return formatOption("a JSON object, or a line for each of its members");
}

/** The option by which a command is told how long to wait. */
export function waitOption(state: RecordState): Option {
  const name = (RecordState[state] ?? "").toLowerCase();
  return new Option(
    "--wait <state>",
    "wait, up to a minute, until it is accepted, anchored or final",
  )
    .default(state, name)
    .argParser(recordState);
}

const recordState = choice({
  accepted: RecordState.ACCEPTED,
  anchored: RecordState.ANCHORED,
  final: RecordState.FINAL,
});

/** A number above 0. */
export function positive(text: string): number {
  if (!/^[1-9][0-9]{0,14}$/.test(text)) throw new InvalidArgumentError("must be a positive number");
  return Number(text);
}

/** A number from 0 on. */
export function natural(text: string): number {
  if (!/^[0-9]{1,15}$/.test(text)) throw new InvalidArgumentError("must be a number from 0 on");
  return Number(text);
}

/** A SHA-256, such as the id of a record: 64 hex digits. */
export function digest(text: string): string {
  if (!/^(0x)?[0-9a-fA-F]{64}$/.test(text)) {
    throw new InvalidArgumentError("must be 64 hex digits");
  }
  return text.slice(-64).toLowerCase();
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
