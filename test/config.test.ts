import { execFileSync } from "node:child_process";
import { expect } from "chai";
import { ConfigError, isLoopback, loadConfig } from "../src/config.js";
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

  const refused: readonly [string, NodeJS.ProcessEnv, RegExp][] = [
    ["a port out of range", { PORT: "65536" }, /^PORT:/],
    ["a port that is no number", { GRPC_PORT: "http" }, /^GRPC_PORT:/],
    ["a database of another kind", { DATABASE_URL: "postgres://x" }, /^DATABASE_URL:.*mysql/],
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
    ["an open door without tokens", { HOST: "0.0.0.0" }, /^HOST:.*API_TOKENS/],
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
