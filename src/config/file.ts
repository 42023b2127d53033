import { readFileSync, statSync } from "node:fs";
import { isMap, isScalar, isSeq, LineCounter, parseDocument } from "yaml";
import type { ParsedNode, YAMLError, YAMLMap } from "yaml";
import { messageOf } from "../core/errors.js";
import type { SettingName } from "../settings.js";
import { ConfigError } from "./error.js";
import { nearest } from "./nearest.js";
import { isOffOr, PLUGIN_KEYS } from "./plugin-keys.js";
import { REFERENCE } from "./reference.js";

/** A setting as somebody has set it. */
export interface Given {
  /** Its value, as the environment would have it. */
  readonly text: string;
  /** Where it was set: `environment`, or a file and the line in it. */
  readonly from: string;
  /** What messages begin with that are about it. */
  readonly label: string;
}

/** Settings by their names. */
export type GivenSettings = ReadonlyMap<SettingName, Given>;

/** Far more than any configuration has. */
const MOST_BYTES = 64 * 1024;

/** The keys of a file and the settings that they set. A file does not name the file to read. */
const KEYS = new Map(
  (Object.keys(REFERENCE) as SettingName[])
    .filter((name) => name !== "CONFIG_FILE")
    .map((name) => [name.toLowerCase(), name]),
);

/** Reads the settings of a YAML file. Throws ConfigError, with file and line of everything that is wrong. */
export function readConfigFile(file: string): GivenSettings {
  const lines = new LineCounter();
  const at = ([offset]: readonly number[]) => `${file}:${lines.linePos(offset ?? 0).line}`;
  const root = parse(file, lines, at);
  const given = new Map<SettingName, Given>();
  const problems: string[] = [];
  for (const { key, value } of root?.items ?? []) {
    const from = at(key.range);
    const name = isScalar(key) ? String(key.value) : "a key that is no word";
    const label = `${from}: ${name}`;
    const read = readPair(name, value);
    if ("problem" in read) problems.push(`${label}: ${read.problem}`);
    else if (read.setting !== undefined && read.text !== "") {
      given.set(read.setting, { text: read.text, from, label });
    }
  }
  if (problems.length > 0) throw new ConfigError(problems.join("; "));
  return given;
}

type Root = YAMLMap.Parsed<ParsedNode, ParsedNode | null>;

/** The mapping that a file is; undefined where it is empty. */
function parse(
  file: string,
  lines: LineCounter,
  at: (range: readonly number[]) => string,
): Root | undefined {
  const text = readText(file);
  const document = parsed(file, text, lines);
  const [error] = [...document.errors, ...document.warnings];
  if (error !== undefined) throw new ConfigError(`${at(error.pos)}: ${problemOf(error, text)}`);
  const { contents } = document;
  if (contents === null || (isScalar(contents) && contents.value === null)) return undefined;
  if (isMap(contents)) return contents;
  throw new ConfigError(
    `${at(contents.range)}: must be lines of a setting and its value, such as grpc_port: 50051`,
  );
}

function parsed(file: string, text: string, lineCounter: LineCounter) {
  try {
    return parseDocument(text, { lineCounter, prettyErrors: false });
  } catch {
    throw new ConfigError(`${file}: cannot be read as YAML: it nests too deep`);
  }
}

function readText(file: string): string {
  const unreadable = (why: string) => new ConfigError(`${file}: cannot be read: ${why}`);
  let bytes: Buffer;
  try {
    const found = statSync(file);
    if (found.isDirectory()) throw unreadable("it is a folder");
    if (found.size > MOST_BYTES) throw unreadable("it is larger than 64 KiB");
    bytes = readFileSync(file);
  } catch (error) {
    throw error instanceof ConfigError ? error : unreadable(messageOf(error));
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw unreadable("it is not UTF-8");
  }
}

/** What YAML itself finds fault with. Its own words may quote the file, and so a secret. */
function problemOf({ code, pos: [start] }: YAMLError, text: string): string {
  if (code === "DUPLICATE_KEY") return `${/^[\w-]*/.exec(text.slice(start))}: is set twice`;
  if (code === "TAB_AS_INDENT") return "is indented with a tab: use spaces";
  return `is not YAML (${code.toLowerCase().replaceAll("_", " ")})`;
}

/** What a pair of a file comes to: a setting with its text, nothing, or what is wrong with it. */
type Pair =
  | { readonly setting: SettingName; readonly text: string }
  | { readonly setting: undefined }
  | { readonly problem: string };

function readPair(key: string, value: ParsedNode | null): Pair {
  const setting = KEYS.get(key);
  if (setting !== undefined) return readSetting(setting, value);
  const plugin = Object.hasOwn(PLUGIN_KEYS, key) ? PLUGIN_KEYS[key] : undefined;
  if (plugin === undefined) {
    const meant = nearest(key, [...KEYS.keys(), ...Object.keys(PLUGIN_KEYS)]);
    const hint = meant === undefined ? "docs/configuration.md lists all" : `did you mean ${meant}?`;
    return { problem: `is no setting: ${hint}` };
  }
  if (plugin.fate !== "only off") return { setting: undefined };
  const text = textOf(value) ?? (isSeq(value) && value.items.length === 0 ? "" : undefined);
  const isAccepted = text !== undefined && isOffOr(plugin.alsoAccepted, text);
  return isAccepted ? { setting: undefined } : { problem: plugin.reason };
}

function readSetting(setting: SettingName, value: ParsedNode | null): Pair {
  const text = textOf(value);
  if (text !== undefined) return { setting, text };
  const { isList, values } = REFERENCE[setting];
  if (!isList) return { problem: `must be ${values}` };
  if (!isSeq(value)) return { problem: "must be a list" };
  const items = value.items.map(textOf);
  if (items.length === 0) return { problem: "must have an item, or be left out for its default" };
  if (items.some((item) => item === undefined || item === "" || item.includes(","))) {
    return { problem: "each item must be a text without a comma" };
  }
  return { setting, text: items.join(",") };
}

/** A single value as it stands in the file, so that hex digits and zeros stay what they are. */
function textOf(value: ParsedNode | null): string | undefined {
  if (value === null) return "";
  if (!isScalar(value)) return undefined;
  const { value: found, source } = value;
  if (found === null) return "";
  if (typeof found === "string") return found.trim();
  return typeof found === "number" || typeof found === "boolean" ? source : undefined;
}
