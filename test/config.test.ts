import { execFileSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { isLoopback, loadConfig } from "../src/config.js";
import { ConfigError } from "../src/config/error.js";
import { startFails, temporaryFolder } from "./support/daemon.js";
import { repositoryRoot } from "./support/repository.js";

const NINE_LEVELS = "PT0S,PT1S,PT2S,PT3S,PT4S,PT5S,PT6S,PT7S,PT8S";

describe("configuration", () => {
  it("is documented as the code has it", () => {
    execFileSync(process.execPath, ["scripts/gen-config-docs.mjs", "--check"], {
      cwd: repositoryRoot,
    });
  });

  it("has defaults that start a whole service", () => {
    const config = loadConfig({});
    expect(config).to.include({
      GRPC_PORT: 50_051,
      PORT: 3001,
      HOST: "127.0.0.1",
      DATA_DIR: "./data",
    });
    expect(config.API_TOKENS).to.deep.equal([]);
  });

  it("takes an empty variable as unset", () => {
    expect(loadConfig({ PORT: "" }).PORT).to.equal(3001);
  });

  it("splits tokens and lower-cases addresses", () => {
    const config = loadConfig({
      API_TOKENS: " a, b,,",
      BLOCKCHAIN_RPC_URL: "http://node:8545",
      BLOCKCHAIN_CONTRACT_ADDRESS: `0x${"Ab".repeat(20)}`,
      EVIDENCE_CONTRACT_ADDRESS: `0x${"Cd".repeat(20)}`,
      SLA_CONTRACT_ADDRESS: `0x${"Ef".repeat(20)}`,
      PRIVATE_KEY: "1".repeat(64),
    });
    expect(config.API_TOKENS).to.deep.equal(["a", "b"]);
    expect(config.BLOCKCHAIN_CONTRACT_ADDRESS).to.equal(`0x${"ab".repeat(20)}`);
    expect(config.EVIDENCE_CONTRACT_ADDRESS).to.equal(`0x${"cd".repeat(20)}`);
    expect(config.SLA_CONTRACT_ADDRESS).to.equal(`0x${"ef".repeat(20)}`);
  });

  it("reads ladders and policies, and has some by default", () => {
    const { SLA_LADDER, SLA_POLICIES } = loadConfig({});
    expect(SLA_LADDER).to.deep.equal([0, 86_400, 259_200]);
    expect(SLA_POLICIES).to.deep.equal([
      { type: "complaint", eventType: "ASSIGNED", startSeconds: 172_800 },
      { type: "complaint", eventType: "RESOLVED", startSeconds: undefined },
    ]);
    const told = loadConfig({ SLA_LADDER: "PT90M, P1W", SLA_POLICIES: "none" });
    expect(told.SLA_LADDER).to.deep.equal([5_400, 604_800]);
    expect(told.SLA_POLICIES).to.deep.equal([]);
  });

  it("takes the log levels of Python as well, in any case", () => {
    const levels = ["DEBUG", "Info", "WARNING", "error", "CRITICAL"];
    expect(levels.map((LOG_LEVEL) => loadConfig({ LOG_LEVEL }).LOG_LEVEL)).to.deep.equal([
      ...["debug", "info", "warn", "error", "fatal"],
    ]);
  });

  it("takes the key from a file, as secrets managers mount it", () => {
    const file = join(temporaryFolder(), "key");
    writeFileSync(file, `0x${"a1".repeat(32)}\n`, { mode: 0o444 });
    const external = {
      BLOCKCHAIN_RPC_URL: "http://node:8545",
      BLOCKCHAIN_CONTRACT_ADDRESS: `0x${"0".repeat(40)}`,
      PRIVATE_KEY_FILE: file,
    };
    expect(loadConfig(external).PRIVATE_KEY).to.equal(`0x${"a1".repeat(32)}`);
    const both = { ...external, PRIVATE_KEY: "1".repeat(64) };
    expect(() => loadConfig(both)).to.throw(
      ConfigError,
      /PRIVATE_KEY: unset it, or PRIVATE_KEY_FILE/,
    );
    for (const [content, message] of [
      ["not-a-key-but-secret", "must be 32 bytes in hex"],
      [" \n", "is empty"],
    ] as const) {
      chmodSync(file, 0o600);
      writeFileSync(file, content);
      expect(() => loadConfig(external)).to.throw(
        ConfigError,
        new RegExp(`^PRIVATE_KEY_FILE: ${file}: ${message}[^:]*$`),
      );
    }
    const missing = { ...external, PRIVATE_KEY_FILE: `${file}.none` };
    expect(() => loadConfig(missing)).to.throw(
      ConfigError,
      /^PRIVATE_KEY_FILE: .*key.none: cannot/,
    );
  });

  it("names everything that is wrong at once, and what it must be", () => {
    const wrong = { PORT: "65536", AUTO_MINE: "perhaps", FINALITY: "soon", EXPLORER_URL: "here" };
    expect(() => loadConfig(wrong)).to.throw(
      ConfigError,
      "PORT: must be a whole number from 0 to 65535; FINALITY: must be one of finalized, confirmations; " +
        "AUTO_MINE: must be true or false; EXPLORER_URL: must be an http or https address",
    );
  });

  const refused: readonly [string, NodeJS.ProcessEnv, RegExp][] = [
    ["a port out of range", { PORT: "65536" }, /^PORT:/],
    ["no record types at all", { RECORD_TYPES: "," }, /^RECORD_TYPES: must have a type/],
    ["a record type of another form", { RECORD_TYPES: "Trade" }, /^RECORD_TYPES: each must be/],
    [
      "an open door that was to be closed",
      { HOST: "0.0.0.0", API_TOKENS: "token", EXPOSE_API: "false" },
      /^HOST: .*EXPOSE_API/,
    ],
    ["a port that is no number", { GRPC_PORT: "http" }, /^GRPC_PORT:/],
    ["a database of another kind", { DATABASE_URL: "postgres://x" }, /^DATABASE_URL:.*mysql/],
    ...["pa#ss", "pa/ss", "12#34", "12/34", "12?34"].map(
      (password): [string, NodeJS.ProcessEnv, RegExp] => [
        `a password in an address with a character to be escaped (${password})`,
        { DATABASE_URL: `mysql://anchord:${password}@db/anchord` },
        /^DATABASE_URL: is no address: in user and password write %23 for #, %2F for \/, %3F for \?$/,
      ],
    ),
    [
      "a file beside a database on a server",
      { DATABASE_URL: "mysql://anchord@db/anchord", DB_PATH: "anchord.db" },
      /^DB_PATH: .*DATABASE_URL.*unset one/,
    ],
    [
      "an address that is none",
      { BLOCKCHAIN_CONTRACT_ADDRESS: "0x12" },
      /^BLOCKCHAIN_CONTRACT_ADDRESS:/,
    ],
    ["a key that is none", { PRIVATE_KEY: "secret" }, /^PRIVATE_KEY:/],
    ["room for no evidence", { MAX_EVIDENCE_BYTES: "0" }, /^MAX_EVIDENCE_BYTES:/],
    ["a size with a unit", { MAX_EVIDENCE_BYTES: "5GiB" }, /^MAX_EVIDENCE_BYTES:/],
    ["a size beyond counting", { MAX_EVIDENCE_BYTES: "9007199254740992" }, /^MAX_EVIDENCE_BYTES:/],
    ["an unknown scale", { THREAT_SCALE: "10" }, /^THREAT_SCALE:/],
    ["an unknown log level", { LOG_LEVEL: "loud" }, /^LOG_LEVEL:/],
    ["a list of tokens that is empty", { API_TOKENS: " ,," }, /^API_TOKENS:/],
    ["a token that no header can carry", { API_TOKENS: "my token" }, /^API_TOKENS:/],
    [
      "a contract without a node, which would seal on the embedded chain",
      { BLOCKCHAIN_CONTRACT_ADDRESS: `0x${"0".repeat(40)}` },
      /^BLOCKCHAIN_CONTRACT_ADDRESS:.*BLOCKCHAIN_RPC_URL/,
    ],
    [
      "a registry without a node",
      { EVIDENCE_CONTRACT_ADDRESS: `0x${"0".repeat(40)}` },
      /^EVIDENCE_CONTRACT_ADDRESS:.*BLOCKCHAIN_RPC_URL/,
    ],
    [
      "a registry of deadlines without a node",
      { SLA_CONTRACT_ADDRESS: `0x${"0".repeat(40)}` },
      /^SLA_CONTRACT_ADDRESS:.*BLOCKCHAIN_RPC_URL/,
    ],
    ["a ladder without levels", { SLA_LADDER: "," }, /^SLA_LADDER: must have 1 to 8 levels/],
    ["a ladder of nine", { SLA_LADDER: NINE_LEVELS }, /^SLA_LADDER: must have 1 to 8 levels/],
    ["a ladder that goes down", { SLA_LADDER: "P1D,PT24H" }, /^SLA_LADDER: .*later/],
    ["a ladder in hours", { SLA_LADDER: "24" }, /^SLA_LADDER: .*ISO 8601/],
    ["a policy that is none", { SLA_POLICIES: "complaint" }, /^SLA_POLICIES: .*no policy/],
    ["a policy of months", { SLA_POLICIES: "complaint=P1M" }, /^SLA_POLICIES: .*months/],
    ["gas for no escalation", { SLA_MAX_GAS: "59999" }, /^SLA_MAX_GAS:/],
    ["more gas than a block has", { SLA_MAX_GAS: "30000001" }, /^SLA_MAX_GAS:/],
    ["a key without a node", { PRIVATE_KEY: "1".repeat(64) }, /^PRIVATE_KEY:.*BLOCKCHAIN_RPC_URL/],
    ["two doors on one port", { PORT: "7000", GRPC_PORT: "7000" }, /^GRPC_PORT: 7000 is also PORT/],
    ["a door on the other's default", { PORT: "50051" }, /^PORT: 50051 is also GRPC_PORT/],
    ["an open door without tokens", { HOST: "0.0.0.0" }, /^HOST:.*API_TOKENS/],
    ["an open door by IPv6 without tokens", { HOST: "::" }, /^HOST:.*API_TOKENS/],
    ["no pause between looks", { POLL_INTERVAL_MS: "0" }, /^POLL_INTERVAL_MS: .*from 10/],
    [
      "a node without a contract",
      { BLOCKCHAIN_RPC_URL: "http://x" },
      /^BLOCKCHAIN_CONTRACT_ADDRESS:/,
    ],
    [
      "a node without a key",
      { BLOCKCHAIN_RPC_URL: "http://x", BLOCKCHAIN_CONTRACT_ADDRESS: `0x${"0".repeat(40)}` },
      /^PRIVATE_KEY:/,
    ],
  ];
  for (const [what, environment, message] of refused) {
    it(`refuses ${what}, and names the setting`, () => {
      expect(() => loadConfig(environment)).to.throw(ConfigError, message);
    });
  }

  it("takes addresses of databases whose passwords are escaped", () => {
    for (const DATABASE_URL of [
      "mysql://anchord:12%2334@db/anchord",
      "mariadb://root@127.0.0.1:3306/anchord?connectTimeout=1000",
    ])
      expect(loadConfig({ DATABASE_URL })).to.include({ DATABASE_URL });
  });

  it("ends a start with 2 where the database's address is none, without its password", async () => {
    const { code, output } = await startFails({
      DATA_DIR: temporaryFolder(),
      DATABASE_URL: "mysql://anchord:correct#horse@db/anchord",
    });
    expect(code).to.equal(2);
    expect(output).to.match(/^anchord: DATABASE_URL: is no address/);
    expect(output).not.to.match(/correct|horse/);
  });

  it("never repeats a secret in its refusal", () => {
    try {
      loadConfig({ PRIVATE_KEY: "not-a-key-but-secret" });
      expect.fail("it was accepted");
    } catch (error) {
      expect((error as Error).message).not.to.contain("not-a-key-but-secret");
    }
  });

  it("knows which addresses only this host can reach", () => {
    expect(["localhost", "127.0.0.1", "127.1.2.3", "::1"].every(isLoopback)).to.equal(true);
    expect(["0.0.0.0", "::", "10.0.0.1", "127.0.0.1.example"].some(isLoopback)).to.equal(false);
  });
});
