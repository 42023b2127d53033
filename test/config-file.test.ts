import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { loadConfig } from "../src/config.js";
import { ConfigError } from "../src/config/error.js";
import { PLUGIN_KEYS } from "../src/config/plugin-keys.js";
import { REFERENCE } from "../src/config/reference.js";
import { temporaryFolder } from "./support/daemon.js";
import { repositoryRoot } from "./support/repository.js";
import { run } from "./support/run.js";

describe("the configuration file", () => {
  let folder: string;

  beforeEach(() => {
    folder = temporaryFolder();
  });

  /** Writes a file of this text, and returns its path. */
  function fileOf(text: string | Uint8Array): string {
    const file = join(folder, "config.yaml");
    writeFileSync(file, text);
    return file;
  }

  const load = (text: string, environment: NodeJS.ProcessEnv = {}) =>
    loadConfig(environment, { file: fileOf(text) });

  /** What is said about a file, its path left out. */
  function refusal(text: string | Uint8Array, environment: NodeJS.ProcessEnv = {}): string {
    try {
      loadConfig(environment, { file: fileOf(text) });
    } catch (error) {
      expect(error).to.be.instanceOf(ConfigError);
      return (error as Error).message.replaceAll(`${folder}/`, "");
    }
    throw new Error("it was accepted");
  }

  it("counts more than a default, and less than the environment", () => {
    const text = "grpc_port: 1\nport: 2\nlog_name: 007\n";
    const config = load(text, { PORT: "3" });
    expect(config).to.include({ GRPC_PORT: 1, PORT: 3, LOG_NAME: "007", HOST: "127.0.0.1" });
    const CONFIG_FILE = join(folder, "config.yaml");
    expect(loadConfig({ CONFIG_FILE }).PORT).to.equal(2);
  });

  it("has its key replaced by the environment's, however each of them is given", () => {
    const [ours, theirs] = ["a1".repeat(32), "b2".repeat(32)];
    const keyFile = join(folder, "key");
    writeFileSync(keyFile, ours);
    const external = `blockchain_rpc_url: http://node:8545
blockchain_contract_address: "0x${"0".repeat(40)}"
`;
    const byKey = load(`${external}private_key_file: /none`, { PRIVATE_KEY: ours });
    expect(byKey.PRIVATE_KEY).to.equal(ours);
    const byFile = load(`${external}private_key: "${theirs}"`, { PRIVATE_KEY_FILE: keyFile });
    expect(byFile.PRIVATE_KEY).to.equal(ours);
    const both = `${external}private_key: "${theirs}"\nprivate_key_file: ${keyFile}`;
    expect(refusal(both)).to.match(/private_key: unset it, or PRIVATE_KEY_FILE/);
  });

  it("takes lists, numbers and truths as YAML has them, and digits as they stand there", () => {
    const config = load(`# of the bot
record_types: [trade, order]
api_tokens:
  - first
  - second
mining_interval: 1.5
auto_mine: False
sla_policies: none
content_key: 0x${"12".repeat(32)}
explorer_url:
`);
    expect(config.RECORD_TYPES).to.deep.equal(["trade", "order"]);
    expect(config.API_TOKENS).to.deep.equal(["first", "second"]);
    expect(config.SLA_POLICIES).to.deep.equal([]);
    expect(config).to.include({ MINING_INTERVAL: 1.5, AUTO_MINE: false });
    expect(config.CONTENT_KEY).to.equal(`0x${"12".repeat(32)}`);
    expect(config.EXPLORER_URL).to.equal(undefined);
    expect(load("").PORT).to.equal(3001);
  });

  const refused: readonly [string, string | Uint8Array, string][] = [
    [
      "a key that was mistyped",
      "port: 1\ngrpc_prot: 2",
      "config.yaml:2: grpc_prot: is no setting: did you mean grpc_port?",
    ],
    ["a key in capitals", "PORT: 1", "config.yaml:1: PORT: is no setting: did you mean port?"],
    ["a key that every object has", "constructor: 1", "config.yaml:1: constructor: is no setting"],
    ["a key of something else", "services: 1", "config.yaml:1: services: is no setting: docs/"],
    ["a value out of range", "\n\nport: 70000", "config.yaml:3: port: must be a whole number from"],
    ["a list for a number", "port: [1]", "config.yaml:1: port: must be a whole number from 0"],
    ["a mapping for a list", "ipfs_peers: {a: b}", "config.yaml:1: ipfs_peers: must be a list"],
    ["an empty list", "sla_policies: []", "config.yaml:1: sla_policies: must have an item"],
    ["an item that is two", "api_tokens: ['a,b']", "config.yaml:1: api_tokens: each item must"],
    ["a key set twice", "port: 1\nport: 2", "config.yaml:2: port: is set twice"],
    [
      "settings that do not go together",
      "host: 0.0.0.0\nport: 1",
      "config.yaml:1: host: 0.0.0.0 can be reached by others",
    ],
    ["an alias", "port: &a 1\ngrpc_port: *a", "config.yaml:2: grpc_port: must be a whole number"],
    ["a merge", "<<: {port: 1}", "config.yaml:1: <<: is no setting"],
    ["a list of settings", "- port: 1", "config.yaml:1: must be lines of a setting"],
    ["a sentence", "hello", "config.yaml:1: must be lines of a setting"],
    ["a tab", "host:\n\tlocalhost", "config.yaml:2: is indented with a tab"],
    ["two documents", "port: 1\n---\nport: 2", "config.yaml:2: is not YAML (multiple docs)"],
    ["a tag of Python's", "host: !!python/object:os.system x", "config.yaml:1: is not YAML (tag"],
    [
      "a file to go on with",
      "config_file: other.yaml",
      "config.yaml:1: config_file: is no setting",
    ],
    ["bytes that are no text", Buffer.from("host: \xff", "latin1"), "it is not UTF-8"],
    ["more than anybody writes", "#".repeat(2 ** 16 + 1), "it is larger than 64 KiB"],
    ["a nest of lists", `port: ${"[".repeat(10_000)}`, "config.yaml:1: is not YAML"],
  ];
  for (const [what, text, message] of refused) {
    it(`refuses ${what}, and says where`, () => {
      expect(refusal(text)).to.include(message);
    });
  }

  it("has to be there, and to be a file, where it is named", () => {
    const file = join(folder, "none.yaml");
    expect(() => loadConfig({}, { file })).to.throw(
      ConfigError,
      /none.yaml: cannot be read: ENOENT/,
    );
    mkdirSync(file);
    expect(() => loadConfig({}, { file })).to.throw(ConfigError, /cannot be read: it is a folder/);
  });

  it("never has a secret repeated, however it is written", () => {
    const secret = "not-a-key-but-secret";
    for (const text of [
      `private_key: ${secret}`,
      `private_key: [${secret}]`,
      `api_tokens: {${secret}: 1}`,
      `private_key: "${secret}" "${secret}"`,
      `private_key: "${secret}`,
      `private_key: *${secret}`,
    ]) {
      expect(refusal(text), text).not.to.include(secret);
    }
  });

  describe("of the trading bot's plugin", () => {
    /** A config.yaml with every key that the plugin knew. */
    const plugin = `enabled: true
name: blockchain_audit
description: Immutable audit trail
version: 1.0.0
category: security
mining_interval: 60
difficulty: 2
db_path: data/audit_chain.db
auto_mine: true
record_types:
  - trade
  - order
  - system_change
  - login
  - config_change
max_chain_size: 0
prune_older_than: null
encrypt_sensitive_data: false
hash_algorithm: SHA256
expose_api: true
api_endpoints: []
log_level: INFO
log_to_file: true
log_file: logs/audit.log
`;

    it("works as it is, and does what it says", () => {
      expect(Object.keys(PLUGIN_KEYS)).to.have.length(19);
      for (const key of Object.keys(PLUGIN_KEYS))
        expect(plugin).to.match(new RegExp(`^${key}:`, "m"));
      const config = load(plugin);
      expect(config.RECORD_TYPES).to.have.length(5);
      expect(config).to.include({
        ...{ ENABLED: true, MINING_INTERVAL: 60, DIFFICULTY: 2, AUTO_MINE: true },
        ...{ DB_PATH: "data/audit_chain.db", EXPOSE_API: true },
        ...{ LOG_LEVEL: "info", LOG_TO_FILE: true, LOG_FILE: "logs/audit.log" },
      });
    });

    it("has a setting for every key that is honoured", () => {
      for (const [key, { fate }] of Object.entries(PLUGIN_KEYS)) {
        expect(key.toUpperCase() in REFERENCE, key).to.equal(fate === "honoured");
      }
    });

    const cannot: readonly [string, string, RegExp][] = [
      ["max_chain_size", "1000", /only ever added to/],
      ["prune_older_than", "90", /only ever added to.*event_retention_days/],
      ["encrypt_sensitive_data", "true", /encrypt the disk/],
      ["hash_algorithm", "md5", /SHA-256/],
      ["api_endpoints", "[/chain]", /proxy/],
    ];
    for (const [key, value, why] of cannot) {
      it(`may have ${key} only off, and else learns why`, () => {
        expect(refusal(`${key}: ${value}`))
          .to.match(new RegExp(`^config.yaml:1: ${key}: .`))
          .and.match(why);
        for (const off of ["", "null", "0", "false", "[]", "none"]) load(`${key}: ${off}`);
      });
    }
  });

  describe("on the command line", () => {
    const bin = join(repositoryRoot, "bin/anchord.js");

    it("is shown with the rest of what is in force, and where it is from, secrets masked", async () => {
      const file = fileOf(`blockchain_rpc_url: https://user:pass@node.example/v3/INPATH?key=INQUERY
blockchain_contract_address: "0x${"A".repeat(40)}"
private_key: 0x${"5e".repeat(32)}
database_url: mysql://anchord:PASSWORD@db:3306/anchord
api_tokens: [TOKENONE, TOKENTWO]
log_level: WARNING
ipfs_listen: none
`);
      const { code, stdout } = await run(process.execPath, [
        ...[bin, "config", "print", "--format", "json", "--config", file],
      ]);
      expect(code).to.equal(0);
      expect(stdout).not.to.match(/user|pass@|INPATH|INQUERY|5e5e|PASSWORD|TOKENO|TOKENT/);
      const lines = stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as object);
      expect(lines).to.have.length(Object.keys(REFERENCE).length);
      const shown = (setting: string, value: string, source: string) =>
        expect(lines).to.deep.include({ setting, value, source });
      const url = "https://[secret]:[secret]@node.example/[secret]?[secret]";
      shown("BLOCKCHAIN_RPC_URL", url, `${file}:1`);
      shown("PRIVATE_KEY", "[secret]", `${file}:3`);
      shown("DATABASE_URL", "mysql://anchord:[secret]@db:3306/anchord", `${file}:4`);
      shown("CONFIG_FILE", file, "--config");
      shown("PORT", "3001", "default");
      shown("AUTO_MINE", "true", "default");
      shown("BLOCKCHAIN_CONTRACT_ADDRESS", `0x${"a".repeat(40)}`, `${file}:2`);
      shown("LOG_LEVEL", "warn", `${file}:6`);
      shown("IPFS_LISTEN", "none", `${file}:7`);
    });

    it("is shown with what follows from it, and needs no key for that", async () => {
      const BLOCKCHAIN_CONTRACT_ADDRESS = `0x${"1".repeat(40)}`;
      const external = { BLOCKCHAIN_RPC_URL: "http://node:8545", BLOCKCHAIN_CONTRACT_ADDRESS };
      const { code, stdout, stderr } = await run("env", [
        ...Object.entries({ ...external, DATA_DIR: folder }).map((pair) => pair.join("=")),
        ...[process.execPath, bin, "config", "print", "--format", "table"],
      ]);
      expect(code, stderr).to.equal(0);
      expect(stdout)
        .to.match(/^CONFIRMATIONS +default +12$/m)
        .and.to.match(/^PUBLIC_URL +default +http:\/\/localhost:3001$/m)
        .and.to.include(join(folder, "anchord.db"))
        .and.to.include(join(folder, "anchord.log"));
    });

    it("ends the start at once where the service is not enabled", async () => {
      const off = await run(process.execPath, [bin, "start", "--config", fileOf("enabled: false")]);
      expect(off.code).to.equal(0);
      expect(off.stdout).to.match(
        /^anchord was not started: \S+config.yaml:1: enabled is false\.\n$/,
      );
    });
  });
});
