import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { expect } from "chai";
import {
  AuditService,
  RecordEventsRequestSchema,
} from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { GRPC_DOOR } from "../support/doors.js";
import { startExternalChain } from "../support/external-chain.js";
import { repositoryRoot } from "../support/repository.js";
import { run } from "../support/run.js";
import type { Ended } from "../support/run.js";
import { withDatabase } from "../support/tables.js";

const ANCHORD = join(repositoryRoot, "bin/anchord.js");
const TOKEN = "correct-horse";

/** A block as the trading bot's scripts read it. */
interface Block extends JsonObject {
  readonly index: number;
  readonly data: JsonObject[];
  readonly previous_hash: string;
  readonly hash: string;
}

describe("the trading bot's command line", function () {
  this.timeout(240_000);
  const folder = temporaryFolder();
  let daemon: Daemon;

  before(async () => {
    daemon = await startDaemon({ API_TOKENS: TOKEN });
  });
  after(() => daemon?.kill());

  function anchord(args: readonly string[], input = ""): Promise<Ended> {
    const door = ["--server", `localhost:${daemon.grpcPort}`, "--token", TOKEN];
    return run(process.execPath, [ANCHORD, ...args, ...door], input);
  }

  /** Runs a command that must end without an error, and reads the JSON that it prints. */
  async function json(args: readonly string[], input = ""): Promise<unknown> {
    const { code, stdout, stderr } = await anchord(args, input);
    expect(code, `${args.join(" ")}: ${stderr}`).to.equal(0);
    return JSON.parse(stdout);
  }

  const trail = async (...args: string[]) =>
    (await json(["get-audit-trail", ...args])) as JsonObject[];
  const record = (type: string, data: JsonValue, ...args: string[]) =>
    json(["record-event", "--type", type, "--data", JSON.stringify(data), ...args]);

  it("records what the bot does, from arguments, files and pipes, and reads it back", async () => {
    const trade = {
      trade_id: "t-1",
      symbol: "BTC/USDT",
      side: "buy",
      quantity: 0.1,
      price: 50000.5,
      order_type: "market",
      details: { fee: 0.1 },
    };
    const timestamp = "2026-02-01T12:00:00.123456+01:00";
    const args = ["--wait", "final", "--request-id", "r-1"];
    const first = (await record("trade", { ...trade, timestamp }, ...args)) as JsonObject;
    expect(first).to.include({ state: "final", subject: "trade/t-1", replayed: false });
    const again = (await record("trade", { ...trade, timestamp }, ...args)) as JsonObject;
    expect(again).to.deep.equal({ ...first, replayed: true });

    const file = join(folder, "change.json");
    const change = { component: "engine", change_type: "deploy", details: { new_value: 2 } };
    await writeFile(file, JSON.stringify({ ...change, user: "ada" }));
    await json(["record-event", "--type", "system_change", "--data-file", file]);
    await json(["record-event", "--type", "signal", "--data-file", "-"], '{"strength":0.7}');

    const [signal, changed, traded] = await trail();
    expect(signal).to.deep.include({ type: "signal", subject: "signal", data: { strength: 0.7 } });
    expect(changed).to.deep.include({ type: "system_change", actor: "ada", data: change });
    const place = { sequence: 0, trail_index: 0, block_index: 1, state: "final" };
    expect(traded).to.deep.include({
      id: first["record_id"],
      type: "trade",
      data: trade,
      ...place,
    });
    expect(traded?.["timestamp"]).to.equal("2026-02-01T11:00:00.123456Z");
  });

  it("finds records by type and time, whatever the zone, and pages through a long trail", async () => {
    const at = "2026-02-01T12:00:00.123456+01:00";
    const types = async (...args: string[]) => (await trail(...args)).map(({ type }) => type);
    expect(await types("--start-time", at, "--end-time", "2026-02-02")).to.deep.equal(["trade"]);
    expect(await types("--end-time", at)).to.deep.equal([]);
    expect(await types("--start-time", "2026-02-02 00:00", "--limit", "1")).to.deep.equal([
      "signal",
    ]);
    expect(await types("--type", "system_change")).to.deep.equal(["system_change"]);
    const event = { subject: "bulk", body: { case: "custom", value: { type: "tick" } } } as const;
    const events = Array.from({ length: 1_200 }, () => event);
    const client = createClient(AuditService, GRPC_DOOR.transport(daemon, TOKEN));
    const requests = async function* () {
      yield create(RecordEventsRequestSchema, { events });
    };
    for await (const _ of client.recordEvents(requests()));
    const long = await trail("--type", "tick", "--limit", "1100");
    expect(long.map(({ sequence }) => sequence)).to.deep.equal(
      Array.from({ length: 1_100 }, (_, i) => 1_202 - i),
    );
  });

  it("seals on demand, and tells the totals", async () => {
    const { index, pending_transactions } = (await json(["force-mine"])) as JsonObject;
    expect(pending_transactions).to.equal(0);
    const stats = (await json(["get-stats"])) as JsonObject;
    expect(stats).to.deep.include({
      chain_length: Number(index) + 1,
      total_transactions: 1_203,
      transaction_types: { tick: 1_200, signal: 1, system_change: 1, trade: 1 },
      pending_transactions: 0,
      is_valid: true,
    });
    for (const time of ["first_block_time", "last_block_time"]) {
      expect(stats[time]).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    }
  });

  it("has a chain of blocks back to block 0, each by its index and its hash", async () => {
    const output = join(folder, "chain.json");
    const { stdout } = await anchord(["get-chain", "--limit", "1000", "--output", output]);
    expect(stdout).to.equal("");
    const chain = JSON.parse(await readFile(output, "utf8")) as Block[];
    const [genesis, first] = chain;
    for (const [i, block] of chain.entries()) {
      expect(block).to.include.keys("timestamp", "nonce", "root", "size", "transaction_hash");
      expect(block).to.deep.include({ index: i, size: block.data.length });
      if (i > 0) expect(block.previous_hash).to.equal(chain[i - 1]?.hash);
      for (const { block_hash } of block.data) expect(block_hash).to.equal(block.hash);
    }
    const sequences = chain.flatMap(({ data }) => data.map(({ sequence }) => sequence));
    expect(sequences).to.deep.equal(Array.from({ length: 1_203 }, (_, i) => i));
    expect(await json(["get-block", "--index", "1"])).to.deep.equal(first);
    expect(await json(["get-block", "--hash", first!.hash])).to.deep.equal(first);
    expect(await json(["get-block", "--hash", first!.previous_hash])).to.deep.equal(genesis);
    const one = ["get-chain", "--start-index", "1", "--limit", "1"];
    expect(await json(one)).to.deep.equal([first]);
    const summary = await anchord([...one, "--format", "summary"]);
    expect(summary.stdout).to.match(/^INDEX .*HASH\n1 +\S+Z +1 +final +[0-9a-f]{64}\n$/);
    const door = ["--server", `localhost:${daemon.grpcPort}`, "--token", TOKEN];
    const piped = `set -o pipefail; "$@" | head -c 1`;
    const longTrail = [process.execPath, ANCHORD, "get-audit-trail", "--limit", "1203", ...door];
    expect(await run("bash", ["-c", piped, "bash", ...longTrail])).to.deep.equal({
      code: 0,
      stdout: "[",
      stderr: "",
    });
    const missing = await anchord(["get-block", "--index", "999999"]);
    expect([missing.code, missing.stdout]).to.deep.equal([5, ""]);
    expect(missing.stderr).to.include("there is no such batch");
  });

  it("says what is wrong with a command, and ends with 2", async () => {
    const wrong: [string[], RegExp][] = [
      [["get-blok"], /Did you mean get-block\?/],
      [["get-block"], /--index or --hash must be given/],
      [["get-audit-trail", "--start-time", "yesterday"], /must be a time such as/],
      [["get-audit-trail", "--type", "Trade"], /filter\.type/],
      [
        ["get-audit-trail", "--start-time", "2026-02-02", "--end-time", "2026-02-01"],
        /--end-time must be after/,
      ],
      [["record-event", "--type", "x", "--data-file", join(folder, "none")], /none: ENOENT/],
      [
        ["record-event", "--type", "trade", "--data", '{"price":0.12345678901234567891}'],
        /round it/,
      ],
      [["get-chain", "--output", folder], /is a folder/],
    ];
    for (const [args, message] of wrong) {
      const { code, stdout, stderr } = await anchord(args);
      expect([code, stdout], args.join(" ")).to.deep.equal([2, ""]);
      expect(stderr).to.match(message);
    }
    const bare = ["get-stats", "--server", `localhost:${daemon.grpcPort}`];
    const unknown = await run(process.execPath, [ANCHORD, ...bare]);
    expect(unknown.code).to.equal(2);
    expect(unknown.stderr).to.include("--token");
  });

  it("ends with 4 where the service is away, or something else answers", async () => {
    const others = [`localhost:${daemon.httpPort}`, `https://localhost:${daemon.grpcPort}`];
    for (const server of ["localhost:9", ...others]) {
      const args = ["get-audit-trail", "--server", server, "--token", TOKEN];
      const { code, stdout, stderr } = await run(process.execPath, [ANCHORD, ...args]);
      expect([code, stdout], stderr).to.deep.equal([4, ""]);
      expect(stderr).to.match(/^UNREACHABLE: localhost:/);
      if (server.startsWith("https:")) expect(stderr).to.include("does not speak TLS");
    }
  });

  it("prints columns, also to a file where it is told to", async () => {
    const file = join(folder, "trades.txt");
    const args = ["--type", "trade", "--format", "table", "--output", file];
    expect(await anchord(["get-audit-trail", ...args])).to.include({ code: 0, stdout: "" });
    expect(await readFile(file, "utf8")).to.match(
      /^TIME +TYPE +STATE +BLOCK +SUBJECT +DATA\n2026-02-01T11:00:00.123Z trade +final +1 +trade\/t-1 +\{"trade_id":/,
    );
  });

  it("finds an edited row: is_valid is false, and the exit code 1", async () => {
    const valid = await anchord(["verify-chain", "--format", "table"]);
    expect(valid.code, valid.stderr).to.equal(0);
    expect(valid.stdout).to.match(/^VALID: \d+ blocks with 1203 records/);
    await withDatabase({ DATA_DIR: daemon.dataDir }, (sql) =>
      sql("update records set actor = 'nobody' where seq = 1"),
    );
    const { code, stdout } = await anchord(["verify-chain"]);
    expect(code).to.equal(1);
    const found = JSON.parse(stdout) as { problems: JsonObject[] };
    expect(found).to.include({ is_valid: false, transactions_checked: 1_203 });
    expect(found.problems).to.have.lengthOf(1);
    expect(found.problems[0]).to.include({ sequence: 1, column: "records.actor" });
    const stats = await anchord(["get-stats"]);
    expect(stats.code).to.equal(1);
    expect(JSON.parse(stats.stdout)).to.include({ is_valid: false });
  });
});

describe("the trading bot's command line, where the chain is away", function () {
  this.timeout(120_000);

  it("says what the service says of it, and ends with 4", async () => {
    const chain = await startExternalChain();
    const daemon = await startDaemon({ ...chain.environment, DATA_DIR: temporaryFolder() });
    try {
      await chain.stop();
      const args = [ANCHORD, "verify-chain", "--server", `localhost:${daemon.grpcPort}`];
      const { code, stdout, stderr } = await run(process.execPath, args);
      expect([code, stdout], stderr).to.deep.equal([4, ""]);
      expect(stderr).to.match(/^UNREACHABLE: .*chain.*\n$/);
      expect(stderr).not.to.match(/running|--server|localhost/);
    } finally {
      await daemon.kill();
    }
  });
});
