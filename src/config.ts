import { isIPv4, isIPv6 } from "node:net";
import { z } from "zod";
import { messageOf } from "./core/errors.js";
import { durationSeconds } from "./core/iso-duration.js";
import { MOST_LEVELS } from "./core/sla.js";
import { parsePolicies } from "./core/sla-policy.js";

/** A setting that cannot be used; the message names it and says what it must be. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

const port = (value: number) => z.coerce.number().int().min(0).max(65_535).default(value);
const hexKey = z
  .string()
  .regex(/^(0x)?[0-9a-fA-F]{64}$/, "must be 32 bytes in hex")
  .optional();
const contractAddress = z
  .string()
  .regex(/^0x[0-9a-fA-F]{40}$/, "must be 0x and 40 hex digits")
  .transform((address) => address.toLowerCase())
  .optional();

const listOf = (text: string) => text.split(",").flatMap((item) => item.trim() || []);

/** What a text stands for, where whoever reads it throws an Error that says what is wrong with it. */
const readBy =
  <T>(read: (text: string) => T) =>
  (text: string, context: z.RefinementCtx): T => {
    try {
      return read(text);
    } catch (error) {
      context.addIssue({ code: "custom", message: messageOf(error) });
      return z.NEVER;
    }
  };

/** Every setting: an environment variable, what it means, its default. */
export const settings = z.object({
  GRPC_PORT: port(50_051).describe("Port of the gRPC door. 0 takes any free port."),
  PORT: port(3001).describe(
    "Port of the HTTP door: Connect, gRPC-Web, the REST fronts, health, metrics. 0 takes any free port.",
  ),
  HOST: z
    .string()
    .min(1)
    .default("127.0.0.1")
    .describe("Address that both doors listen on. Any other than loopback needs API_TOKENS."),
  API_TOKENS: z
    .string()
    .transform((text) => text.split(",").flatMap((token) => token.trim() || []))
    .refine((tokens) => tokens.length > 0, "must have a token, or be unset")
    .refine(
      (tokens) => tokens.every((token) => /^[\x21-\x7e]+$/.test(token)),
      "tokens must be visible ASCII characters without spaces",
    )
    .optional()
    .transform((tokens) => tokens ?? [])
    .describe(
      "Bearer tokens that may call, separated by commas, each in clear or as its SHA-256. When set, both " +
        "doors ask for one. 64 hex digits are always taken for a SHA-256: a clear token must have another form.",
    ),
  DATA_DIR: z
    .string()
    .min(1)
    .default("./data")
    .describe("Folder of everything that is kept: the embedded database, chain and keys."),
  DATABASE_URL: z
    .string()
    .regex(/^(mysql|mariadb):\/\//, "must start with mysql:// or mariadb://")
    .optional()
    .describe(
      "A MySQL or MariaDB database, such as mysql://user:password@host:3306/anchord. Default: SQLite in DATA_DIR.",
    ),
  BLOCKCHAIN_RPC_URL: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe("HTTP address of an Ethereum node. Default: an embedded Ganache in DATA_DIR."),
  BLOCKCHAIN_WS_URL: z
    .url({ protocol: /^wss?$/ })
    .optional()
    .describe(
      "WebSocket address of the same node, to hear of new blocks sooner. Default: it is only asked, every POLL_INTERVAL_MS.",
    ),
  BLOCKCHAIN_CONTRACT_ADDRESS: contractAddress.describe(
    "Address of the AuditLog contract. Needed with BLOCKCHAIN_RPC_URL; `npm run migrate` prints it.",
  ),
  EVIDENCE_CONTRACT_ADDRESS: contractAddress.describe(
    "Address of the EvidenceRegistry contract on a chain of yours; `npm run migrate` prints it. Default: " +
      "none there, so no evidence is taken. A database that has had one keeps it.",
  ),
  SLA_CONTRACT_ADDRESS: contractAddress.describe(
    "Address of the SLARegistry contract on a chain of yours; `npm run migrate` prints it. Default: none " +
      "there, so no deadlines are taken. A database that has had one keeps it.",
  ),
  PRIVATE_KEY: hexKey.describe(
    "Key of the account that seals, anchors and manages deadlines, 32 bytes in hex. Needed with " +
      "BLOCKCHAIN_RPC_URL; the account needs ether, SEALER_ROLE, for evidence ANCHORER_ROLE, and for " +
      "deadlines MANAGER_ROLE.",
  ),
  LOG_NAME: z
    .string()
    .min(1)
    .max(64)
    .default("default")
    .describe("Name of the log within the contract. One database belongs to one log."),
  CONFIRMATIONS: z.coerce
    .number()
    .int()
    .min(0)
    .max(10_000)
    .optional()
    .describe(
      "Blocks on top of a block that confirm it. Default: 0 on the embedded chain, else 12.",
    ),
  FINALITY: z
    .enum(["finalized", "confirmations"])
    .default("finalized")
    .describe(
      "What makes a confirmed block final: finalized, that the node also calls it so, where it names such a " +
        "block at all; confirmations, nothing else, for nodes whose word on it is of no use.",
    ),
  POLL_INTERVAL_MS: z.coerce
    .number()
    .int()
    .min(10)
    .max(600_000)
    .default(500)
    .describe("How often the chain is asked for new blocks, in milliseconds."),
  MAX_BATCH_RECORDS: z.coerce
    .number()
    .int()
    .min(1)
    .max(65_536)
    .default(8192)
    .describe(
      "Most records of one batch. One batch is sealed at a time, so this bounds the records per block.",
    ),
  CONTENT_KEY: hexKey.describe(
    "Key that published batches are encrypted with, 32 bytes in hex. Default: DATA_DIR/keys/content.key, " +
      "which is made at the first start. Other *.key files there are older keys, for reading.",
  ),
  IPFS_LISTEN: z
    .string()
    .default("/ip4/127.0.0.1/tcp/4001")
    .transform((text) => (text === "none" ? [] : listOf(text)))
    .refine(
      (addresses) => addresses.every((address) => isTcpMultiaddr(address, "ip")),
      "each must be a multiaddr such as /ip4/127.0.0.1/tcp/4001",
    )
    .describe(
      "Multiaddrs on which the embedded IPFS node listens, separated by commas: /ip4 or /ip6, with /tcp. A " +
        "free port if it is taken, where this is unset. Peers may fetch every block: evidence in clear, batches " +
        "encrypted. none, for no address; without IPFS_PEERS the node then stays off the network.",
    ),
  IPFS_PEERS: z
    .string()
    .transform(listOf)
    .refine(
      (addresses) => addresses.every((address) => isTcpMultiaddr(address, "peer")),
      "each must be a multiaddr such as /dns4/node.example/tcp/4001/p2p/12D3KooW…",
    )
    .optional()
    .transform((addresses) => addresses ?? [])
    .describe(
      "Multiaddrs of IPFS nodes that the embedded one stays connected to, separated by commas. Published " +
        "batches can be fetched from them, and by them. Default: none.",
    ),
  MAX_EVIDENCE_BYTES: z.coerce
    .number()
    .int()
    .min(1)
    .max(Number.MAX_SAFE_INTEGER)
    .default(5 * 1024 ** 3)
    .describe("Most bytes of a file that is handed in as evidence."),
  EVIDENCE_CHECK_HOURS: z.coerce
    .number()
    .min(0.0001)
    .max(8_760)
    .default(24)
    .describe(
      "Each file of evidence is fetched and hashed again after so many hours, as far as " +
        "EVIDENCE_CHECK_MB_PER_SECOND allows.",
    ),
  EVIDENCE_CHECK_MB_PER_SECOND: z.coerce
    .number()
    .min(0.1)
    .max(10_000)
    .default(10)
    .describe("Most of the files of evidence that is fetched and hashed again, in MB a second."),
  SLA_LADDER: z
    .string()
    .default("PT0S,PT24H,P3D")
    .transform(readBy(ladderOf))
    .describe(
      "When the levels of a deadline fall due that is set without any of its own: 1 to 8 ISO 8601 durations " +
        "after it, ascending, separated by commas.",
    ),
  SLA_POLICIES: z
    .string()
    .default("complaint:ASSIGNED=PT48H,complaint:RESOLVED=meet")
    .transform(readBy(parsePolicies))
    .describe(
      "Which records set and meet the deadline of their subject by themselves, separated by commas: a record " +
        "type, for complaints perhaps `:` and the event type, then `=` and the ISO 8601 duration from when it " +
        "happened to the deadline, or `meet`. The first that fits counts; `none` for none.",
    ),
  SLA_MAX_GAS: z.coerce
    .number()
    .int()
    .min(60_000)
    .max(30_000_000)
    .default(1_000_000)
    .describe(
      "Most gas of a transaction that escalates overdue deadlines: what is due is spread over as many as it takes.",
    ),
  IPFS_API_URL: z
    .url({ protocol: /^https?$/ })
    .refine((url) => isKuboUrl(url), "must have no query, and %25 for a % in user and password")
    .optional()
    .describe(
      "Base URL of a Kubo node's RPC, such as http://127.0.0.1:5001, that content is kept in instead of the " +
        "embedded node; user:password@ in it are sent as basic auth. Default: the embedded node.",
    ),
  IPFS_GATEWAY_URL: z
    .url({ protocol: /^https?$/ })
    .transform((url) => url.replace(/\/+$/, ""))
    .optional()
    .describe(
      "Base URL of an IPFS gateway, such as https://ipfs.example, for links to evidence. Default: no links.",
    ),
  AUDIT_PERCENT: z.coerce
    .number()
    .int()
    .min(1)
    .max(100)
    .default(1)
    .describe(
      "Share of the time that the auditor takes to compare the database with the chain, in percent. Below " +
        "100 it begins at most one pass a minute; at 100 it never rests.",
    ),
  EVENT_RETENTION_DAYS: z.coerce
    .number()
    .int()
    .min(0)
    .max(36_500)
    .default(0)
    .describe(
      "Days that events are kept for subscribers; those of blocks that are not final yet are kept longer. " +
        "0 keeps them for ever.",
    ),
  THREAT_SCALE: z
    .enum(["100", "1"])
    .default("100")
    .describe(
      "The scale of threat scores that do not name theirs: 100 for 0 to 100, 1 for 0 to 1.",
    ),
  EMBEDDED_CHAIN_PORT: port(8545).describe(
    "Port of the embedded Ganache on loopback. A free one if it is taken.",
  ),
  SHUTDOWN_GRACE_MS: z.coerce
    .number()
    .int()
    .min(0)
    .max(600_000)
    .default(10_000)
    .describe(
      "How long running calls may finish when the service is told to stop, in milliseconds.",
    ),
  LOG_LEVEL: z
    .enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"])
    .default("info")
    .describe("Least severe log lines that are written, as JSON, to standard error."),
  ANCHORD_FAULT: z
    .string()
    .optional()
    .describe("For tests: the point at which the process kills itself, as `name` or `name:n`."),
});

/** The settings, checked. */
export type Config = Readonly<z.output<typeof settings>>;

/** Reads and checks the environment. Throws ConfigError. What only reads the chain needs no key. */
export function loadConfig(
  environment: NodeJS.ProcessEnv = process.env,
  { needsKey = true }: { readonly needsKey?: boolean } = {},
): Config {
  const given = Object.fromEntries(
    Object.keys(settings.shape).flatMap((key) => {
      const value = environment[key]?.trim() ?? "";
      return value === "" ? [] : [[key, value]];
    }),
  );
  const parsed = settings.safeParse(given);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new ConfigError(`${issue?.path.join(".")}: ${issue?.message}`);
  }
  checkContentStore(given);
  checkTogether(parsed.data, needsKey);
  return Object.freeze(parsed.data);
}

