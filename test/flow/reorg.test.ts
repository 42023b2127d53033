import { cpSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { expect } from "chai";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import { hex } from "../../src/core/bytes.js";
import { startDaemon, startFails, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { anvilBinary, startAnvilChain, startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { expectWhole, healthOf, problemsOf } from "../support/log-checks.js";
import { published } from "../support/rebuild.js";
import { withDatabase } from "../support/tables.js";
import { until } from "../support/until.js";

const { ACCEPTED, ANCHORED, FINAL } = RecordState;

/** Records one event and waits until it is on the chain. Resolves to its id. */
async function anchor({ grpc }: Daemon, subject: string): Promise<string> {
  const body = { case: "custom" as const, value: { type: "test" } };
  const { recordId, state } = await grpc.recordEvent({ subject, body, waitFor: ANCHORED });
  expect(state).to.be.at.least(ANCHORED);
  return recordId;
}

async function recordOf({ grpc }: Daemon, recordId: string) {
  const { record } = await grpc.getRecord({ recordId });
  if (record === undefined) throw new Error(`there is no record ${recordId}`);
  return record;
}

async function reaches(daemon: Daemon, recordId: string, state: RecordState): Promise<void> {
  const isReached = async () => (await recordOf(daemon, recordId)).state === state;
  await until(`the record is ${RecordState[state]}`, isReached);
}

/** Everything of a receipt that a reorganisation may not change, and what it must. */
async function receiptOf({ grpc }: Daemon, recordId: string) {
  const { receipt } = await grpc.getReceipt({ recordId });
  const { batch, anchor, inclusion } = receipt!;
  return {
    kept: {
      number: batch?.number,
      root: batch && hex(batch.root),
      path: inclusion?.path.map(hex),
      transaction: anchor?.transactionHash,
    },
    blockHash: anchor?.blockHash,
    blockNumber: anchor?.blockNumber,
  };
}

describe("A reorganisation", function () {
  this.timeout(120_000);

  let chain: ExternalChain;
  let daemon: Daemon | undefined;

  afterEach(async () => {
    await daemon?.stop();
    daemon = undefined;
    await chain?.stop();
  });

  async function start(settings: Record<string, string> = {}): Promise<Daemon> {
    daemon = await startDaemon({
      ...chain.environment,
      DATA_DIR: temporaryFolder(),
      CONFIRMATIONS: "12",
      ...settings,
    });
    return daemon;
  }

  it("takes batches back, and anchors the same bytes again; final only after the confirmations", async () => {
    chain = await startExternalChain();
    const running = await start();
    await anchor(running, "before");
    const snapshot = await chain.rpc<string>("evm_snapshot");
    const ids = [
      await anchor(running, "a"),
      await anchor(running, "b"),
      await anchor(running, "a"),
    ];
    const receipts = await Promise.all(ids.map((id) => receiptOf(running, id)));
    await chain.rpc("miner_stop");
    await chain.rpc("evm_revert", snapshot);
    await chain.rpc("evm_mine", { blocks: 6 });
    for (const id of ids) await reaches(running, id, ACCEPTED);
    expect((await recordOf(running, ids[0]!)).anchor).to.equal(undefined);
    await chain.rpc("miner_start");
    for (const [i, id] of ids.entries()) {
      await reaches(running, id, ANCHORED);
      const { kept, blockHash } = await receiptOf(running, id);
      expect(kept).to.deep.equal(receipts[i]!.kept);
      expect(blockHash).to.not.equal(receipts[i]!.blockHash);
      expect((await recordOf(running, id)).anchor?.blockHash).to.equal(blockHash);
    }
    await expectWhole(running);
    const { blockNumber } = await receiptOf(running, ids[2]!);
    const latest = Number(await chain.rpc<string>("eth_blockNumber"));
    await chain.rpc("evm_mine", { blocks: Number(blockNumber) + 11 - latest });
    await followedTo(running, Number(blockNumber) + 11);
    expect((await recordOf(running, ids[2]!)).state).to.equal(ANCHORED);
    await chain.mine(1);
    await reaches(running, ids[2]!, FINAL);
    expect((await healthOf(running)).code).to.equal(200);
  });

  async function followedTo({ grpc }: Daemon, block: number): Promise<void> {
    await until(
      `block ${block} was followed`,
      async () => (await grpc.getStats({})).blockNumber >= BigInt(block),
    );
  }

  it("that only made the chain shorter is noticed after a while, without any new block", async () => {
    chain = await startExternalChain();
    const running = await start();
    await anchor(running, "before");
    const snapshot = await chain.rpc<string>("evm_snapshot");
    const ids = [await anchor(running, "a"), await anchor(running, "b")];
    const before = await receiptOf(running, ids[1]!);
    await chain.rpc("evm_revert", snapshot);
    const moved = async () => {
      const { kept, blockHash } = await receiptOf(running, ids[1]!);
      return (
        kept.transaction === before.kept.transaction &&
        blockHash !== undefined &&
        blockHash !== before.blockHash
      );
    };
    await until("the batches are on the chain again", moved, 30_000);
    await anchor(running, "after");
    expect(await expectWhole(running)).to.have.length(4);
  });

  it("does not take place where a node merely lags", async () => {
    chain = await startExternalChain();
    const proxy = await startLaggingProxy(chain.url);
    try {
      const running = await start({ BLOCKCHAIN_RPC_URL: proxy.url });
      const id = await anchor(running, "a");
      const { blockHash } = await receiptOf(running, id);
      for (let round = 0; round < 5; round++) {
        await chain.mine(1);
        proxy.lag = 4;
        const looks = proxy.looks;
        await until("the node was asked", () => proxy.looks > looks + 20);
        expect((await recordOf(running, id)).state).to.equal(ANCHORED);
      }
      proxy.lag = 0;
      expect((await receiptOf(running, id)).blockHash).to.equal(blockHash);
      await anchor(running, "b");
      expect(await expectWhole({ ...running, rpcUrl: chain.url })).to.have.length(2);
    } finally {
      await proxy.close();
    }
  });

  it("below finality stops following and sealing, and says so", async () => {
    chain = await startExternalChain();
    const running = await start({ CONFIRMATIONS: "1" });
    const snapshot = await chain.rpc<string>("evm_snapshot");
    const id = await anchor(running, "a");
    await chain.mine(3);
    await reaches(running, id, FINAL);
    await chain.rpc("evm_revert", snapshot);
    await chain.rpc("evm_mine", { blocks: 10 });
    await until("health shows it", async () => (await healthOf(running)).code === 503);
    const { status, sealing } = await healthOf(running);
    expect(status).to.equal("degraded");
    expect(sealing.error).to.match(/took back block \d+, which was final/);
    expect((await recordOf(running, id)).state).to.equal(FINAL);
    const later = await running.grpc.recordEvent({
      subject: "b",
      body: { case: "custom", value: { type: "test" } },
    });
    expect(later.state).to.equal(ACCEPTED);
    expect((await recordOf(running, later.recordId)).batchNumber).to.equal(undefined);
  });

  it("by anvil is followed alike", async function () {
    if (anvilBinary() === undefined) {
      process.stderr.write(
        "\nSKIPPED: anvil is not installed: npm install @foundry-rs/anvil-linux-amd64\n\n",
      );
      return this.skip();
    }
    chain = await startAnvilChain(["--slots-in-an-epoch", "10"]); // final 20 blocks below the head
    const running = await start();
    await anchor(running, "before");
    const ids = [
      await anchor(running, "a"),
      await anchor(running, "b"),
      await anchor(running, "a"),
    ];
    const before = await receiptOf(running, ids[2]!);
    await chain.rpc("anvil_reorg", 3, []);
    const moved = async () => {
      const { kept, blockHash } = await receiptOf(running, ids[2]!);
      return (
        kept.transaction === before.kept.transaction &&
        blockHash !== undefined &&
        blockHash !== before.blockHash
      );
    };
    await until("the batches are on the chain again", moved);
    const { kept } = await receiptOf(running, ids[2]!);
    await chain.mine(12);
    const toldLevels = async () =>
      withDatabase({ DATA_DIR: running.dataDir }, (sql) =>
        sql("select finality from events where batch_number = ? and finality > 1", [kept.number]),
      );
    await until("the batch is confirmed", async () => (await toldLevels()).length > 0);
    expect(await toldLevels(), "confirmed is not final").to.deep.equal([{ finality: 2 }]);
    expect((await recordOf(running, ids[2]!)).state).to.equal(ANCHORED);
    await chain.mine(8);
    await reaches(running, ids[2]!, FINAL);
    expect(await toldLevels()).to.deep.equal([{ finality: 2 }, { finality: 3 }]);
    expect(await expectWhole(running)).to.have.length(4);
  });
});

describe("A database and a chain that do not belong together", function () {
  this.timeout(120_000);

  let chain: ExternalChain;

  afterEach(() => chain?.stop());

  it("with another genesis: refuses to start", async () => {
    chain = await startExternalChain();
    const settings = { ...chain.environment, DATA_DIR: temporaryFolder() };
    const daemon = await startDaemon(settings);
    await anchor(daemon, "a");
    await daemon.stop();
    const { contract } = chain;
    await chain.stop();
    chain = await startExternalChain();
    expect(chain.contract).to.equal(contract);
    const { code, output } = await startFails({ ...settings, BLOCKCHAIN_RPC_URL: chain.url });
    expect(code).to.equal(2);
    expect(output).to.match(
      /belongs to the chain that starts with block 0x[0-9a-f]{64}.*use the database/s,
    );
  });

  it("with a fresh database on a log that has batches: refuses to start", async () => {
    chain = await startExternalChain();
    const daemon = await startDaemon({ ...chain.environment, DATA_DIR: temporaryFolder() });
    await anchor(daemon, "a");
    await daemon.stop();
    const { code, output } = await startFails({
      ...chain.environment,
      DATA_DIR: temporaryFolder(),
    });
    expect(code).to.equal(2);
    expect(output).to.match(/has 1 batches on chain that this empty database does not know/);
  });

  it("with a database older than the chain, whose missing batch nobody has: says what to do, and goes on once it is there", async () => {
    chain = await startExternalChain();
    const settings = { ...chain.environment, DATA_DIR: temporaryFolder() };
    const daemon = await startDaemon(settings);
    const ids = [await anchor(daemon, "a")];
    await published(daemon);
    await daemon.stop();
    const backup = temporaryFolder();
    cpSync(settings.DATA_DIR, backup, { recursive: true });
    const again = await startDaemon(settings);
    ids.push(await anchor(again, "b"));
    await published(again);
    await again.stop();
    const restored = await startDaemon({ ...settings, DATA_DIR: backup });
    try {
      const isSaid = async () =>
        /^batch 2 is on chain, but not in this database.*copy the folder ipfs .* or set IPFS_PEERS/.test(
          (await healthOf(restored)).sealing.error ?? "",
        );
      await until("health says what to do", isSaid);
      const { code, status } = await healthOf(restored);
      expect([code, status]).to.deep.equal([503, "degraded"]);
      const { recordId, state } = await restored.grpc.recordEvent({
        subject: "c",
        body: { case: "custom", value: { type: "test" } },
      });
      expect(state).to.equal(ACCEPTED);
      ids.push(recordId);
      const problems = await problemsOf(restored);
      expect(problems.map(({ column, batchNumber }) => [column, batchNumber])).to.deep.include([
        "batches.number",
        2n,
      ]);
      expect((await recordOf(restored, recordId)).batchNumber).to.equal(undefined);
      cpSync(join(settings.DATA_DIR, "ipfs"), join(backup, "ipfs"), { recursive: true });
      await reaches(restored, recordId, ANCHORED);
      const records = await expectWhole(restored);
      expect(records.map(({ id }) => id)).to.deep.equal(ids);
      expect((await healthOf(restored)).sealing).to.include({ healthy: true, pending: 0 });
    } finally {
      await restored.stop();
    }
  });
});

/** A node's front that serves an older block than the latest. */
interface LaggingProxy {
  readonly url: string;
  /** How many blocks it is behind. */
  lag: number;
  /** How often it was asked for the latest block. */
  looks: number;
  close(): Promise<void>;
}

async function startLaggingProxy(target: string): Promise<LaggingProxy> {
  const ask = async (body: string) => {
    const headers = { "content-type": "application/json" };
    return (await fetch(target, { method: "POST", headers, body })).text();
  };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      void lagged(Buffer.concat(chunks).toString()).then((answer) => {
        response.setHeader("content-type", "application/json");
        response.end(answer);
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const proxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    lag: 0,
    looks: 0,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  async function lagged(body: string): Promise<string> {
    const call = JSON.parse(body) as { method: string; params: unknown[] };
    const isLatest = call.method === "eth_getBlockByNumber" && call.params[0] === "latest";
    if (!isLatest) return ask(body);
    proxy.looks += 1;
    const latest = JSON.parse(await ask(body)) as { result: { number: string } };
    const number = Math.max(0, Number(latest.result.number) - proxy.lag);
    return ask(JSON.stringify({ ...call, params: [`0x${number.toString(16)}`, false] }));
  }
  return proxy;
}
