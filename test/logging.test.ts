import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { expect } from "chai";
import { EvidenceService } from "../gen/ts/anchord/v1/evidence_service_pb.js";
import { SLAService } from "../gen/ts/anchord/v1/sla_service_pb.js";
import { loadConfig } from "../src/config.js";
import { hiderOf } from "../src/config/secrets.js";
import { LogFile } from "../src/logging/file.js";
import { startDaemon, temporaryFolder } from "./support/daemon.js";
import type { Daemon } from "./support/daemon.js";
import { DOORS, refusalOf } from "./support/doors.js";
import { repositoryRoot } from "./support/repository.js";
import { run } from "./support/run.js";
import { until } from "./support/until.js";

/** A line of the log. */
type Line = Readonly<Record<string, unknown>>;

const linesOf = (text: string) =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);

describe("a log file", () => {
  let path: string;
  let said: string[];

  beforeEach(() => {
    path = join(temporaryFolder(), "logs", "anchord.log");
    said = [];
  });

  const open = () =>
    new LogFile({ path, mostBytes: 100, kept: 2 }, (message) => said.push(message));
  const read = (file: string) => readFileSync(file, "utf8");

  it("is its owner's alone, and goes on where it was", () => {
    open().write("one\n");
    expect(statSync(path).mode & 0o777).to.equal(0o600);
    writeFileSync(path, "one\ncut sh"); // as a power failure leaves it
    open().write("two\n");
    expect(read(path)).to.equal("one\ncut sh\ntwo\n");
    expect(said).to.deep.equal([]);
  });

  it("is rotated before it is too large, and so many are kept", () => {
    const file = open();
    for (let i = 0; i < 10; i++) file.write(`${i}${"-".repeat(48)}\n`); // two fit
    expect(readdirSync(join(path, "..")).sort()).to.deep.equal([
      ...["anchord.log", "anchord.log.1", "anchord.log.2"],
    ]);
    expect([path, `${path}.1`, `${path}.2`].map((name) => read(name)[0])).to.deep.equal([
      ...["8", "6", "4"],
    ]);
    file.write(`${"x".repeat(200)}\n`);
    expect(read(path)).to.have.length(201);
  });

  it("that cannot be written is said once, and stops nothing", () => {
    mkdirSync(path, { recursive: true });
    const file = open();
    file.write("one\n");
    file.write("two\n");
    expect(said).to.have.length(1);
    expect(said[0]).to.match(/^the log file cannot be written: EISDIR.*standard error only$/);
    rmSync(path, { recursive: true });
    const later = Date.now;
    try {
      Date.now = () => later() + 60_000;
      file.write("three\n");
    } finally {
      Date.now = later;
    }
    expect(read(path)).to.equal("three\n");
    expect(said[1]).to.equal("the log file is written again; it misses 2 lines");
  });

  it("may be no device, which a rotation would rename", () => {
    new LogFile({ path: "/dev/null", mostBytes: 1, kept: 1 }, (message) =>
      said.push(message),
    ).write("x\n");
    expect(said[0]).to.include("/dev/null is not a file");
    expect(statSync("/dev/null").isFile()).to.equal(false);
  });
});

/** Settings with a secret of every kind. */
const SECRETS = {
  BLOCKCHAIN_RPC_URL:
    "https://user:Rpc%2FPassword@node.example/v3/0123456789abcdef?apikey=12345%2B67890",
  BLOCKCHAIN_CONTRACT_ADDRESS: `0x${"1".repeat(40)}`,
  PRIVATE_KEY: `0x${"5e".repeat(32)}`,
  CONTENT_KEY: "c0".repeat(32),
  API_TOKENS: '12345678,to"ken\\with-all',
  DATABASE_URL: "mysql://anchord:db-password@db:3306/anchord",
};

