import type { Config, SettingName } from "../settings.js";
import { REFERENCE } from "./reference.js";

/** What stands in place of a secret. */
const HIDDEN = "[secret]";

/** The value of a setting as anybody may see it. */
export function masked(name: SettingName, text: string): string {
  const { secret } = REFERENCE[name];
  if (secret === undefined || text === "") return text;
  const url = secret === "all" ? undefined : addressOf(text);
  if (url === undefined) return HIDDEN;
  const hide = (part: string, all = true) => (part !== "" && all ? HIDDEN : part);
  const user = hide(url.username, secret === "path");
  const password = url.password === "" ? "" : `:${HIDDEN}`;
  const path = hide(url.pathname.slice(1), secret === "path");
  const query = url.search === "" ? "" : `?${HIDDEN}`;
  const at = user + password === "" ? "" : "@";
  return `${url.protocol}//${user}${password}${at}${url.host}/${path}${query}`;
}

/** A secret that is shorter stands in ordinary words as well, and keeps nobody out. */
const SHORTEST = 8;

/** What a text must not have that the settings do not tell of: credentials in headers and addresses. */
const CREDENTIALS = [
  /(?<=\bbearer )[!-~]{8,}/gi,
  /(?<=\bBasic )[\w+/=]{8,}/g,
  /(?<=:\/\/[^\s/:@"]*:)[^\s/@"]+(?=@)/g,
];

/** A function that replaces every secret of a configuration, and every credential, in a text. */
export function hiderOf(config: Config): (text: string) => string {
  const secrets = secretsOf(config).map((secret) => secret.replace(/[^\w]/g, "\\$&"));
  const known = secrets.length === 0 ? [] : [new RegExp(secrets.join("|"), "gi")];
  return (text) =>
    [...known, ...CREDENTIALS].reduce((rest, pattern) => rest.replace(pattern, HIDDEN), text);
}

/** The parts of a configuration that nobody may see, the longest first. */
function secretsOf(config: Config): string[] {
  const { PRIVATE_KEY: key, CONTENT_KEY: content, API_TOKENS: tokens } = config;
  const keys = [key, content].flatMap((hex) => hex?.replace(/^0x/, "") ?? []);
  const urls = [config.DATABASE_URL, config.IPFS_API_URL].flatMap(passwordOf);
  const nodes = [config.BLOCKCHAIN_RPC_URL, config.BLOCKCHAIN_WS_URL].flatMap(partsOf);
  return [...new Set([...keys, ...tokens, ...urls, ...nodes])]
    .filter(({ length }) => length >= SHORTEST)
    .sort((a, b) => b.length - a.length);
}

/** The password in an address, as it stands there and as it is meant. */
function passwordOf(address: string | undefined): string[] {
  const password = addressOf(address)?.password ?? "";
  return [password, decoded(password)];
}

/** The parts of an address besides its host, any of which may be a key. */
function partsOf(address: string | undefined): string[] {
  const url = addressOf(address);
  if (url === undefined) return [];
  const query = [...url.search.split(/[?&=]/), ...url.searchParams.values()];
  const path = [...url.pathname.split("/"), ...query];
  return [url.username, url.password, ...path].flatMap((part) => [part, decoded(part)]);
}

function addressOf(text: string | undefined): URL | undefined {
  return text !== undefined && URL.canParse(text) ? new URL(text) : undefined;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
