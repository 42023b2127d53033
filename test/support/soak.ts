import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import type { JsonObject } from "@bufbuild/protobuf";
import type { RecordEventRequest } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import type { Record } from "../../gen/ts/anchord/v1/record_pb.js";
import { migratedDataDir, startDaemon } from "./daemon.js";
import type { Daemon } from "./daemon.js";
import { expectWhole, sealed } from "./log-checks.js";
import { randomOf } from "./random.js";
import type { Random } from "./random.js";
import { until } from "./until.js";

/** One soak: a daemon under load that is killed, and killed again. */
export interface SoakOptions {
  readonly seed: number;
  /** Address of an empty MySQL database; undefined for SQLite. */
  readonly mysqlUrl?: string | undefined;
  /** The fault points at which the first daemons kill themselves, such as "seal.after-commit:2". */
  readonly faults: readonly string[];
  /** How often a daemon is then killed from outside, at random moments. */
  readonly kills: number;
}

/** What a soak went through. */
export interface SoakReport {
  readonly records: number;
  readonly acknowledged: number;
  readonly restarts: number;
}

/** An event as its client knows it: the n-th of its client's. */
interface Sent {
  readonly client: string;
  readonly n: number;
  readonly requestId: string;
}

interface Acknowledged extends Sent {
  readonly recordId: string;
}

/** How long an answer may take: longer than any pause that a kill makes. */
const CALL_MS = 30_000;

/** Acknowledgements between two kills, and after the last. */
const STRETCH = { least: 20, most: 400 } as const;

/**
 * Loads a daemon from several clients at once while it is killed and restarted on the same data, lets
 * everything settle, and checks that what was acknowledged is in the log as it must be. Rejects with
 * what does not hold.
 */
export async function soak({ seed, mysqlUrl, faults, kills }: SoakOptions): Promise<SoakReport> {
  const random = randomOf(seed);
  const service = new Service(await migratedDataDir(), mysqlUrl, random);
  const ledger = new Ledger();
  await service.start(faults[0]);
  const clients = startClients(service, ledger, seed);
  const clientsFail = clients.catch((error: unknown) => {
    service.finish();
    throw error;
  });
  clientsFail.catch(() => undefined); // reported below, once the service has come to rest
  try {
    for (const [i] of faults.entries()) await service.restartAfterDeath(faults[i + 1]);
    for (let kill = 0; kill < kills; kill++) {
      await ledger.grows(random.between(STRETCH.least, STRETCH.most), clientsFail);
      await turns(random.between(0, 50));
      await service.kill();
    }
    await ledger.grows(STRETCH.least, clientsFail);
    service.finish();
    await clientsFail;
    const daemon = service.current;
    await sealed(daemon, 60_000);
    const records = await expectWhole(daemon);
    expectKept(records, ledger.all);
    const report = {
      records: records.length,
      acknowledged: ledger.all.length,
      restarts: service.restarts,
    };
    await daemon.stop();
    await service.expectNoOrphans();
    return report;
  } finally {
    service.finish();
    await service.current.kill();
  }
}

/** Lets the event loop turn so many times. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise(setImmediate);
}

/** The daemon of the moment, on data that outlives it. */
class Service {
  readonly #chainPids = new Set<number>();
  #daemon: Promise<Daemon> | undefined;
  #current: Daemon | undefined;
  #dead: Daemon | undefined;
  #finished = false;
  #fault: string | undefined;
  restarts = 0;

  constructor(
    private readonly dataDir: string,
    private readonly mysqlUrl: string | undefined,
    private readonly random: Random,
  ) {}