/** Logs what could happen, and ends at once. */
const SCRIPT = `
import { loadConfig } from "${repositoryRoot}/dist/src/config.js";
import { openLogger } from "${repositoryRoot}/dist/src/logging.js";
const log = openLogger(loadConfig());
const { PRIVATE_KEY, CONTENT_KEY, API_TOKENS, DATABASE_URL, BLOCKCHAIN_RPC_URL } = process.env;
const error = new Error("POST " + BLOCKCHAIN_RPC_URL + " failed", { cause: new Error(DATABASE_URL) });
error.request = { headers: { authorization: "Bearer some-other-token" }, at: [PRIVATE_KEY.toUpperCase()] };
log.error({ err: error, count: 12345678 }, "key " + CONTENT_KEY.slice(0) + " of " + API_TOKENS);
log.info({ peer: "redis://x:unknown-password@host", path: "Rpc/Password" }, "a plain line");
process.exit();
`;

describe("the log", function () {
  this.timeout(120_000);

  it("has no secret in any line, and every line, however the process ends", async () => {
    const folder = temporaryFolder();
    const settings = { ...SECRETS, LOG_TO_FILE: "true", DATA_DIR: folder };
    const environment = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
    const script = join(folder, "log.mjs");
    writeFileSync(script, SCRIPT);
    const { stderr } = await run("env", [...environment, process.execPath, script]);
    const file = readFileSync(join(folder, "anchord.log"), "utf8");
    expect(file).to.equal(stderr);
    const lines = linesOf(file);
    expect(lines).to.have.length(2);
    expect(lines[0]).to.include({ count: 12345678, msg: "key [secret] of [secret],[secret]" });
    const text = JSON.stringify(lines).replace('"count":12345678', "");
    expect(text).not.to.match(/5e5e|c0c0|db-pass|Rpc|abcdef|123456|ken|unknown-p/i);
    expect(text).to.include("POST https://user:[secret]@node.example/v3/[secret]?apikey=[secret]");
    // A standard error that takes nothing, such as a full disk, does not stop what logs.
    const full = `${environment.map((each) => `'${each}'`).join(" ")} '${process.execPath}' ${script}`;
    const { code } = await run("sh", ["-c", `env ${full} 2>/dev/full`]);
    expect(code).to.equal(0);
    expect(linesOf(readFileSync(join(folder, "anchord.log"), "utf8"))).to.have.length(4);
  });

  it("leaves alone what is no secret", () => {
    const hide = hiderOf(loadConfig({ API_TOKENS: "a,info,longer-than-that" }));
    const harmless = "a basic token of the bearer; http://localhost:3001/a@b, info";
    expect(hide(harmless)).to.equal(harmless);
  });
});