/** Whether only this host can reach an address. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}

/** Seconds from a deadline to each of its levels. Throws an Error that says what is wrong. */
function ladderOf(text: string): readonly number[] {
  const offsets = listOf(text).map(durationSeconds);
  if (offsets.length < 1 || offsets.length > MOST_LEVELS) {
    throw new Error(`must have 1 to ${MOST_LEVELS} levels`);
  }
  const ascends = offsets.every((offset, i) => i === 0 || offset > (offsets[i - 1] as number));
  if (!ascends) throw new Error("each level must be later than the one before");
  return offsets;
}

/** Whether it is a TCP address that libp2p can listen on, or one of a peer that it can dial. */
function isTcpMultiaddr(text: string, kind: "ip" | "peer"): boolean {
  const parts =
    /^\/(ip4|ip6|dns4|dns6|dns)\/([^/\s]+)\/tcp\/(\d{1,5})(\/p2p\/[0-9A-Za-z]{46,64})?$/.exec(text);
  if (parts === null) return false;
  const [, protocol, host = "", port, peer] = parts;
  if (Number(port) > 65_535) return false;
  if (kind === "ip" && (peer !== undefined || protocol?.startsWith("dns"))) return false;
  if (kind === "peer" && port === "0") return false;
  if (protocol === "ip4") return isIPv4(host);
  if (protocol === "ip6") return isIPv6(host);
  return true;
}

