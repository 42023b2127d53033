import { chmodSync, existsSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { expect } from "chai";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import type { Health } from "../../src/api/health.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { anvilBinary, startAnvilChain, startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { repositoryRoot } from "../support/repository.js";
import { run } from "../support/run.js";
import { dumpTables, withDatabase } from "../support/tables.js";
import { until } from "../support/until.js";

interface Finding {
  readonly check: string;
  readonly outcome: "OK" | "WARN" | "FAIL" | "SKIPPED";
  readonly found: string;
  readonly advice: string;
}

/** A key whose account has neither ether nor roles. */
const OTHER_KEY = "5e".repeat(32);

/** Anvil tells the time of the block that it would make next; Ganache does not. */
const tellsItsTime = anvilBinary() !== undefined;

describe("anchord doctor", function () {
  this.timeout(120_000);

  let chain: ExternalChain;
  let daemon: Daemon;
  let settings: Record<string, string>;

  before(async () => {
    chain = await (tellsItsTime ? startAnvilChain() : startExternalChain());
    settings = { ...chain.environment, DATA_DIR: temporaryFolder(), CONFIRMATIONS: "0" };
    daemon = await startDaemon(settings);
    const body = { case: "login", value: { user: "ada" } } as const;
    await daemon.grpc.recordEvent({ subject: "a", body, waitFor: RecordState.ANCHORED });
    const hasBegun = async () => {
      const health = (await (await fetch(`${daemon.url}/health`)).json()) as Health;
      return health.integrity.passStartTime !== undefined;
    };
    await until("the auditor has begun", hasBegun);
  });

  after(async () => {
    await daemon.stop();
    await chain.stop();
  });

  async function doctor(environment: Record<string, string>, format = "json") {
    const variables = Object.entries({ PORT: "0", GRPC_PORT: "0", ...environment });
    const { code, stdout } = await run("env", [
      ...variables.map(([name, value]) => `${name}=${value}`),
      process.execPath,
      join(repositoryRoot, "bin/anchord.js"),
      "doctor",
      `--format=${format}`,
    ]);
    const findings = new Map<string, Finding>();
    if (format === "json") {
      for (const line of stdout.trim().split("\n")) {
        const finding = JSON.parse(line) as Finding;
        findings.set(finding.check, finding);
      }
    }
    return { code, stdout, findings };
  }

  it("finds nothing wrong beside a service that runs, and tells no secret", async () => {
    const ports = { PORT: String(daemon.httpPort), GRPC_PORT: String(daemon.grpcPort) };
    const { code, stdout, findings } = await doctor({ ...settings, ...ports });
    expect(code, stdout).to.equal(0);
    const others = [...findings.values()].filter(({ outcome }) => outcome !== "OK");
    expect(others).to.deep.equal([]);
    expect([...findings.keys()]).to.deep.equal([
      "settings",
      "chain",
      "clock",
      "AuditLog",
      "EvidenceRegistry",
      "SLARegistry",
      "balance",
      "database",
      "log",
      "integrity",
      "content store",
      "content keys",
      "key files",
      "disk",
      "HTTP port",
      "gRPC port",
    ]);
    expect(findings.get("log")?.found).to.match(/^1 batches, the same on chain/);
    expect(findings.get("gRPC port")?.found).to.match(/served by anchord$/);
    expect(stdout).not.to.include(chain.environment["PRIVATE_KEY"]!.replace(/^0x/, ""));
  });

  it("says of each fault what to do about it, and mends none of them", async () => {
    await daemon.stop();
    const problem = JSON.stringify({ batchNumber: "1", column: "batches.head" });
    await withDatabase(settings, async (sql) => {
      await sql("update batches set head = root");
      await sql("update audit set problem = ?", [problem]);
    });
    const before = await dumpTables(settings);
    if (tellsItsTime) await chain.rpc("evm_setTime", Math.floor(Date.now() / 1_000) - 3_600);
    chmodSync(join(settings["DATA_DIR"] ?? "", "keys/content.key"), 0o644);
    const stranger = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => stranger.listen(0, "127.0.0.1", resolve));
    const { code, stdout, findings } = await doctor({
      ...settings,
      PRIVATE_KEY: OTHER_KEY,
      EVIDENCE_CONTRACT_ADDRESS: chain.evidence,
      SLA_CONTRACT_ADDRESS: chain.sla,
      PORT: String((stranger.address() as AddressInfo).port),
    });
    stranger.close();
    expect(code, stdout).to.equal(1);
    const expected: Readonly<Record<string, readonly [Finding["outcome"], RegExp]>> = {
      ...(tellsItsTime ? { clock: ["WARN", /NTP/] as const } : {}),
      AuditLog: ["FAIL", /grant SEALER_ROLE to 0x/],
      EvidenceRegistry: ["FAIL", /grant ANCHORER_ROLE to 0x/],
      SLARegistry: ["FAIL", /grant MANAGER_ROLE to 0x/],
      balance: ["FAIL", /send ether to 0x/],
      log: ["FAIL", /VerifyLog/],
      integrity: ["FAIL", /VerifyLog/],
      "key files": ["WARN", /^chmod 600 .*content\.key$/],
      "HTTP port": ["FAIL", /set PORT/],
    };
    for (const [check, [outcome, advice]] of Object.entries(expected)) {
      expect(findings.get(check)?.outcome, check).to.equal(outcome);
      expect(findings.get(check)?.advice).to.match(advice);
    }
    expect(await dumpTables(settings)).to.deep.equal(before);
  });

  it("tells contracts that were mixed up, and a database that is behind", async () => {
    const { code, findings } = await doctor({
      ...settings,
      DATA_DIR: temporaryFolder(),
      EVIDENCE_CONTRACT_ADDRESS: chain.sla,
    });
    expect(code).to.equal(1);
    expect(findings.get("EvidenceRegistry")?.advice).to.match(/SLARegistry.*SLA_CONTRACT_ADDRESS/);
    expect(findings.get("log")).to.include({ outcome: "FAIL" });
    expect(findings.get("log")?.advice).to.match(/anchord rebuild/);
  });

  it("tells a database of another program", async () => {
    const DATA_DIR = temporaryFolder();
    await withDatabase({ DATA_DIR }, (sql) => sql("create table blocks (nonce integer)"));
    const { code, findings } = await doctor({ ...settings, DATA_DIR });
    expect(code).to.equal(1);
    expect(findings.get("database")).to.deep.equal({
      check: "database",
      outcome: "FAIL",
      found: "the database has tables of another program (blocks)",
      advice: "set DB_PATH, or DATABASE_URL, to one of its own",
    });
  });

  it("starts nothing where there is nothing yet", async () => {
    const DATA_DIR = join(temporaryFolder(), "none");
    const { code, stdout } = await doctor({ DATA_DIR }, "table");
    expect(code, stdout).to.equal(0);
    expect(stdout).to.match(/^SKIPPED +chain +no embedded chain runs/m);
    expect(stdout).to.match(/^ +-> start the service/m);
    expect(existsSync(DATA_DIR)).to.equal(false);
  });

  it("does not take a file system without room for a disk", async function () {
    if (!existsSync("/proc/self")) return void this.skip();
    const { findings } = await doctor({ DATA_DIR: "/proc/none" });
    expect(findings.get("disk")).to.include({ outcome: "FAIL" });
    expect(findings.get("disk")?.advice).to.match(/set DATA_DIR/);
  });

  it("ends with 4 where only the chain is away, and with 2 where settings cannot be read", async () => {
    await chain.stop();
    const away = await doctor({ ...settings, DATA_DIR: temporaryFolder() });
    expect(away.findings.get("chain")?.outcome).to.equal("FAIL");
    expect(away.code, away.stdout).to.equal(4);
    const wrong = await doctor({ ...settings, POLL_INTERVAL_MS: "soon" });
    expect(wrong.findings.get("settings")?.found).to.match(/POLL_INTERVAL_MS/);
    expect(wrong.findings.get("settings")?.advice).to.match(/docs\/configuration\.md/);
    expect(wrong.code).to.equal(2);
  });
});