describe("a service that is told of everything by the plugin's config.yaml", function () {
  this.timeout(120_000);

  let daemon: Daemon;
  let logFile: string;

  before(async () => {
    const folder = temporaryFolder();
    logFile = join(folder, "logs", "audit.log");
    const CONFIG_FILE = join(folder, "config.yaml");
    writeFileSync(
      CONFIG_FILE,
      `enabled: true
name: blockchain_audit
description: Immutable audit trail
version: 1.0.0
category: security
mining_interval: 1
difficulty: 1
db_path: ${join(folder, "audit.db")}
auto_mine: true
record_types: [trade, login, custom.note]
max_chain_size: null
prune_older_than: 0
encrypt_sensitive_data: false
hash_algorithm: sha256
expose_api: true
api_endpoints: []
log_level: INFO
log_to_file: true
log_file: ${logFile}
api_tokens: [the-only-token]
`,
    );
    daemon = await startDaemon({ CONFIG_FILE });
    chmodSync(CONFIG_FILE, 0o600);
  });

  after(() => daemon?.stop());

  for (const door of DOORS) {
    it(`takes the types of record_types alone, through ${door.name}`, async () => {
      const client = door.client(daemon, "the-only-token");
      const subject = door.name;
      const login = { case: "login", value: { user: "ada" } } as const;
      const note = { case: "custom", value: { type: "custom.note" } } as const;
      const other = { case: "custom", value: { type: "custom.other" } } as const;
      const order = { case: "order", value: { orderId: "1", symbol: "BTC" } } as const;
      for (const body of [login, note]) await client.recordEvent({ subject, body });
      for (const [body, type] of [
        [other, "custom.other"],
        [order, "order"],
      ] as const) {
        const refused = await refusalOf(client.recordEvent({ subject, body }));
        expect(refused).to.include({
          code: "InvalidArgument",
          reason: "ERROR_REASON_RECORD_TYPE_NOT_ACCEPTED",
        });
        expect(refused.metadata).to.deep.equal({ type });
        expect(refused.message).to.include(`"${type}"`).and.to.include("trade, login, custom.note");
      }
      const { count } = await client.countRecords({ filter: { subject } });
      expect(count).to.equal(2n);
    });
  }

  it("tells the threat bridge's callers as they know it", async () => {
    const response = await fetch(`${daemon.url}/log-threat`, {
      method: "POST",
      headers: { authorization: "Bearer the-only-token", "content-type": "application/json" },
      body: JSON.stringify({
        ...{ user_id: "eve", threat_score: 92.5, duration_minutes: 3 },
        timestamp: "2026-01-31T08:00:00Z",
      }),
    });
    expect(response.status).to.equal(400);
    const body = (await response.json()) as { error: string };
    expect(body).to.include({ success: false });
    expect(body.error).to.include('records of type "threat" are not accepted here');
  });

  it("refuses a whole message of a stream, and records none of it", async () => {
    const client = DOORS[0]!.client(daemon, "the-only-token");
    const event = (user: string) =>
      ({ subject: "streamed", body: { case: "login", value: { user } } }) as const;
    const other = {
      subject: "streamed",
      body: { case: "configChange", value: { key: "x" } },
    } as const;
    async function* messages() {
      yield { events: [event("a"), other] };
    }
    const drain = async () => {
      for await (const _ of client.recordEvents(messages()));
    };
    expect((await refusalOf(drain())).reason).to.equal("ERROR_REASON_RECORD_TYPE_NOT_ACCEPTED");
    expect((await client.countRecords({ filter: { subject: "streamed" } })).count).to.equal(0n);
  });

  it("has a line for each step of every operation's life, in the file and on standard error", async () => {
    const transport = DOORS[0]!.transport(daemon, "the-only-token");
    const subject = "complaint/7";
    const sha256 = "ab".repeat(32);
    await createClient(EvidenceService, transport).anchorEvidence({ subject, sha256 });
    await createClient(SLAService, transport).setDeadline({
      ...{ subject, ladder: [{ seconds: 0n }] },
      when: { case: "within", value: { seconds: 6n } }, // it must be on the chain by then
    });
    const lines = () => linesOf(readFileSync(logFile, "utf8"));
    const mined = () => lines().filter(({ msg }) => msg === "operation mined");
    const lifeOf = ({ transactionHash: hash }: Line) =>
      lines().filter(({ transactionHash }) => transactionHash === hash);
    // A broadcast that the node did not answer in time is repeated without a line: others are whole.
    const wholeOf = (kind: string) =>
      mined().find((operation) => operation["kind"] === kind && lifeOf(operation).length === 3);
    const kinds = ["SEAL", "EVIDENCE", "SLA", "ESCALATION"];
    await until(
      "operations of all kinds are mined, and all is told of them",
      () => kinds.every((kind) => wholeOf(kind) !== undefined),
      40_000,
    );
    for (const operation of kinds.map(wholeOf) as Line[]) {
      const life = lifeOf(operation);
      expect(life.map(({ msg }) => msg)).to.have.members([
        ...["operation signed", "operation broadcast", "operation mined"],
      ]);
      const { kind, number, nonce, blockNumber, gasUsed } = operation;
      for (const line of life) expect(line).to.include({ kind, number, nonce, level: 30 });
      expect(blockNumber).to.be.above(0);
      expect(gasUsed).to.be.above(21_000);
    }
    await until("both have the same lines", () => daemon.log() === readFileSync(logFile, "utf8"));
    expect(daemon.log()).not.to.include("the-only-token");
  });
});
