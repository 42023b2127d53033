import { join } from "node:path";
import { expect } from "chai";
import { certificateVector, certificateVectors, expectationArgs } from "../support/certificates.js";
import { repositoryRoot } from "../support/repository.js";
import { run } from "../support/run.js";
import type { Ended } from "../support/run.js";
import { serveChain } from "../support/scripted-chain.js";
import { receiptVector, vectors } from "../support/vectors.js";
import type { ReceiptVector } from "../support/vectors.js";

const ANCHORD = join(repositoryRoot, "bin/anchord.js");
const PYTHON = process.env["PYTHON"] ?? "python3";

/** What a verifier prints in JSON. */
interface Judged {
  readonly verdict: string;
  readonly failed_step: string | null;
  readonly record: Readonly<Record<string, unknown>> | null;
  readonly block_time: string | null;
  readonly trusted: readonly string[];
}

describe("anchord verify, of a certificate", function () {
  this.timeout(120_000);
  let node: Awaited<ReturnType<typeof serveChain>>;

  before(async () => {
    node = await serveChain((name) => certificateVectors.chains[name]);
  });
  after(() => node.close());

  function verify(text: string, chain: string, ...options: readonly string[]): Promise<Ended> {
    const args = [ANCHORD, "verify", "-", "--rpc", `${node.url}/${chain}`, ...options];
    return run(process.execPath, args, text);
  }

  function verifyVector(name: string): Promise<Ended> {
    const { certificate, chain, expect: expected } = certificateVector(name);
    return verify(JSON.stringify(certificate), chain, ...expectationArgs(expected));
  }

  /** What both verifiers print in JSON; their exit codes must be the same. */
  async function bothJudge(text: string, args: readonly string[]) {
    const [ours, theirs] = await Promise.all([
      run(process.execPath, [ANCHORD, "verify", "-", "--format=json", ...args], text),
      run(PYTHON, ["examples/verify.py", "-", "--json", ...args], text),
    ]);
    expect(ours.code, ours.stderr).to.equal(theirs.code);
    return { ours: JSON.parse(ours.stdout) as Judged, theirs: JSON.parse(theirs.stdout) as Judged };
  }

  for (const [name, ending] of [
    ["valid_met_in_time", /VALID: the deadline for complaint\/ABC12345 was met in time, at \S+Z\n/],
    ["valid_breached", /VALID: the deadline for complaint\/ABC12345 was broken, at \S+Z\n/],
    ["valid_met_since", /was broken, at \S+Z; it was met late since, at 2026-03-08T00:00:00Z\n/],
    ["format_unknown_member", /^FALSE at step format: /],
    ["identity_expected_registry", /^FALSE at step identity: .* registry /],
    ["contract_log_alone", /^FALSE at step contract: no SLARegistry contract answers/],
    ["cycle_unknown", /^FALSE at step cycle: the registry has no deadline 3 of this subject\n$/],
    ["set_root", /^FALSE at step set\/root: /],
  ] as const) {
    it(`${name}: ends with its code`, async () => {
      const { code, stdout, stderr } = await verifyVector(name);
      expect(stdout, stderr).to.match(ending);
      expect(code).to.equal(certificateVector(name).exitCode);
    });
  }

  it("shows how the deadline stood, and what the records say", async () => {
    const { stdout } = await verifyVector("valid_met_in_time");
    expect(stdout).to.match(
      /^subject: complaint\/ABC12345\ncycle: 1\ndeadline: 2026-02-03T12:00:00Z$/m,
    );
    expect(stdout).to.match(/^as of: block 250000 of 2026-03-01T12:00:00Z$/m);
    expect(stdout).to.match(/^set by:\n {2}subject: complaint\/ABC12345\n {2}actor: desk\/3$/m);
    expect(stdout).to.match(/^met by:\n(?: {2}.*\n)* {2}deadline_met\.reason: paid back$/m);
  });

  it("names what it trusts, as far as it was not told", async () => {
    const told = await verifyVector("valid_expected");
    expect(told.stdout).to.match(/\nTrusted: the node at 127\.0\.0\.1:\d+\n$/);
    const open = await verifyVector("valid_met_in_time");
    expect(open.stdout).to.match(
      /certificate's own word for .*--chain-id.*--contract.*--log.*--registry/,
    );
    const bare = await verifyVector("valid_met_since");
    expect(bare.stdout).to.match(
      /own word for .*--chain-id\), the registry \(give --registry\)\n$/,
    );
  });

  it("prints one JSON object, with all that examples/verify.py says by the same names", async () => {
    const judged = async (name: string) => {
      const { certificate, chain, expect: expected } = certificateVector(name);
      const args = [...expectationArgs(expected), "--rpc", `${node.url}/${chain}`];
      return bothJudge(JSON.stringify(certificate), args);
    };
    const { ours, theirs } = await judged("valid_met_in_time");
    expect(ours).to.include({ verdict: "VALID", failed_step: null, block_time: null });
    expect(ours.trusted).to.have.length(2);
    expect(ours.record).to.deep.include({
      subject: theirs.record?.["subject"],
      cycle: Number(theirs.record?.["cycle"]),
      verdict: theirs.record?.["verdict"],
      meet_time: theirs.record?.["meetTime"],
      as_of_block: Number(theirs.record?.["asOfBlock"]),
      "meet.deadline_met.reason": theirs.record?.["meet.deadline_met.reason"],
    });
    const bad = await judged("set_root");
    expect(bad.ours).to.include({ verdict: "FALSE", failed_step: bad.theirs.failed_step });
    expect(bad.ours).to.deep.include({ record: null, trusted: [] });
  });

  it("prints a receipt so as well, valid or not anchored yet", async () => {
    const receipts = await serveChain((name) => vectors.chains[name]);
    try {
      const judged = ({ receipt, chain }: ReceiptVector) =>
        bothJudge(JSON.stringify(receipt), ["--rpc", `${receipts.url}/${chain}`]);
      const { ours, theirs } = await judged(receiptVector("valid_trade"));
      expect(ours).to.include({ verdict: "VALID", block_time: theirs.block_time });
      const told = Object.entries(theirs.record ?? {}).filter(([, value]) => value !== "");
      expect(ours.record).to.deep.include(Object.fromEntries(told));
      const bare = await judged(receiptVector("bare"));
      expect(bare.ours).to.include({ verdict: "NOT_ANCHORED", failed_step: null });
      expect(bare.ours.record?.["id"]).to.equal(bare.theirs.record?.["id"]);
    } finally {
      await receipts.close();
    }
  });

  it("ends with 2 for options that are not for it, and with 4 without a node", async () => {
    const text = JSON.stringify(certificateVector("valid_met_late").certificate);
    const file = await verify(text, "registry", "--file", ANCHORD);
    expect([file.code, file.stderr]).to.deep.equal([
      2,
      "anchord: --file is for bundles, and this is none\n",
    ]);
    const receipt = JSON.stringify(receiptVector("valid_threat").receipt);
    const registry = await verify(receipt, "registry", "--registry", `0x${"00".repeat(20)}`);
    expect(registry.code).to.equal(2);
    expect(registry.stderr).to.include("--registry is for bundles and certificates");
    const away = await verify(text, "none");
    expect([away.code, away.stdout]).to.deep.equal([4, ""]);
  });
});
