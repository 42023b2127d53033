import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect } from "chai";
import { ErrorInfoSchema, RetryInfoSchema } from "../../gen/ts/google/rpc/error_details_pb.js";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { startGanache } from "../support/ganache.js";
import type { TestChain } from "../support/ganache.js";
import { expectWhole, healthOf, problemsOf, sealed } from "../support/log-checks.js";
import { sharedMysql, startMysql } from "../support/mysql.js";
import { startRelay } from "../support/relay.js";
import { until } from "../support/until.js";

const { ACCEPTED, ANCHORED } = RecordState;

function event(subject: string, requestId = "", text = "") {
  const data = text === "" ? {} : { text };
  return { subject, requestId, body: { case: "custom" as const, value: { type: "test", data } } };
}

/** The status, the reason, and whether the error says when to try again. */
function verdictOf(error: unknown) {
  const known = ConnectError.from(error);
  const [info] = known.findDetails(ErrorInfoSchema);
  const [retry] = known.findDetails(RetryInfoSchema);
  return { code: known.code, reason: info?.reason, retries: retry?.retryDelay !== undefined };
}

async function failureOf(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => {
      throw new Error("the call did not fail");
    },
    (error: unknown) => error,
  );
}

/** Clients that record one event after the other until they are told to end. */
function startLoad(daemons: readonly Daemon[], clients: number) {
  const acknowledged: string[] = [];
  const failures: unknown[] = [];
  let isEnding = false;
  const run = async (client: number) => {
    const { grpc } = daemons[client % daemons.length]!;
    for (let n = 0; !isEnding; n++) {
      for (let done = false; !done;) {
        try {
          const { recordId } = await grpc.recordEvent(event(`load/${client}`, `${client}/${n}`), {
            timeoutMs: 20_000,
          });
          acknowledged.push(recordId);
          done = true;
        } catch (error) {
          failures.push(error);
          // The next attempt waits for the service, as RetryInfo asks.
          await until(
            "records are accepted again",
            async () => (await healthOf(daemons[client % daemons.length]!)).database.healthy,
            60_000,
          );
        }
      }
    }
  };
  const all = Promise.all(Array.from({ length: clients }, (_, client) => run(client)));
  all.catch(() => undefined);
  return {
    acknowledged,
    failures,
    end: async () => {
      isEnding = true;
      await all;
    },
  };
}

async function grows(list: readonly unknown[], by: number): Promise<void> {
  const goal = list.length + by;
  await until("more is acknowledged", () => list.length >= goal, 30_000);
}

async function expectKept(daemon: Daemon, acknowledged: readonly string[]): Promise<void> {
  await sealed(daemon, 60_000);
  const records = await expectWhole(daemon);
  expect(new Set(acknowledged).size).to.equal(acknowledged.length);
  const ids = new Set(records.map(({ id }) => id));
  for (const id of acknowledged) expect(ids.has(id), id).to.equal(true);
  expect(records).to.have.length(acknowledged.length);
}

async function hasHealth(daemon: Daemon, status: string): Promise<void> {
  let last = "";
  await until(
    `health is ${status}`,
    async () => {
      const health = await healthOf(daemon);
      last = JSON.stringify(health);
      return health.status === status;
    },
    30_000,
  ).catch((error: Error) => {
    throw new Error(`${error.message}: ${last}`);
  });
}

describe("When MariaDB is killed under load", function () {
  this.timeout(120_000);

  it("calls fail as DATABASE_UNAVAILABLE, and it recovers without a restart or a loss", async function () {
    if ((await sharedMysql())?.kill === undefined) return this.skip();
    const mysql = await startMysql();
    const daemon = await startDaemon({
      DATABASE_URL: await mysql.createDatabase(),
      LOG_LEVEL: "error",
    });
    try {
      const load = startLoad([daemon], 6);
      for (let outage = 0; outage < 2; outage++) {
        await grows(load.acknowledged, 50);
        await mysql.kill?.();
        await hasHealth(daemon, "unhealthy");
        const refused = await failureOf(daemon.grpc.recordEvent(event("down")));
        expect(verdictOf(refused)).to.deep.equal({
          code: Code.Unavailable,
          reason: "ERROR_REASON_DATABASE_UNAVAILABLE",
          retries: true,
        });
        const read = await failureOf(daemon.http.listRecords({}));
        expect(verdictOf(read).reason).to.equal("ERROR_REASON_DATABASE_UNAVAILABLE");
        expect((await healthOf(daemon)).code).to.equal(503);
        await mysql.restart?.();
        await hasHealth(daemon, "healthy");
      }
      await grows(load.acknowledged, 50);
      await load.end();
      for (const failure of load.failures) {
        expect(verdictOf(failure).reason).to.equal("ERROR_REASON_DATABASE_UNAVAILABLE");
      }
      await expectKept(daemon, load.acknowledged);
    } finally {
      await daemon.kill();
      await mysql.kill?.();
    }
  });
});

