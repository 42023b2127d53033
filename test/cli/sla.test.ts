import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { create, toJson } from "@bufbuild/protobuf";
import { expect } from "chai";
import { SLASchema, SLAState } from "../../gen/ts/anchord/v1/sla_pb.js";
import {
  GetCertificateResponseSchema,
  SLAService,
} from "../../gen/ts/anchord/v1/sla_service_pb.js";
import { slaLines } from "../../src/cli/sla-line.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { repositoryRoot } from "../support/repository.js";
import { run } from "../support/run.js";
import type { Ended } from "../support/run.js";
import { advance } from "../support/sla.js";
import type { SlaClient } from "../support/sla.js";
import { until } from "../support/until.js";

const ANCHORD = join(repositoryRoot, "bin/anchord.js");
const HOUR = 3_600;

/** A deadline or a check as the commands print it. */
interface Line {
  readonly subject: string;
  readonly state?: string;
  readonly cycle?: number;
  readonly level?: number;
  readonly breached?: boolean;
  readonly ladder?: readonly string[];
  readonly outcome?: string;
  readonly previousLevel?: number;
}

describe("anchord sla and check-sla", function () {
  this.timeout(240_000);
  let chain: ExternalChain;
  let daemon: Daemon;
  let client: SlaClient;

  before(async () => {
    chain = await startExternalChain();
    const environment = { ...chain.environment, DATA_DIR: temporaryFolder(), SLA_POLICIES: "none" };
    daemon = await startDaemon(environment);
    const transport = createConnectTransport({ baseUrl: daemon.url, httpVersion: "1.1" });
    client = createClient(SLAService, transport);
  });
  after(async () => {
    await daemon?.kill();
    await chain?.stop();
  });

  function anchord(...args: readonly string[]): Promise<Ended> {
    const server = ["--server", `localhost:${daemon.grpcPort}`];
    return run(process.execPath, [ANCHORD, ...args, ...server]);
  }

  /** Runs a command that must end without an error, and reads the lines that it prints. */
  async function lines(...args: readonly string[]): Promise<Line[]> {
    const { code, stdout, stderr } = await anchord(...args);
    expect(code, stderr).to.equal(0);
    return stdout
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Line);
  }

  /** Saves a certificate, and checks it by `anchord verify` and by verify.py. */
  async function verified(subject: string): Promise<string> {
    const answer = await client.getCertificate({ subject });
    const file = join(temporaryFolder(), "certificate.json");
    await writeFile(file, JSON.stringify(toJson(GetCertificateResponseSchema, answer)));
    const rpc = ["--rpc", chain.url];
    const python = process.env["PYTHON"] ?? "python3";
    const theirs = await run(python, ["examples/verify.py", file, ...rpc]);
    expect(theirs.code, theirs.stdout).to.equal(0);
    const ours = await run(process.execPath, [ANCHORD, "verify", file, ...rpc]);
    expect(ours.code, ours.stdout).to.equal(0);
    return ours.stdout;
  }

  it("sets a deadline and meets it, each once the chain has it, and proves that", async () => {
    const [set] = await lines("sla", "set", "case/1", "--within", "PT2H", "--actor", "desk/3");
    expect(set).to.include({ subject: "case/1", state: "SLA_STATE_OPEN", cycle: 1 });
    expect(set?.ladder).to.deep.equal(["0s", "86400s", "259200s"]);
    const [met] = await lines("sla", "meet", "case/1", "--reason", "done");
    expect(met).to.include({ subject: "case/1", state: "SLA_STATE_MET" });
    await until("the receipts are there", async () => {
      const { certificate } = await client.getCertificate({ subject: "case/1" });
      return certificate?.setReceipt !== undefined && certificate.meetReceipt !== undefined;
    });
    const text = await verified("case/1");
    expect(text).to.match(/^VALID: the deadline for case\/1 was met in time, /m);
    expect(text).to.match(/^set by:\n {2}subject: case\/1\n {2}actor: desk\/3$/m);
    expect(text).to.match(/^ {2}deadline_met\.reason: done$/m);
  });

  it("repeats a call by its request id", async () => {
    const args = ["sla", "set", "case/2", "--within", "PT1H", "--request-id", "r-2"];
    const [first] = await lines(...args, "--wait", "accepted");
    const [again] = await lines(...args, "--wait", "anchored");
    expect([first?.cycle, again?.cycle]).to.deep.equal([1, 1]);
    expect(again?.state).to.equal("SLA_STATE_OPEN");
  });

  it("ends with 5 where a change is refused, and says what to do", async () => {
    const { code, stdout, stderr } = await anchord("sla", "set", "case/2", "--within", "PT1H");
    expect([code, stdout]).to.deep.equal([5, ""]);
    expect(stderr).to.match(/^anchord: the deadline for case\/2 is open, until .*: meet it first/);
    const unknown = await anchord("sla", "meet", "case/none");
    expect(unknown.code).to.equal(5);
    expect(unknown.stderr).to.include("no deadline was ever set for case/none");
  });

  it("says what is due, has it raised, and proves the breach and a late end", async () => {
    await lines("sla", "set", "case/3", "--within", "PT1H", "--ladder", "PT0S,PT1H,PT30H");
    const [early] = await lines("check-sla", "case/3", "--dry-run");
    expect(early).to.include({ subject: "case/3", outcome: "SLA_CHECK_OUTCOME_NOT_DUE" });
    await advance(chain, 2 * HOUR + 60);
    const [raised] = await lines("check-sla", "case/3");
    // The keeper may have come before it.
    expect(raised?.level).to.equal(2);
    expect(raised?.outcome).to.be.oneOf(["SLA_CHECK_OUTCOME_RAISED", "SLA_CHECK_OUTCOME_NOT_DUE"]);
    expect(await lines("check-sla", "--dry-run", "--limit", "5")).to.deep.equal([]);
    expect(await verified("case/3")).to.match(/^VALID: the deadline for case\/3 was broken, /m);
    const breached = JSON.stringify(
      toJson(GetCertificateResponseSchema, await client.getCertificate({ subject: "case/3" })),
    );
    const [met] = await lines("sla", "meet", "case/3");
    expect(met).to.include({ state: "SLA_STATE_MET", breached: true, level: 2 });
    expect(await verified("case/3")).to.match(/^VALID: the deadline for case\/3 was met late, /m);
    const args = [ANCHORD, "verify", "-", "--rpc", chain.url];
    const { code, stdout } = await run(process.execPath, args, breached);
    expect(code, stdout).to.equal(0);
    expect(stdout).to.include("it was met late since");
  });

  it("has no certificate of a deadline that has neither been met nor passed", async () => {
    await lines("sla", "set", "case/4", "--deadline", "2199-01-01T00:00:00Z");
    const error = await client
      .getCertificate({ subject: "case/4" })
      .catch((thrown: Error) => thrown);
    expect(error).to.be.instanceOf(Error);
    expect((error as Error).message).to.include("has neither been met nor passed");
  });

  it("lists deadlines by state, time, level and breach, in order, page by page", async () => {
    const subjects = async (...args: string[]) =>
      (await lines("sla", "list", ...args)).map(({ subject }) => subject);
    expect(await subjects("--state", "met")).to.deep.equal(["case/3", "case/1"]);
    expect(await subjects("--state", "met", "--order", "oldest")).to.deep.equal([
      "case/1",
      "case/3",
    ]);
    expect(await subjects("--min-level", "2")).to.deep.equal(["case/3"]);
    expect(await subjects("--no-breached", "--state", "met")).to.deep.equal(["case/1"]);
    expect(await subjects("--breached")).to.include.members(["case/2", "case/3"]);
    expect(await subjects("--due-before", "2198-01-01T00:00:00Z")).not.to.include("case/4");
    expect(await subjects("--subject", "case/4")).to.deep.equal(["case/4"]);
    expect(await subjects("--limit", "2")).to.have.lengthOf(2);
  });

  it("prints columns, without what could rewrite a screen", async () => {
    await lines("sla", "set", "\u202ecase", "--within", "PT26H");
    const { stdout } = await anchord("sla", "list", "--subject", "\u202ecase", "--format", "table");
    const [header, line] = stdout.split("\n");
    expect(header).to.match(/^STATE +DEADLINE +LEFT +BREACHED +LEVEL +CYCLE +SUBJECT$/);
    expect(line).to.match(/^open +\d{4}-\S+Z +1d [12]h +0 +1 +\\u\{202e\}case$/);
    const check = await anchord("check-sla", "--dry-run", "case/1", "--format", "table");
    expect(check.stdout).to.match(/^OUTCOME +LEVEL +BEFORE +SUBJECT\nmet +0 +0 +case\/1\n$/);
  });

  it("prints spans in their two largest units", () => {
    const left = (seconds: number) => {
      const timeRemaining = { seconds: BigInt(seconds) };
      const sla = create(SLASchema, {
        subject: "s",
        state: SLAState.SLA_STATE_OPEN,
        timeRemaining,
      });
      return /^open +(.*?) +0 +0 +s$/m.exec(slaLines([sla], "table"))?.[1];
    };
    expect([0, 59, 3_600, 90_061, -61].map(left)).to.deep.equal([
      "0s",
      "59s",
      "1h 0m",
      "1d 1h",
      "-1m 1s",
    ]);
  });

  it("ends with 3 where the chain does not have a change within the minute", async () => {
    await chain.rpc("miner_stop");
    const ended = await Promise.all([
      anchord("sla", "set", "case/5", "--within", "PT1H"),
      anchord("sla", "meet", "case/4"),
      anchord("sla", "set", "case/6", "--within", "PT1H", "--wait", "accepted"),
    ]);
    await chain.rpc("miner_start");
    expect(ended.map(({ code }) => code)).to.deep.equal([3, 3, 0]);
    expect(JSON.parse(ended[0].stdout)).to.include({ subject: "case/5" });
  });

  it("exits with 2 where it was not called as it should be, and with 4 without a service", async () => {
    const wrong = [
      ["sla"],
      ["sla", "set", "x"],
      ["sla", "set", "x", "--within", "P1M"],
      ["sla", "set", "x", "--within", "PT1H", "--deadline", "2199-01-01T00:00:00Z"],
      ["sla", "set", "x", "--deadline", "tomorrow"],
      ["sla", "set", "x", "--within", "PT1H", "--wait", "long"],
      ["sla", "list", "--state", "gone"],
      ["sla", "list", "--order", "none"],
      ["check-sla", "--limit", "0"],
    ];
    for (const args of wrong) {
      const { code, stdout, stderr } = await run(process.execPath, [ANCHORD, ...args]);
      expect(code, `${args.join(" ")}: ${stderr}`).to.equal(2);
      expect(stdout).to.equal("");
    }
    const nowhere = ["--server", "localhost:9"];
    for (const args of [["sla", "list"], ["check-sla"]]) {
      const { code, stderr } = await run(process.execPath, [ANCHORD, ...args, ...nowhere]);
      expect(code).to.equal(4);
      expect(stderr).to.match(/^UNREACHABLE: localhost:9/);
    }
  });
});
