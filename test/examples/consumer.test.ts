import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import Database from "libsql";
import { EventKind, Finality } from "../../gen/ts/anchord/v1/event_pb.js";
import type { Event } from "../../gen/ts/anchord/v1/event_pb.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { pythonWithStubs } from "../support/python.js";
import { randomOf, seedOfRun } from "../support/random.js";
import { recordSome } from "../support/rebuild.js";
import { startRelay } from "../support/relay.js";
import type { Relay } from "../support/relay.js";
import { drain, turns } from "../support/stream-reorg.js";
import { Subscriber } from "../support/subscriber.js";
import { until } from "../support/until.js";

const TOKEN = "correct-horse";
const STEPS = 24;

/** A consumer that runs. */
interface Consumer {
  readonly process: ChildProcess;
  /** What it has written to standard error so far. */
  log(): string;
  /** Resolves to its exit code; null where it was killed. */
  readonly ended: Promise<number | null>;
}

describe("examples/python/consumer.py", function () {
  this.timeout(240_000);

  const seed = seedOfRun();
  let python: string;
  let chain: ExternalChain;
  let relay: Relay;
  let settings: Record<string, string>;
  let daemon: Daemon;
  let file: string;
  const consumers: Consumer[] = [];

  before(async function () {
    this.timeout(300_000);
    console.log(`      SEED=${seed}`);
    python = await pythonWithStubs();
  });

  beforeEach(async () => {
    const folder = temporaryFolder();
    file = join(folder, "consumer.db");
    chain = await startExternalChain();
    settings = { ...chain.environment, CONFIRMATIONS: "2", DATA_DIR: join(folder, "data") };
    daemon = await startDaemon(settings);
    relay = await startRelay(daemon.grpcPort);
  });

  afterEach(async () => {
    for (const consumer of consumers.splice(0)) consumer.process.kill("SIGKILL");
    await relay?.close();
    await daemon?.kill();
    await chain?.stop();
  });

  function consume(database = file, options: readonly string[] = []): Consumer {
    const server = `localhost:${new URL(relay.url).port}`;
    const args = ["--server", server, "--database", database, "--subscription", "test", ...options];
    const process = spawn(python, ["examples/python/consumer.py", ...args], {
      stdio: ["ignore", "inherit", "pipe"],
    });
    let log = "";
    process.stderr.on("data", (data: Buffer) => (log += data.toString()));
    const ended = new Promise<number | null>((resolve) => process.once("exit", resolve));
    const consumer = { process, log: () => log, ended };
    consumers.push(consumer);
    return consumer;
  }

  async function restart(): Promise<void> {
    relay.target = undefined;
    await daemon.kill();
    daemon = await startDaemon(settings);
    relay.target = daemon.grpcPort;
  }

  it("misses nothing and applies each event once, whatever dies", async () => {
    const random = randomOf(seed);
    await recordSome(daemon, random, 400);
    let consumer = consume();
    const cut = () => Promise.resolve(relay.cut());
    const things = [
      cut,
      cut,
      restart,
      async () => {
        consumer.process.kill("SIGKILL");
        expect(await consumer.ended, consumer.log()).to.equal(null);
        consumer = consume();
      },
      () => chain.mine(random.between(1, 3)),
    ];
    for (let step = 0; step < STEPS; step++) {
      const before = rowsIn(file);
      const { length } = await recordSome(daemon, random, random.between(1, 40));
      await turns(random.between(0, 1_000));
      await things[step % things.length]!();
      await hasRows(file, consumer, before + random.between(0, length));
    }
    const records = await drain(daemon, chain);
    const undisturbed = new Subscriber(() => daemon.events.grpc);
    await undisturbed.caughtUp(records);
    await undisturbed.stop();
    const { happenings } = undisturbed;
    await hasRows(file, consumer, happenings.length);
    expect(
      read(file, "select kind, finality, sequence, batch from history order by n"),
    ).to.deep.equal(happenings.map(rowOf));
    expect(read(file, "select key from applied order by key").map(({ key }) => key)).to.deep.equal(
      happenings.map(({ key }) => key).sort(),
    );
    expect(read(file, "select sum(count) as count from totals")).to.deep.equal([
      { count: happenings.length },
    ]);
    await until("everything is acknowledged", async () => {
      const { subscriptions } = await daemon.events.grpc.listSubscriptions({});
      return subscriptions[0]?.pendingSince === undefined;
    });
    consumer.process.kill("SIGTERM");
    expect(await consumer.ended, consumer.log()).to.equal(0);
  });

  it("ends with a clear message when another consumer takes over, and the other goes on", async () => {
    const random = randomOf(seed);
    await recordSome(daemon, random, 10);
    await drain(daemon, chain);
    const first = consume();
    await hasRows(file, first, 1);
    const second = consume(`${file}.2`);
    expect(await first.ended).to.equal(1);
    expect(first.log()).to.include("another consumer has taken over the subscription test");
    expect(first.log()).not.to.include("Traceback");
    await recordSome(daemon, random, 10);
    await hasRows(`${file}.2`, second, 1);
  });

  it("ends at once, and says why, where trying again is of no use", async () => {
    await recordSome(daemon, randomOf(seed), 1);
    await drain(daemon, chain);
    await daemon.stop();
    daemon = await startDaemon({ ...settings, API_TOKENS: TOKEN });
    relay.target = daemon.grpcPort;
    const refused = consume();
    expect(await refused.ended).to.equal(1);
    expect(refused.log()).to.match(/^UNAUTHENTICATED: /);
    const consumer = consume(file, ["--token", TOKEN]);
    await hasRows(file, consumer, 1);
    consumer.process.kill("SIGTERM");
    expect(await consumer.ended, consumer.log()).to.equal(0);
  });
});

/** An event as the consumer's history has it. */
function rowOf({ kind, finality, payload }: Event) {
  return {
    kind: EventKind[kind],
    finality: Finality[finality],
    sequence: payload.case === "record" ? Number(payload.value.sequence) : null,
    batch: batchOf(payload),
  };
}

function batchOf({ case: name, value }: Event["payload"]): number | null {
  if (name === undefined) return null;
  return Number((name === "batch" ? value.sealed?.number : value.batchNumber) ?? 0n);
}

async function hasRows(file: string, consumer: Consumer, count: number): Promise<void> {
  await until(`${count} events are applied`, () => rowsIn(file) >= count, 90_000).catch(
    (error: Error) => {
      throw new Error(`${error.message}: ${rowsIn(file)}; ${consumer.log()}`);
    },
  );
}

function rowsIn(file: string): number {
  if (!existsSync(file)) return 0;
  if (read(file, "select 1 from sqlite_master where name = 'history'").length === 0) return 0;
  return Number(read(file, "select count(*) as count from history")[0]?.["count"]);
}

function read(file: string, query: string): Record<string, unknown>[] {
  const database = new Database(file, { timeout: 5_000 });
  try {
    return database.prepare(query).all() as Record<string, unknown>[];
  } finally {
    database.close();
  }
}
