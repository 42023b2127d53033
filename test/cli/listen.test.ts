import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { expect } from "chai";
import { RecordEventsRequestSchema } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { EventSchema } from "../../gen/ts/anchord/v1/event_pb.js";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import type { RecordSchema } from "../../gen/ts/anchord/v1/record_pb.js";
import { eventLine } from "../../src/cli/event-line.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { startRelay } from "../support/relay.js";
import type { Relay } from "../support/relay.js";
import { repositoryRoot } from "../support/repository.js";
import { run } from "../support/run.js";
import type { Ended } from "../support/run.js";
import { until } from "../support/until.js";

const ANCHORD = join(repositoryRoot, "bin/anchord.js");
const TOKEN = "correct-horse";

/** An event as `anchord listen` prints it. */
interface Line {
  readonly key: string;
  readonly kind: string;
  readonly finality: string;
  readonly record?: { readonly subject: string; readonly sequence: string };
  readonly cursor?: string;
}

function anchord(...args: readonly string[]): Promise<Ended> {
  return run(process.execPath, [ANCHORD, ...args]);
}

function linesOf(text: string): Line[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Line);
}

function keysOf(lines: readonly Line[]): string[] {
  return lines.map(({ key }) => key);
}

describe("anchord listen", function () {
  this.timeout(240_000);

  let daemon: Daemon;
  let relay: Relay;
  let server: readonly string[];
  /** Everything that was recorded before the tests, as one who listens to all of it is told. */
  let everything: Line[];
  const running: ChildProcess[] = [];

  before(async () => {
    daemon = await startDaemon();
    relay = await startRelay(daemon.grpcPort);
    server = ["--server", `localhost:${new URL(relay.url).port}`];
    await record(["a", "b", "a", "c"]);
    everything = await listen("--from", "start", "--limit", "10");
  });

  after(async () => {
    for (const child of running) child.kill("SIGKILL");
    await relay?.close();
    await daemon?.kill();
  });

  /** Records custom events about these subjects, in one batch, and waits until they are final. */
  async function record(subjects: readonly string[]): Promise<void> {
    const events = subjects.map((subject) => ({
      subject,
      body: { case: "custom" as const, value: { type: `of_${subject.replace(/[^a-z]/g, "")}` } },
    }));
    const requests = async function* () {
      yield create(RecordEventsRequestSchema, { events });
    };
    const ids: string[] = [];
    for await (const { recordIds } of daemon.grpc.recordEvents(requests())) ids.push(...recordIds);
    const recordId = ids.at(-1)!;
    await until("the records are final", async () => {
      const found = await daemon.grpc.getRecord({ recordId });
      return found.record?.state === RecordState.FINAL;
    });
  }

  /** Listens until it ends by itself, which must be without an error. */
  async function listen(...args: readonly string[]): Promise<Line[]> {
    const { code, stdout, stderr } = await anchord("listen", ...server, ...args);
    expect(code, stderr).to.equal(0);
    return linesOf(stdout);
  }

  /** Listens until it is told to stop. */
  function startListening(...args: readonly string[]) {
    const child = spawn(process.execPath, [ANCHORD, "listen", ...server, ...args]);
    running.push(child);
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (data: Buffer) => (stdout += data.toString()));
    child.stderr.on("data", (data: Buffer) => (stderr += data.toString()));
    const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
    return { child, ended, lines: () => linesOf(stdout), stderr: () => stderr };
  }

  async function restart(): Promise<void> {
    relay.target = undefined;
    await daemon.kill();
    daemon = await startDaemon({ DATA_DIR: daemon.dataDir });
    relay.target = daemon.grpcPort;
  }

  it("prints each event as JSON on a line, with a cursor to go on from", async () => {
    expect(everything.map(({ kind }) => kind)).to.deep.equal([
      "EVENT_KIND_BATCH_SEALED",
      ...Array.from({ length: 4 }, () => "EVENT_KIND_RECORD_ANCHORED"),
      "EVENT_KIND_BATCH_FINAL",
      ...Array.from({ length: 4 }, () => "EVENT_KIND_RECORD_FINAL"),
    ]);
    expect(new Set(keysOf(everything)).size).to.equal(everything.length);
    for (const [i, { cursor = "" }] of everything.slice(0, -1).entries()) {
      const [next] = await listen("--from", cursor, "--limit", "1");
      expect(next?.key).to.equal(everything[i + 1]?.key);
    }
    const whole = startListening("--from", "start");
    await until("it has heard all", () => whole.lines().length === everything.length);
    const cursors = whole.lines().map(({ cursor }) => typeof cursor);
    expect(cursors, "answers of many have one cursor").to.include("undefined");
    expect(cursors.at(-1)).to.equal("string");
    whole.child.kill();
  });

  it("prints columns, without what could rewrite a screen", async () => {
    await record(["\u202eevil"]);
    const args = [
      "--from",
      "start",
      "--subject",
      "\u202eevil",
      "--limit",
      "1",
      "--format",
      "table",
    ];
    const { code, stdout } = await anchord("listen", ...server, ...args);
    expect(code).to.equal(0);
    const [header, line] = stdout.split("\n");
    expect(header).to.match(/^TIME +KIND +FINALITY +BLOCK +BATCH +RECORD +WHAT$/);
    expect(line).to.match(
      /^\d{4}-\S+Z +record\.anchored +provisional +\d+ +2 +4 +\\u\{202e\}evil of_\S+ [0-9a-f]{64}$/,
    );
  });

  it("names types as --type takes them", () => {
    const line = (record: MessageInitShape<typeof RecordSchema>) =>
      eventLine(create(EventSchema, { payload: { case: "record", value: record } }));
    expect(line({ body: { case: "systemChange", value: {} } })).to.match(/ system_change\n$/);
    expect(line({ body: { case: "custom", value: { type: "own" } } })).to.match(/ own\n$/);
    expect(line({}), "a type that came later").to.match(/ 0\n$/);
  });

  it("prints what its filters let pass", async () => {
    const a = await listen("--from", "start", "--subject", "a", "--limit", "4");
    expect(a.map(({ kind, record }) => [kind, record?.sequence ?? "0"])).to.deep.equal([
      ["EVENT_KIND_RECORD_ANCHORED", "0"],
      ["EVENT_KIND_RECORD_ANCHORED", "2"],
      ["EVENT_KIND_RECORD_FINAL", "0"],
      ["EVENT_KIND_RECORD_FINAL", "2"],
    ]);
    const c = await listen(
      "--from",
      "start",
      "--type",
      "of_c",
      "--kind",
      "record.final",
      "--limit",
      "1",
    );
    expect(keysOf(c)).to.deep.equal([everything[9]?.key]);
    const kinds = ["--kind", "batch.sealed", "batch.final", "--limit", "2"];
    const batches = await listen("--from", "start", ...kinds);
    expect(keysOf(batches)).to.deep.equal([everything[0]?.key, everything[5]?.key]);
    const final = await listen("--from", "start", "--finality", "final", "--limit", "10");
    expect(keysOf(final)).to.deep.equal(keysOf(everything));
    expect(new Set(final.map(({ finality }) => finality))).to.deep.equal(
      new Set(["FINALITY_FINAL"]),
    );
  });

  it("from now on prints what happens from now on, and from a cursor what follows it", async () => {
    const cut = everything.findIndex(({ cursor }) => cursor !== undefined);
    const { cursor = "" } = everything[cut]!;
    const now = startListening("--subject", "later", "--limit", "1");
    // Nothing says that it has begun to listen; from its first event on, though, it must have all.
    await until("it listens", async () => {
      await record(["later"]);
      return now.lines().length > 0;
    });
    expect(await now.ended, now.stderr()).to.equal(0);
    const behind = await listen("--from", cursor, "--kind", "record.final", "--limit", "1");
    const before = new Set(keysOf(everything.slice(0, cut + 1)));
    expect(before.has(behind[0]!.key)).to.equal(false);
  });

  it("goes on from its cursor file, across restarts of its own and of the service", async () => {
    const file = join(temporaryFolder(), "cursor");
    const options = ["--from", "start", "--subject", "kept", "--cursor-file", file];
    const first = startListening(...options);
    await record(["kept", "other", "kept"]);
    await until("it has heard it", () => first.lines().length === 4);
    await restart();
    await record(["kept"]);
    await until("it has heard it", () => first.lines().length === 6, 60_000);
    expect(first.stderr()).to.include("the service is away");
    await until("the cursor is kept", () => existsSync(file));
    first.child.kill("SIGKILL");
    await first.ended;
    await record(["kept", "kept"]);
    await restart();
    const second = startListening(...options);
    const all = () => [...first.lines(), ...second.lines()];
    await until("it has heard it", () => new Set(keysOf(all())).size === 10, 60_000);
    const kinds = ["--kind", "record.anchored", "record.final", "--subject", "kept"];
    const undisturbed = await listen("--from", "start", "--limit", "10", ...kinds);
    expect([...new Set(keysOf(all()))]).to.deep.equal(keysOf(undisturbed));
    second.child.kill("SIGKILL");
  });

  it("cut by --limit in the middle of an answer loses nothing of it", async () => {
    await record(Array.from({ length: 20 }, () => "cut"));
    const goOn = [
      ["--cursor-file", join(temporaryFolder(), "cursor")],
      ["--subscription", "test/cut"],
    ];
    for (const where of goOn) {
      const options = ["--from", "start", "--subject", "cut", ...where];
      const heard = [
        ...(await listen(...options, "--limit", "3")),
        ...(await listen(...options, "--limit", "37")),
      ];
      const undisturbed = await listen("--from", "start", "--subject", "cut", "--limit", "40");
      expect(keysOf(heard)).to.deep.equal(keysOf(undisturbed));
    }
  });

  it("says so where it cannot keep its cursor", async () => {
    const file = join(temporaryFolder(), "missing", "cursor");
    const options = ["--from", "start", "--cursor-file", file, "--limit", "1"];
    const { code, stderr } = await anchord("listen", ...server, ...options);
    expect(code).to.equal(2);
    expect(stderr).to.include(file);
  });

  it("acknowledges what it has printed, and so a subscription goes on", async () => {
    const options = ["--subscription", "test/named", "--subject", "named"];
    await record(["named"]);
    const first = await listen(...options, "--from", "start", "--limit", "2");
    await record(["named"]);
    const second = await listen(...options, "--from", "start", "--limit", "2");
    expect(first.map(({ record }) => record?.sequence)).to.deep.equal(
      first.map(() => first[0]?.record?.sequence),
    );
    expect(new Set(keysOf([...first, ...second])).size).to.equal(4);
    const { subscriptions } = await daemon.events.grpc.listSubscriptions({});
    expect(subscriptions.map(({ name }) => name)).to.include("test/named");
  });

  it("ends when its subscription is taken over, and does not come back", async () => {
    const options = ["--subscription", "test/taken"];
    const first = startListening(...options, "--from", "start");
    await until("it listens", () => first.lines().length > 0);
    const second = startListening(...options);
    expect(await first.ended).to.equal(5);
    expect(first.stderr()).to.match(/another consumer has subscribed as test\/taken/);
    second.child.kill("SIGKILL");
  });

  it("ends without an error when whoever reads has gone", async () => {
    const command = `"$0" "$1" listen --server "$2" --from start | head -n 1`;
    const script = `set -o pipefail; ${command}`;
    const args = ["-c", script, process.execPath, ANCHORD, server[1]!];
    let hasEnded = false;
    const running = run("bash", args).finally(() => (hasEnded = true));
    // It notices with the next line that it writes.
    while (!hasEnded) await record(["a"]);
    const { code, stdout, stderr } = await running;
    expect(stderr).to.equal("");
    expect(code).to.equal(0);
    expect(keysOf(linesOf(stdout))).to.deep.equal([everything[0]?.key]);
  });

  it("exits with 2 where it was not called as it should be", async () => {
    const wrong = [
      ["--kind", "record.gone"],
      ["--kind", "record_final"],
      ["--finality", "sure"],
      ["--limit", "0"],
      ["--limit", "1.5"],
      ["--format", "xml"],
      ["--server", "no such place"],
      ["--from", "yesterday"],
      ["--type", "Not A Type"],
      ["--subscription", "no spaces"],
      ["--no-such-option"],
      ["--cursor-file", join(temporaryFolder(), "none/cursor")],
      ["--cursor-file", temporaryFolder()],
    ];
    for (const options of wrong) {
      const { code, stdout, stderr } = await anchord("listen", ...server, ...options);
      expect(code, `${options.join(" ")}: ${stderr}`).to.equal(2);
      expect(stdout).to.equal("");
      expect(stderr).not.to.equal("");
    }
  });

  it("exits with 4 where there is no service", async () => {
    const { code, stderr } = await anchord("listen", "--server", "localhost:9");
    expect(code).to.equal(4);
    expect(stderr).to.match(/^UNREACHABLE: localhost:9/);
  });

  it("has its token from an option or the environment", async () => {
    const guarded = await startDaemon({ API_TOKENS: TOKEN });
    try {
      const address = ["--server", `localhost:${guarded.grpcPort}`];
      const refused = await anchord("listen", ...address);
      expect([refused.code, refused.stdout]).to.deep.equal([2, ""]);
      expect(refused.stderr).to.match(/API_TOKENS/);
      const known = await anchord("sync", ...address, "--token", TOKEN);
      expect(known.code, known.stderr).to.equal(0);
      const bin = [process.execPath, ANCHORD];
      const byName = await run("env", [`ANCHORD_TOKEN=${TOKEN}`, ...bin, "sync", ...address]);
      expect(byName.code, byName.stderr).to.equal(0);
    } finally {
      await guarded.kill();
    }
  });

  describe("anchord sync", () => {
    it("says what it read and found, and that there was nothing to mend", async () => {
      const { code, stdout, stderr } = await anchord("sync", ...server);
      expect(code, stderr).to.equal(0);
      const { lastBatch } = await daemon.grpc.sealNow({});
      expect(stdout).to.match(
        new RegExp(
          `^\\d+ blocks read, ${lastBatch} batches found, 0 mended, 0 anchors of evidence found, 0 mended, ` +
            "0 changes of deadlines found, 0 mended\\n$",
        ),
      );
    });

    it("reads the blocks that it is told to", async () => {
      const options = ["--to-block", "1", "--format", "json"];
      const { code, stdout } = await anchord("sync", ...server, ...options);
      expect(code).to.equal(0);
      const totals = JSON.parse(stdout) as Record<string, number>;
      expect(totals["blocks_read"]).to.be.at.most(1);
      expect(totals).to.deep.equal({
        blocks_read: totals["blocks_read"],
        ...{ batches_found: 0, batches_mended: 0, evidence_found: 0, evidence_mended: 0 },
        ...{ deadlines_found: 0, deadlines_mended: 0 },
      });
    });

    it("exits with 2 for wrong options and with 4 where there is no service", async () => {
      for (const options of [["--from-block", "-1"], ["--to-block", "one"], ["more"]]) {
        const { code, stderr } = await anchord("sync", ...server, ...options);
        expect(code, stderr).to.equal(2);
      }
      const { code, stderr } = await anchord("sync", "--server", "localhost:9");
      expect(code).to.equal(4);
      expect(stderr).to.match(/^UNREACHABLE: localhost:9/);
    });
  });
});