  get current(): Daemon {
    if (this.#current === undefined) throw new Error("the daemon was not started");
    return this.#current;
  }

  get isFinished(): boolean {
    return this.#finished;
  }

  /** Tells the clients to end: what they have begun they still bring to its end. */
  finish(): void {
    this.#finished = true;
  }

  /** The daemon that runs, or the next one to. */
  async daemon(): Promise<Daemon> {
    return this.#daemon!;
  }

  /** A call to this daemon has failed, which is right only if it was killed. Resolves to the next. */
  async after(failed: Daemon, error: unknown): Promise<Daemon> {
    await until(
      "the daemon has ended",
      () => this.#dead === failed || this.#current !== failed,
    ).catch(() => {
      throw new Error(`a call failed though the daemon runs: ${String(error)}`, { cause: error });
    });
    return this.daemon();
  }

  /** Starts the first daemon; with a fault, one that will kill itself there. */
  async start(fault?: string): Promise<void> {
    this.#daemon = this.#launch(fault);
    await this.#daemon;
  }

  /** Kills the daemon, and starts another on its data. */
  async kill(): Promise<void> {
    process.kill(this.current.pid, "SIGKILL");
    await this.restartAfterDeath();
  }

  /** Waits until the daemon has died, and starts another. */
  async restartAfterDeath(fault?: string): Promise<void> {
    const dying = this.current;
    let died = false;
    void dying.ended.then(() => (died = true));
    await until(`the daemon dies at ${this.#fault ?? "SIGKILL"}`, () => died, 60_000);
    this.#dead = dying;
    this.#daemon = this.#launch(fault);
    await this.#daemon;
    this.restarts += 1;
  }

  async #launch(fault: string | undefined): Promise<Daemon> {
    // Half of the time the next daemon meets the Ganache of the one before it.
    if (this.random.between(0, 1) === 0) await this.expectNoOrphans();
    this.#fault = fault;
    this.#current = await startDaemon({
      DATA_DIR: this.dataDir,
      LOG_LEVEL: "error",
      ...(this.mysqlUrl === undefined ? {} : { DATABASE_URL: this.mysqlUrl }),
      ...(fault === undefined ? {} : { ANCHORD_FAULT: fault }),
    });
    this.#noteChain();
    return this.#current;
  }

  /** No Ganache of a daemon that has ended may live on. */
  async expectNoOrphans(): Promise<void> {
    for (const pid of this.#chainPids) {
      await until(`Ganache ${pid} has ended`, () => !isAlive(pid));
      this.#chainPids.delete(pid);
    }
  }

  #noteChain(): void {
    const file = readFileSync(join(this.dataDir, "chain", "endpoint.json"), "utf8");
    this.#chainPids.add((JSON.parse(file) as { pid: number }).pid);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** What was acknowledged. */
class Ledger {
  readonly all: Acknowledged[] = [];
  #changed: () => void = () => undefined;

  add(sent: Sent, recordId: string): void {
    this.all.push({ ...sent, recordId });
    this.#changed();
  }

  /** Resolves when so many more were acknowledged; rejects when the clients fail. */
  async grows(by: number, clients: Promise<unknown>): Promise<void> {
    const goal = this.all.length + by;
    const reached = new Promise<void>((resolve) => {
      this.#changed = () => {
        if (this.all.length >= goal) resolve();
      };
    });
    await Promise.race([reached, clients]);
  }
}

/** Runs the clients until the service is finished. */
async function startClients(service: Service, ledger: Ledger, seed: number): Promise<void> {
  const run = async (name: string, client: Client) => {
    const random = randomOf(
      seed + name.split("").reduce((sum, c) => sum * 31 + c.charCodeAt(0), 7),
    );
    await client({ name, service, ledger, random });
  };
  const names = (kind: string, count: number) =>
    Array.from({ length: count }, (_, i) => `${kind}-${i}`);
  await Promise.all([
    ...names("careful", 6).map((name) => run(name, carefulClient)),
    ...names("loose", 3).map((name) => run(name, looseClient)),
    ...names("stream", 2).map((name) => run(name, streamClient)),
  ]);
}

interface ClientParts {
  readonly name: string;
  readonly service: Service;
  readonly ledger: Ledger;
  readonly random: Random;
}

type Client = (parts: ClientParts) => Promise<void>;

function eventOf({ client, n, requestId }: Sent, random: Random) {
  const value = { type: "soak", data: { client, n } as JsonObject };
  return {
    subject: `soak/${random.between(0, 4)}`,
    requestId,
    body: { case: "custom" as const, value },
  };
}

