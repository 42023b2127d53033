import { existsSync, readFileSync } from "node:fs";
import { ConfigError } from "./config/error.js";
import { readConfigFile } from "./config/file.js";
import type { Given, GivenSettings } from "./config/file.js";
import { REFERENCE } from "./config/reference.js";
import { messageOf } from "./core/errors.js";
import { settings } from "./settings.js";
import type { Config, SettingName } from "./settings.js";

export type { Config } from "./settings.js";

/** What loading a configuration depends on. */
export interface ConfigOptions {
  /** The file to read, in place of CONFIG_FILE. */
  readonly file?: string | undefined;
  /** Whether a chain of the operator's needs a key: what only reads it does not. Default: true. */
  readonly needsKey?: boolean;
}

/** A configuration, and what of it somebody has set. */
export interface LoadedConfig {
  readonly config: Config;
  readonly given: GivenSettings;
}

/** The file that is read where none is named. */
const DEFAULT_FILE = "config.yaml";

/** Settings of the same key: one in the environment stands before both in the file. */
const KEY_SETTINGS: readonly SettingName[] = ["PRIVATE_KEY", "PRIVATE_KEY_FILE"];

/** Reads and checks environment and configuration file. Throws ConfigError. */
export function loadConfig(environment?: NodeJS.ProcessEnv, options?: ConfigOptions): Config {
  return loadSettings(environment, options).config;
}

/** Does what loadConfig does, and tells where each setting comes from. Throws ConfigError. */
export function loadSettings(
  environment: NodeJS.ProcessEnv = process.env,
  { file, needsKey = true }: ConfigOptions = {},
): LoadedConfig {
  const given = new Map(fromEnvironment(environment));
  const source = file === undefined ? (given.get("CONFIG_FILE") ?? defaultFile()) : named(file);
  if (source !== undefined) {
    const hasKey = KEY_SETTINGS.some((name) => given.has(name));
    for (const [name, setting] of readConfigFile(source.text)) {
      if (!given.has(name) && !(hasKey && KEY_SETTINGS.includes(name))) given.set(name, setting);
    }
    given.set("CONFIG_FILE", source);
  }
  const key = readKeyFile(given);
  if (key !== undefined) given.set("PRIVATE_KEY", key);
  const config = parse(given);
  checkTogether(config, given, needsKey);
  return { config, given };
}

/** Whether only this host can reach an address. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}

function named(file: string): Given {
  return { text: file, from: "--config", label: "--config" };
}

function defaultFile(): Given | undefined {
  if (!existsSync(DEFAULT_FILE)) return undefined;
  return { text: DEFAULT_FILE, from: "default", label: "CONFIG_FILE" };
}

/** The settings that the environment has; an empty variable is none. */
function fromEnvironment(environment: NodeJS.ProcessEnv): GivenSettings {
  const names = Object.keys(REFERENCE) as SettingName[];
  return new Map(
    names.flatMap((name): [SettingName, Given][] => {
      const text = environment[name]?.trim() ?? "";
      return text === "" ? [] : [[name, { text, from: "environment", label: name }]];
    }),
  );
}

/** The PRIVATE_KEY that PRIVATE_KEY_FILE has. Messages never tell of what is in it. */
function readKeyFile(given: GivenSettings): Given | undefined {
  const file = given.get("PRIVATE_KEY_FILE");
  if (file === undefined) return undefined;
  const label = `${file.label}: ${file.text}`;
  const key = given.get("PRIVATE_KEY");
  if (key !== undefined) throw new ConfigError(`${key.label}: unset it, or PRIVATE_KEY_FILE`);
  try {
    const text = readFileSync(file.text, "utf8").trim();
    if (text !== "") return { text, from: file.text, label };
  } catch (error) {
    throw new ConfigError(`${label}: cannot be read: ${messageOf(error)}`);
  }
  throw new ConfigError(`${label}: is empty, but must have the key`);
}

/** Checks each setting for itself. */
function parse(given: GivenSettings): Config {
  const texts = Object.fromEntries([...given].map(([name, { text }]) => [name, text]));
  const { data, error } = settings.safeParse(texts, {
    error: ({ path }) => `must be ${REFERENCE[path?.[0] as SettingName].values}`,
  });
  if (error === undefined) return Object.freeze(data);
  const problems = new Map<SettingName, string>();
  for (const { path, message } of error.issues) {
    const name = path[0] as SettingName;
    if (!problems.has(name)) problems.set(name, `${labelOf(given, name)}: ${message}`);
  }
  throw new ConfigError([...problems.values()].join("; "));
}

/** What a message about a setting begins with. */
function labelOf(given: GivenSettings, name: SettingName): string {
  return given.get(name)?.label ?? name;
}

const FOR_EXTERNAL_CHAIN = [
  "BLOCKCHAIN_WS_URL",
  "BLOCKCHAIN_CONTRACT_ADDRESS",
  "EVIDENCE_CONTRACT_ADDRESS",
  "SLA_CONTRACT_ADDRESS",
  "PRIVATE_KEY",
] as const;

const FOR_EMBEDDED_IPFS = ["IPFS_LISTEN", "IPFS_PEERS"] as const;

/** Checks what the settings are to each other. */
function checkTogether(config: Config, given: GivenSettings, needsKey: boolean): void {
  const refuse = (name: SettingName, message: string) => {
    throw new ConfigError(`${labelOf(given, name)}: ${message}`);
  };
  checkDoors(config, refuse);
  if (config.PORT === config.GRPC_PORT && config.PORT !== 0) {
    const [name, other] = given.has("GRPC_PORT")
      ? (["GRPC_PORT", "PORT"] as const)
      : (["PORT", "GRPC_PORT"] as const);
    refuse(name, `${config.PORT} is also ${other}: each door needs a port of its own`);
  }
  if (config.IPFS_API_URL !== undefined) {
    for (const name of FOR_EMBEDDED_IPFS) {
      if (!given.has(name)) continue;
      refuse(
        name,
        "is for the embedded IPFS node, which is not started where IPFS_API_URL is set: unset one of them",
      );
    }
  }
  if (config.DATABASE_URL !== undefined && config.DB_PATH !== undefined) {
    refuse(
      "DB_PATH",
      "is for SQLite, which is not used where DATABASE_URL is set: unset one of them",
    );
  }
  if (config.BLOCKCHAIN_RPC_URL === undefined) {
    for (const name of FOR_EXTERNAL_CHAIN) {
      if (config[name] === undefined) continue;
      refuse(name, "is for a chain of yours, so set BLOCKCHAIN_RPC_URL as well");
    }
    return;
  }
  for (const name of ["BLOCKCHAIN_CONTRACT_ADDRESS", "PRIVATE_KEY"] as const) {
    if (config[name] !== undefined || (name === "PRIVATE_KEY" && !needsKey)) continue;
    refuse(name, "must be set together with BLOCKCHAIN_RPC_URL");
  }
}

/** Whoever can reach the doors must be wanted there. */
function checkDoors(
  { HOST: host, EXPOSE_API: exposes, API_TOKENS: tokens }: Config,
  refuse: (name: SettingName, message: string) => void,
): void {
  if (isLoopback(host)) return;
  if (!exposes) {
    refuse("HOST", `${host} can be reached by others, which EXPOSE_API=false forbids: unset one`);
  }
  if (tokens.length > 0) return;
  refuse("HOST", `${host} can be reached by others, so API_TOKENS must have at least one token`);
}