/** Whether it is a base URL, with user and password that can be sent. */
function isKuboUrl(text: string): boolean {
  try {
    const { username, password, search, hash } = new URL(text);
    decodeURIComponent(username + password);
    return search === "" && hash === "";
  } catch {
    return false;
  }
}

/** Requires that what is for the embedded IPFS node is set only where there is one. */
function checkContentStore(given: Readonly<Record<string, string | undefined>>): void {
  if (given["IPFS_API_URL"] === undefined) return;
  for (const name of ["IPFS_LISTEN", "IPFS_PEERS"] as const) {
    if (given[name] === undefined) continue;
    throw new ConfigError(
      `${name}: is for the embedded IPFS node, which is not started where IPFS_API_URL is set: unset one of them`,
    );
  }
}

const FOR_EXTERNAL_CHAIN = [
  "BLOCKCHAIN_WS_URL",
  "BLOCKCHAIN_CONTRACT_ADDRESS",
  "EVIDENCE_CONTRACT_ADDRESS",
  "SLA_CONTRACT_ADDRESS",
  "PRIVATE_KEY",
] as const;

function checkTogether(config: Config, needsKey: boolean): void {
  if (!isLoopback(config.HOST) && config.API_TOKENS.length === 0) {
    throw new ConfigError(
      `HOST: ${config.HOST} can be reached by others, so API_TOKENS must have at least one token`,
    );
  }
  if (config.BLOCKCHAIN_RPC_URL === undefined) {
    for (const name of FOR_EXTERNAL_CHAIN) {
      if (config[name] !== undefined) {
        throw new ConfigError(
          `${name}: is for a chain of yours, so set BLOCKCHAIN_RPC_URL as well`,
        );
      }
    }
    return;
  }
  for (const name of ["BLOCKCHAIN_CONTRACT_ADDRESS", "PRIVATE_KEY"] as const) {
    if (config[name] === undefined && (needsKey || name !== "PRIVATE_KEY")) {
      throw new ConfigError(`${name}: must be set together with BLOCKCHAIN_RPC_URL`);
    }
  }
}
