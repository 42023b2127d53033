import { z } from "zod";
import { parsePolicies } from "./core/sla-policy.js";
import {
  contractAddress,
  flag,
  hexKey,
  isDatabaseUrl,
  isKuboUrl,
  isTcpMultiaddr,
  ladderOf,
  LEVELS,
  levelName,
  listOf,
  port,
  readBy,
} from "./settings/kinds.js";

/**
 * Every setting: an environment variable, and in lower case a key of the configuration file; what it means, its
 * default. Of the metadata, `values` says what it may be and `fallback` its default, where the schema does not
 * show them; `list` that it is a list; `secret` what of it nobody may see: all, or of an address the `password`, or
 * also user, `path` and query.
 */
export const settings = z.object({
  CONFIG_FILE: z
    .string()
    .optional()
    .describe("File of settings, in YAML. Default: ./config.yaml, where there is one."),
  ENABLED: flag(true).describe(
    "Whether `anchord start` runs the service. false: it says so, and ends at once.",
  ),
  GRPC_PORT: port(50_051).describe("Port of the gRPC door. 0 takes any free port."),
  PORT: port(3001).describe(
    "Port of the HTTP door: Connect, gRPC-Web, the REST fronts, health, metrics. 0 takes any free port.",
  ),
  HOST: z
    .string()
    .min(1)
    .default("127.0.0.1")
    .describe("Address that both doors listen on. Any other than loopback needs API_TOKENS."),
  EXPOSE_API: flag(true).describe(
    "Whether the API may be reached from other hosts. false refuses a HOST other than loopback.",
  ),
  API_TOKENS: z
    .string()
    .transform(listOf)
    .refine((tokens) => tokens.length > 0, "must have a token, or be unset")
    .refine(
      (tokens) => tokens.every((token) => /^[\x21-\x7e]+$/.test(token)),
      "tokens must be visible ASCII characters without spaces",
    )
    .optional()
    .transform((tokens) => tokens ?? [])
    .meta({ list: true, secret: "all" })
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
    .regex(/^(mysql|mariadb):\/\//)
    .refine(
      isDatabaseUrl,
      "is no address: in user and password write %23 for #, %2F for /, %3F for ?",
    )
    .optional()
    .meta({ values: "an address that starts with mysql:// or mariadb://", secret: "password" })
    .describe(
      "A MySQL or MariaDB database, such as mysql://user:password@host:3306/anchord. Default: SQLite in DATA_DIR.",
    ),
  DB_PATH: z
    .string()
    .min(1)
    .optional()
    .describe("File of the embedded database (SQLite). Default: DATA_DIR/anchord.db."),
  BLOCKCHAIN_RPC_URL: z
    .url({ protocol: /^https?$/ })
    .optional()
    .meta({ secret: "path" })
    .describe("HTTP address of an Ethereum node. Default: an embedded Ganache in DATA_DIR."),
  BLOCKCHAIN_WS_URL: z
    .url({ protocol: /^wss?$/ })
    .optional()
    .meta({ values: "a ws or wss address", secret: "path" })
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
  PRIVATE_KEY_FILE: z
    .string()
    .min(1)
    .optional()
    .describe(
      "File that has the PRIVATE_KEY, such as one that a secrets manager mounts: in place of PRIVATE_KEY.",
    ),
  GAS_PRICE_MULTIPLIER: z.coerce
    .number()
    .min(1)
    .max(10)
    .default(1)
    .describe(
      "What the node suggests as a tip is multiplied by this, to be mined sooner where blocks are full.",
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
  MINING_INTERVAL: z.coerce
    .number()
    .min(0)
    .max(86_400)
    .default(0)
    .describe(
      "Seconds from one seal to the next at least, unless SealNow asks for one. 0 adapts to what comes: at " +
        "once for a caller that waits, else after a rest of a second at most.",
    ),
  AUTO_MINE: flag(true).describe(
    "Whether batches are sealed by themselves. false seals only when SealNow is called.",
  ),
  DIFFICULTY: z.coerce
    .number()
    .int()
    .min(0)
    .max(8)
    .default(0)
    .describe(
      "Zero hex digits that each head starts with at least: a proof of work. Each digit takes 16 times as " +
        "long to find. Where the contract asks for more, that counts.",
    ),
  RECORD_TYPES: z
    .string()
    .transform(listOf)
    .refine((types) => types.length > 0, "must have a type, or be unset")
    .refine(
      (types) => types.every((type) => /^[a-z][a-z0-9._-]{0,63}$/.test(type)),
      "each must be a record type: lower case letters, digits, '.', '_' and '-', starting with a letter",
    )
    .optional()
    .meta({ list: true })
    .describe(
      "Record types that callers may record, built-in or their own, separated by commas. What the service " +
        "records itself, such as evidence and deadlines, is not limited. Default: all.",
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
    .meta({ list: true })
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
    .meta({ list: true })
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
    .meta({ list: true })
    .describe(
      "When the levels of a deadline fall due that is set without any of its own: 1 to 8 ISO 8601 durations " +
        "after it, ascending, separated by commas.",
    ),
  SLA_POLICIES: z
    .string()
    .default("complaint:ASSIGNED=PT48H,complaint:RESOLVED=meet")
    .transform(readBy(parsePolicies))
    .meta({ list: true })
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
    .meta({ secret: "password" })
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
  EXPLORER_URL: z
    .url({ protocol: /^https?$/ })
    .refine((url) => url.includes("{tx}"), "must have {tx} where the transaction's hash belongs")
    .optional()
    .describe(
      "Address of a transaction in a block explorer, with {tx} for its hash, such as " +
        "https://etherscan.io/tx/{tx}. Default: no links.",
    ),
  PUBLIC_URL: z
    .url({ protocol: /^https?$/ })
    .transform((url) => url.replace(/\/+$/, ""))
    .optional()
    .describe(
      "Base URL under which users reach the HTTP door, such as https://audit.example, for links. Default: " +
        "http://localhost and its port.",
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
    .string()
    .transform(levelName)
    .pipe(z.enum(LEVELS))
    .default("info")
    .meta({ values: `one of ${LEVELS.join(", ")}, warning, critical`, fallback: "info" })
    .describe(
      "Least severe log lines that are written, as JSON, to standard error. Upper or lower case.",
    ),
  LOG_TO_FILE: flag(false).describe("Whether log lines are written to LOG_FILE as well."),
  LOG_FILE: z
    .string()
    .min(1)
    .optional()
    .describe("File that LOG_TO_FILE writes to. Default: DATA_DIR/anchord.log."),
  LOG_FILE_MB: z.coerce
    .number()
    .min(0.01)
    .max(10_000)
    .default(10)
    .describe("Size at which the log file is rotated, in MB."),
  LOG_FILES: z.coerce
    .number()
    .int()
    .min(1)
    .max(1_000)
    .default(5)
    .describe("Rotated log files that are kept beside the one that is written."),
  ANCHORD_FAULT: z
    .string()
    .optional()
    .describe("For tests: the point at which the process kills itself, as `name` or `name:n`."),
});

/** The name of a setting. */
export type SettingName = keyof typeof settings.shape;

/** The settings, checked. */
export type Config = Readonly<z.output<typeof settings>>;