describe("When the chain is down", function () {
  this.timeout(120_000);

  it("records are accepted, health is degraded, and all is sealed when it is back", async () => {
    const dbPath = temporaryFolder();
    const chain = await startExternalChain({ dbPath });
    const relay = await startRelay(portOf(chain.url));
    const settings = {
      ...chain.environment,
      BLOCKCHAIN_RPC_URL: relay.url,
      DATA_DIR: temporaryFolder(),
    };
    const daemon = await startDaemon(settings);
    let again: TestChain | undefined;
    let second: Daemon | undefined;
    try {
      const ids = [(await daemon.grpc.recordEvent({ ...event("a"), waitFor: ANCHORED })).recordId];
      relay.target = undefined;
      await chain.stop();
      await hasHealth(daemon, "degraded");
      expect((await healthOf(daemon)).code).to.equal(503);
      for (const n of [1, 2, 3]) {
        const { recordId, state } = await daemon.grpc.recordEvent(event("a", `down/${n}`));
        expect(state).to.equal(ACCEPTED);
        ids.push(recordId);
      }
      again = await startGanache({ dbPath });
      relay.target = portOf(again.url);
      await hasHealth(daemon, "healthy");
      await expectKept(daemon, ids);

      await daemon.stop();
      relay.target = undefined;
      await again.stop();
      second = await startDaemon(settings);
      await hasHealth(second, "degraded");
      ids.push((await second.grpc.recordEvent(event("b"))).recordId);
      again = await startGanache({ dbPath });
      relay.target = portOf(again.url);
      await hasHealth(second, "healthy");
      await expectKept(second, ids);
    } finally {
      await daemon.kill();
      await second?.kill();
      await relay.close();
      await again?.stop();
    }
  });

  function portOf(url: string): number {
    return Number(new URL(url).port);
  }

  it("because the embedded Ganache was killed, the daemon starts another and seals on", async () => {
    const daemon = await startDaemon({ LOG_LEVEL: "error" });
    try {
      const endpoint = () =>
        JSON.parse(readFileSync(join(daemon.dataDir, "chain", "endpoint.json"), "utf8")) as {
          url: string;
          pid: number;
        };
      const ids = [(await daemon.grpc.recordEvent({ ...event("a"), waitFor: ANCHORED })).recordId];
      const { pid } = endpoint();
      process.kill(pid, "SIGKILL");
      ids.push((await daemon.grpc.recordEvent(event("a"))).recordId);
      await until("another Ganache runs", () => endpoint().pid !== pid, 30_000);
      await hasHealth(daemon, "healthy");
      await expectKept({ ...daemon, rpcUrl: endpoint().url }, ids);
    } finally {
      await daemon.stop();
    }
  });
});

describe("When the disk is full", function () {
  this.timeout(120_000);

  it("calls fail as STORAGE_FULL, reads go on, and it recovers when there is room", async function () {
    const mount = temporaryFolder();
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=24m", "tmpfs", mount], { stdio: "ignore" });
    } catch {
      process.stderr.write(
        "\nSKIPPED: a full disk needs a tmpfs, and mount is not permitted here\n\n",
      );
      return this.skip();
    }
    const chain = await startExternalChain();
    const daemon = await startDaemon({ ...chain.environment, DATA_DIR: mount });
    try {
      const first = (await daemon.grpc.recordEvent({ ...event("a"), waitFor: ANCHORED })).recordId;
      const ballast = join(mount, "ballast");
      fill(ballast);
      const kept = [first];
      let refused: unknown;
      for (let n = 0; refused === undefined && n < 10_000; n++) {
        await daemon.grpc.recordEvent(event("a", `full/${n}`, "x".repeat(10_000))).then(
          ({ recordId }) => kept.push(recordId),
          (error: unknown) => (refused = error),
        );
      }
      expect(verdictOf(refused)).to.deep.include({
        code: Code.ResourceExhausted,
        reason: "ERROR_REASON_STORAGE_FULL",
      });
      expect((await daemon.grpc.getRecord({ recordId: first })).record?.id).to.equal(first);
      await hasHealth(daemon, "unhealthy");
      const { database } = await healthOf(daemon);
      expect(database.error).to.match(/^the disk under the database is full/);
      rmSync(ballast);
      await until("records are accepted again", () =>
        daemon.grpc.recordEvent(event("a", "after")).then(
          ({ recordId }) => kept.push(recordId) > 0,
          () => false,
        ),
      );
      await hasHealth(daemon, "healthy");
      await expectKept(daemon, kept);
    } finally {
      await daemon.kill();
      await chain.stop();
      execFileSync("umount", ["-l", mount]);
    }
  });

  /** Takes all the room there is, and leaves some to a record or two. */
  function fill(file: string): void {
    for (let size = 24 * 2 ** 20; size > 2 ** 16; size -= 2 ** 16) {
      try {
        writeFileSync(file, Buffer.alloc(size));
        return;
      } catch {
        rmSync(file, { force: true }); // too much: try with less
      }
    }
  }
});

