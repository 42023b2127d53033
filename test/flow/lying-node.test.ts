import { expect } from "chai";
import { EventKind, Finality } from "../../gen/ts/anchord/v1/event_pb.js";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { anvilBinary, startAnvilChain, startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { healthOf, sealed, sealsOf } from "../support/log-checks.js";
import { HONEST, startLyingNode } from "../support/lying-node.js";
import type { Lies, LyingNode } from "../support/lying-node.js";
import { randomOf, seedOfRun } from "../support/random.js";
import type { Random } from "../support/random.js";
import { recordSome } from "../support/rebuild.js";
import { startRelay } from "../support/relay.js";
import type { Relay } from "../support/relay.js";
import { expectAgreement } from "../support/stream-checks.js";
import { drain } from "../support/stream-reorg.js";
import { Subscriber } from "../support/subscriber.js";
import { until } from "../support/until.js";

const ALL_LIES: Lies = {
  dropped: 2,
  delayed: 10,
  refused: 2,
  garbled: 2,
  truncated: 2,
  stale: 15,
  forgottenBlocks: 10,
  forgottenLogs: 50,
  falselyFinal: 50,
};

describe("A node that lies", function () {
  this.timeout(240_000);

  const seed = seedOfRun();
  let random: Random;
  let chain: ExternalChain;
  let node: LyingNode;
  let daemon: Daemon;
  let provisional: Subscriber;
  let final: Subscriber;

  before(() => console.log(`      SEED=${seed}`));

  beforeEach(async () => {
    random = randomOf(seed);
    chain = await startExternalChain();
    node = await startLyingNode(chain.url, seed);
    daemon = await startDaemon({
      ...chain.environment,
      BLOCKCHAIN_RPC_URL: node.url,
      CONFIRMATIONS: "6",
      DATA_DIR: temporaryFolder(),
    });
    provisional = new Subscriber(() => daemon.events.grpc);
    final = new Subscriber(() => daemon.events.grpc, { minimumFinality: Finality.FINAL });
  });

  afterEach(async () => {
    await provisional.stop().catch(() => undefined);
    await final.stop().catch(() => undefined);
    await daemon.kill();
    await node.close();
    await chain.stop();
  });

  /** Records and mines so many times, each time until the node was asked again. */
  async function load(rounds: number): Promise<void> {
    for (let round = 0; round < rounds; round++) {
      await recordSome(daemon, random, random.between(1, 20));
      await mineAtOnce(random.between(1, 5));
      await isAsked(random.between(1, 10));
    }
  }

  /** Mines blocks between which nobody can look. */
  async function mineAtOnce(blocks: number): Promise<void> {
    await chain.rpc("evm_mine", { blocks });
  }

  async function recordOne(): Promise<string> {
    const { recordId } = await daemon.grpc.recordEvent({
      subject: "a",
      body: { case: "custom", value: { type: "test" } },
      waitFor: RecordState.ANCHORED,
    });
    return recordId;
  }

  async function stateOf(recordId: string): Promise<RecordState | undefined> {
    return (await daemon.grpc.getRecord({ recordId })).record?.state;
  }

  async function isAsked(times: number): Promise<void> {
    const goal = node.looks + times;
    await until("the node was asked", () => node.looks >= goal, 60_000);
  }

  /** Everything that was told agrees with the chain itself, and nothing was ever taken back. */
  async function expectUntroubled(): Promise<void> {
    node.lies = HONEST;
    const records = await drain(daemon, chain);
    for (const subscriber of [provisional, final]) await subscriber.caughtUp(records);
    const retractions = await expectAgreement(
      { ...daemon, rpcUrl: chain.url },
      { provisional: provisional.happenings, final: final.happenings },
    );
    expect(retractions, "batches retracted for a node that lies").to.equal(0);
    const mined = new Set(
      (await sealsOf({ ...daemon, rpcUrl: chain.url })).map(
        ({ transactionHash }) => transactionHash,
      ),
    );
    for (const { payload } of provisional.happenings) {
      if (payload.case !== "operationFailure") continue;
      const { transactionHash, reason } = payload.value;
      expect(mined.has(transactionHash), `${transactionHash} failed: ${reason}`).to.equal(false);
    }
  }

  it("in every way at once delays, and changes nothing that is told", async () => {
    node.range = 2;
    node.lag = 3;
    node.lies = ALL_LIES;
    const kinds = Object.keys(ALL_LIES).filter((lie) => lie !== "forgottenLogs") as (keyof Lies)[];
    await load(5);
    while (!kinds.every((lie) => node.told.has(lie))) await load(1);
    await expectUntroubled();
  });

  it("because it is two nodes, one behind the other, never has a batch retracted", async () => {
    for (const lag of [1, 4, 8]) {
      node.lag = lag;
      node.lies = { ...HONEST, stale: 50 };
      await load(3);
    }
    await expectUntroubled();
    expect(node.told.get("stale") ?? 0).to.be.greaterThan(20);
  });

  it("by calling blocks above its head finalized makes nothing final before its confirmations", async () => {
    node.lies = { ...HONEST, falselyFinal: 100 };
    const recordId = await recordOne();
    await mineAtOnce(5);
    await isAsked(10);
    expect(await stateOf(recordId)).to.equal(RecordState.ANCHORED);
    expect(provisional.happenings.some(({ kind }) => kind === EventKind.RECORD_FINAL)).to.equal(
      false,
    );
    await expectUntroubled();
  });

  it("by not knowing a block below its head has nothing retracted", async () => {
    const recordId = await recordOne();
    await mineAtOnce(2);
    await isAsked(10);
    node.lies = { ...HONEST, forgottenBlocks: 100 };
    await mineAtOnce(4);
    await isAsked(4);
    expect(await stateOf(recordId)).to.equal(RecordState.ANCHORED);
    await expectUntroubled();
  });

  it("while the service was away: what was far behind is read in the ranges that it allows", async () => {
    await load(3);
    await daemon.stop();
    await chain.mine(120);
    node.range = 7;
    daemon = await startDaemon({
      ...chain.environment,
      BLOCKCHAIN_RPC_URL: node.url,
      CONFIRMATIONS: "6",
      DATA_DIR: daemon.dataDir,
    });
    await sealed(daemon);
    await expectUntroubled();
    expect(node.told.get("range") ?? 0).to.be.greaterThan(0);
  });
});

describe("A node that says over a WebSocket that it has a block", function () {
  this.timeout(240_000);

  /** Longer than anything here may take: what comes sooner was not found by asking. */
  const NEVER_MS = 600_000;

  let chain: ExternalChain;
  let relay: Relay;
  let daemon: Daemon;

  beforeEach(async function () {
    if (anvilBinary() === undefined) {
      process.stderr.write("\nSKIPPED: anvil is not installed\n\n");
      return this.skip();
    }
    chain = await startAnvilChain(["--slots-in-an-epoch", "1"]);
    relay = await startRelay(Number(new URL(chain.url).port));
  });

  afterEach(async () => {
    await daemon?.kill();
    await relay?.close();
    await chain?.stop();
  });

  async function start(pollMs: number): Promise<void> {
    daemon = await startDaemon({
      ...chain.environment,
      BLOCKCHAIN_WS_URL: relay.url.replace("http", "ws"),
      CONFIRMATIONS: "2",
      POLL_INTERVAL_MS: `${pollMs}`,
      DATA_DIR: temporaryFolder(),
    });
  }

  /** Records, and mines what the record needs: each block once the one before it was followed. */
  async function makeFinal(): Promise<void> {
    const { recordId } = await daemon.grpc.recordEvent({
      subject: "a",
      body: { case: "custom", value: { type: "test" } },
      waitFor: RecordState.ANCHORED,
    });
    const isFinal = async () =>
      (await daemon.grpc.getRecord({ recordId })).record?.state === RecordState.FINAL;
    await chain.mine(2);
    await until("the record is final", isFinal, 60_000);
  }

  it("is asked at once, however seldom it is asked otherwise", async () => {
    await start(NEVER_MS);
    for (let round = 0; round < 3; round++) await makeFinal();
  });

  it("and breaks the connection is heard again once there is another", async () => {
    await start(NEVER_MS);
    await makeFinal();
    for (let round = 0; round < 2; round++) {
      relay.cut();
      await makeFinal();
    }
  });

  it("and is no longer there is only asked as often as ever", async () => {
    await start(1_000);
    await makeFinal();
    relay.target = undefined;
    relay.cut();
    for (let round = 0; round < 2; round++) await makeFinal();
    expect((await healthOf(daemon)).code).to.equal(200);
  });
});