/** Records one event after the other, and repeats each until it is acknowledged. */
async function carefulClient({ name, service, ledger, random }: ClientParts): Promise<void> {
  let daemon = await service.daemon();
  for (let n = 0; !service.isFinished; n++) {
    const sent = { client: name, n, requestId: `${name}/${n}` };
    const event = eventOf(sent, random);
    for (let acknowledged = false; !acknowledged;) {
      try {
        const { recordId } = await daemon.grpc.recordEvent(event, { timeoutMs: CALL_MS });
        ledger.add(sent, recordId);
        acknowledged = true;
      } catch (error) {
        daemon = await service.after(daemon, error);
      }
    }
  }
}

/** Records events without a request id: whatever fails is not repeated. */
async function looseClient({ name, service, ledger, random }: ClientParts): Promise<void> {
  let daemon = await service.daemon();
  for (let n = 0; !service.isFinished; n++) {
    const sent = { client: name, n, requestId: "" };
    try {
      const { recordId } = await daemon.grpc.recordEvent(eventOf(sent, random), {
        timeoutMs: CALL_MS,
      });
      ledger.add(sent, recordId);
    } catch (error) {
      daemon = await service.after(daemon, error);
    }
  }
}

interface Message {
  readonly sent: readonly Sent[];
  readonly events: readonly ReturnType<typeof eventOf>[];
}

/** Most messages of a stream that are not acknowledged yet. */
const STREAM_WINDOW = 4;

/** Records over a stream, and when it breaks, sends what was not acknowledged over the next. */
async function streamClient({ name, service, ledger, random }: ClientParts): Promise<void> {
  const unacknowledged: Message[] = [];
  let n = 0;
  const nextMessage = (): Message => {
    const sent = Array.from({ length: random.between(1, 20) }, () => {
      const event = { client: name, n, requestId: `${name}/${n}` };
      n += 1;
      return event;
    });
    return { sent, events: sent.map((each) => eventOf(each, random)) };
  };
  let daemon = await service.daemon();
  while (!service.isFinished || unacknowledged.length > 0) {
    const gate = new Gate();
    try {
      const requests = async function* () {
        for (let at = 0; at < unacknowledged.length || !service.isFinished; at = gate.sent) {
          if (at - gate.acknowledged >= STREAM_WINDOW) {
            await gate.opens();
            continue;
          }
          const index = at - gate.acknowledged;
          if (index >= unacknowledged.length) unacknowledged.push(nextMessage());
          const { events } = unacknowledged[index]!;
          gate.sent += 1;
          yield { events: events as unknown as RecordEventRequest[] };
          if (service.isFinished && gate.sent - gate.acknowledged >= unacknowledged.length) return;
        }
      };
      for await (const { recordIds } of daemon.grpc.recordEvents(requests())) {
        const { sent } = unacknowledged.shift()!;
        for (const [i, each] of sent.entries()) ledger.add(each, recordIds[i]!);
        gate.acknowledge();
      }
    } catch (error) {
      gate.acknowledge();
      daemon = await service.after(daemon, error);
    }
  }
}

/** Counts the messages of one stream, and lets its sender wait for acknowledgements. */
class Gate {
  sent = 0;
  acknowledged = 0;
  #open: () => void = () => undefined;

  acknowledge(): void {
    this.acknowledged += 1;
    this.#open();
  }

  opens(): Promise<void> {
    return new Promise((resolve) => (this.#open = resolve));
  }
}

/** Every acknowledged event is in the log once, no other twice, each client's in its order. */
function expectKept(records: readonly Record[], acknowledged: readonly Acknowledged[]): void {
  const byEvent = new Map<string, Record>();
  const lastOf = new Map<string, number>();
  for (const record of records) {
    const { client, n } = dataOf(record);
    const key = `${client}/${n}`;
    expect(byEvent.has(key), `${key} is in the log twice`).to.equal(false);
    byEvent.set(key, record);
    expect(n, `${key} stands behind ${client}/${lastOf.get(client)}`).to.be.greaterThan(
      lastOf.get(client) ?? -1,
    );
    lastOf.set(client, n);
  }
  for (const { client, n, recordId } of acknowledged) {
    const key = `${client}/${n}`;
    expect(byEvent.get(key)?.id, `${key} was acknowledged`).to.equal(recordId);
  }
}

function dataOf({ body }: Record): { client: string; n: number } {
  if (body.case !== "custom") throw new Error("a record is not of the soak");
  return body.value.data as { client: string; n: number };
}