describe("Two daemons on one database", function () {
  this.timeout(120_000);

  it("record at once, one of them seals, and the other takes over when it is killed", async function () {
    const mysql = await sharedMysql();
    if (mysql === undefined) return this.skip();
    const chain = await startExternalChain();
    const settings = { ...chain.environment, DATABASE_URL: await mysql.createDatabase() };
    const daemons = [
      await startDaemon({ ...settings, DATA_DIR: temporaryFolder() }),
      await startDaemon({ ...settings, DATA_DIR: temporaryFolder() }),
    ] as const;
    try {
      const load = startLoad(daemons, 8);
      await grows(load.acknowledged, 200);
      const roles = await Promise.all(
        daemons.map(async (daemon) => (await healthOf(daemon)).sealing.role),
      );
      expect([...roles].sort()).to.deep.equal(["leader", "standby"]);
      expect(await problemsOf(daemons[0]), "found while records come in").to.deep.equal([]);
      await load.end();
      await expectKept(daemons[0], load.acknowledged);

      const leader = daemons[roles.indexOf("leader")]!;
      const other = daemons[roles.indexOf("standby")]!;
      const more = startLoad([other], 4);
      await leader.kill();
      await until(
        "the other leads",
        async () => (await healthOf(other)).sealing.role === "leader",
        30_000,
      );
      await grows(more.acknowledged, 1);
      await more.end();
      await sealed(other, 60_000);
      // Its clients gave the same request ids as the first load's: what was new is kept, the rest is replayed.
      const ids = new Set((await expectWhole(other)).map(({ id }) => id));
      for (const id of [...load.acknowledged, ...more.acknowledged])
        expect(ids.has(id)).to.equal(true);
    } finally {
      for (const daemon of daemons) await daemon.kill();
      await chain.stop();
    }
  });
});

describe("A transaction of ours that cannot take effect", function () {
  this.timeout(120_000);

  let chain: ExternalChain;
  let daemon: Daemon;

  beforeEach(async () => {
    chain = await startExternalChain();
    daemon = await startDaemon({ ...chain.environment, DATA_DIR: temporaryFolder() });
    await daemon.grpc.recordEvent({ ...event("before"), waitFor: ANCHORED });
  });

  afterEach(async () => {
    await daemon.kill();
    await chain.stop();
  });

  /** Sends from the sealer's account without its knowledge. */
  function foreignTransaction(): Promise<string> {
    return chain.rpc<string>("eth_sendTransaction", {
      from: chain.sealer,
      to: chain.admin,
      gas: "0x5208",
      value: "0x0",
    });
  }

  it("because a stranger with its key has used its nonce: the batch is sealed once all the same", async () => {
    for (let round = 0; round < 3; round++) {
      await foreignTransaction();
      const { state } = await daemon.grpc.recordEvent({ ...event("a"), waitFor: ANCHORED });
      expect(state).to.be.at.least(ANCHORED);
    }
    await expectWhole(daemon);
    await hasHealth(daemon, "healthy");
  });

  it("because the sealer lost its role: FAILED is seen, health says what to do, and it recovers", async () => {
    const { methods } = chain.auditLog;
    const role = await methods.SEALER_ROLE().call();
    await methods.revokeRole(role, chain.sealer).send({ from: chain.admin });
    const { recordId, state } = await daemon.grpc.recordEvent(event("a"));
    expect(state).to.equal(ACCEPTED);
    await until(
      "the failure is counted",
      async () => (await healthOf(daemon)).sealing.failedOperations > 0,
    );
    await hasHealth(daemon, "degraded");
    const { code, sealing } = await healthOf(daemon);
    expect(code).to.equal(503);
    expect(sealing.error).to.match(/SEALER_ROLE|AccessControl/);
    expect(sealing.error).to.match(/grant/);
    expect(await (await fetch(`${daemon.url}/metrics`)).text()).to.match(
      /^anchord_operations_failed [1-9]/m,
    );
    const { failedOperations } = sealing;
    await methods.grantRole(role, chain.sealer).send({ from: chain.admin });
    await hasHealth(daemon, "healthy");
    await sealed(daemon);
    expect((await healthOf(daemon)).sealing.failedOperations).to.equal(failedOperations);
    expect((await expectWhole(daemon)).at(-1)?.id).to.equal(recordId);
  });
});
