import { expect } from "chai";
import { Finality } from "../../gen/ts/anchord/v1/event_pb.js";
import { startDaemon, temporaryFolder } from "./daemon.js";
import type { Daemon } from "./daemon.js";
import { startAnvilChain, startExternalChain } from "./external-chain.js";
import type { ExternalChain } from "./external-chain.js";
import { healthOf } from "./log-checks.js";
import { startLyingNode } from "./lying-node.js";
import { randomOf } from "./random.js";
import type { Random } from "./random.js";
import { recordSome } from "./rebuild.js";
import { expectAgreement } from "./stream-checks.js";
import { Subscriber } from "./subscriber.js";
import { until } from "./until.js";

/** One run: a daemon under load on a chain that changes its mind. */
export interface ReorgOptions {
  readonly seed: number;
  readonly node: keyof typeof NODES;
  /** Address of an empty MySQL database; undefined for SQLite. */
  readonly mysqlUrl?: string | undefined;
  /** How often something is done. */
  readonly steps: number;
}

/** What a run went through. */
export interface ReorgReport {
  readonly records: number;
  readonly reorganisations: number;
  /** Batches that a subscriber of everything saw retracted. */
  readonly retractions: number;
}

/** Most blocks that are taken back at once. */
const DEEPEST = 10;

/** How long anything may take that is to happen. */
const PATIENCE_MS = 120_000;

/** A chain that can take blocks back. */
export interface Fickle {
  readonly chain: ExternalChain;
  /** The settings that put finality deeper than any reorganisation here. */
  readonly settings: Readonly<Record<string, string>>;
  /** Called after every step. */
  remember(): Promise<void>;
  /** Takes blocks back. Returns how many; 0 where it cannot now. */
  reorganise(random: Random): Promise<number>;
  stop(): Promise<void>;
}

/** Starts a chain that can take blocks back. */
export const NODES = { ganache: fickleGanache, anvil: fickleAnvil };

/**
 * Records, mines and reorganises at random while three subscribers listen, lets everything become
 * final, and checks that each was told what the database and the chain came to. Rejects with what does
 * not hold.
 */
export async function soakReorganisations(options: ReorgOptions): Promise<ReorgReport> {
  const { seed, node, mysqlUrl, steps } = options;
  const random = randomOf(seed);
  const fickle = await NODES[node]();
  let daemon: Daemon | undefined;
  const subscribers: Subscriber[] = [];
  try {
    daemon = await startDaemon({
      ...fickle.chain.environment,
      ...fickle.settings,
      DATA_DIR: temporaryFolder(),
      ...(mysqlUrl === undefined ? {} : { DATABASE_URL: mysqlUrl }),
    });
    const { grpc, http } = daemon.events;
    const listen = (minimumFinality: Finality, door = grpc) => {
      const subscriber = new Subscriber(() => door, { minimumFinality });
      subscribers.push(subscriber);
      return subscriber;
    };
    const provisional = listen(Finality.PROVISIONAL);
    const confirmed = listen(Finality.CONFIRMED, http);
    const final = listen(Finality.FINAL);
    const reorganisations = await disturb(daemon, fickle, random, steps);
    const records = await drain(daemon, fickle.chain);
    for (const subscriber of subscribers) {
      await subscriber.caughtUp(records);
      expect(subscriber.calls, "calls of a subscriber that nothing cuts").to.equal(1);
      expect(subscriber.told, "events with a key of their own").to.equal(
        subscriber.happenings.length,
      );
    }
    const retractions = await expectAgreement(daemon, {
      provisional: provisional.happenings,
      confirmed: confirmed.happenings,
      final: final.happenings,
    });
    return { records, reorganisations, retractions };
  } finally {
    for (const subscriber of subscribers) await subscriber.stop().catch(() => undefined);
    await daemon?.kill();
    await fickle.stop();
  }
}

/** Does so many things at random. Resolves to how many of them were reorganisations. */
async function disturb(
  daemon: Daemon,
  { chain, remember, reorganise }: Fickle,
  random: Random,
  steps: number,
): Promise<number> {
  let reorganisations = 0;
  const record = () => recordSome(daemon, random, random.between(1, 40));
  const things = [
    record,
    record,
    async () => chain.mine(random.between(1, 4)),
    async () => {
      await record();
      await settle(daemon, chain, random.between(0, 1) === 1);
    },
    async () => {
      if ((await reorganise(random)) > 0) reorganisations += 1;
    },
    async () => {
      await record();
      await turns(random.between(0, 2_000));
      if ((await reorganise(random)) > 0) reorganisations += 1;
    },
  ];
  await record();
  for (let step = 0; step < steps; step++) {
    await remember();
    await random.pick(things)();
    await turns(random.between(0, 500));
  }
  return reorganisations;
}

/** Waits until every record is on the chain, where it is lively with blocks that come meanwhile. */
async function settle(daemon: Daemon, chain: ExternalChain, isLively: boolean): Promise<void> {
  await comes(daemon, "every record is on the chain", async () => {
    if (isLively) await chain.mine(1);
    return (await daemon.grpc.getStats({})).pending === 0n;
  });
}

/** Resolves once a condition holds; rejects with what the daemon says of itself. */
async function comes(
  daemon: Daemon,
  what: string,
  condition: () => Promise<boolean>,
): Promise<void> {
  await until(what, condition, PATIENCE_MS).catch(async (error: Error) => {
    const { sealing } = await healthOf(daemon);
    throw new Error(`${error.message}; ${JSON.stringify(sealing)}; ${daemon.log()}`);
  });
}

/** Mines until everything is final. Resolves to the number of records. */
export async function drain(daemon: Daemon, chain: ExternalChain): Promise<number> {
  await chain.mine(1);
  await settle(daemon, chain, false);
  let count = 0n;
  await comes(daemon, "every record is final", async () => {
    await chain.mine(1);
    const { records, final } = await daemon.grpc.getStats({});
    count = records;
    return final === records;
  });
  return Number(count);
}

/** Lets the event loop turn so many times. */
export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise(setImmediate);
}

/**
 * Ganache goes back to a snapshot: the chain is shorter, and what was in it is forgotten. Not while it
 * mines, though, or it keeps the receipts of a block that it does not have.
 */
async function fickleGanache(): Promise<Fickle> {
  const chain = await startExternalChain();
  await chain.mine(DEEPEST + 2); // the contract is never taken back
  const front = await startLyingNode(chain.url, 0);
  let snapshots: { readonly id: string; readonly number: number }[] = [];
  let highest = 0;
  const head = async () => {
    const number = Number(await chain.rpc<string>("eth_blockNumber"));
    highest = Math.max(highest, number);
    return number;
  };
  const hasMined = async () => {
    const { pending } = await chain.rpc<{ readonly pending: object }>("txpool_content");
    return Object.keys(pending).length === 0;
  };
  const alone = <T>(work: () => Promise<T>) =>
    front.alone(async () => {
      await until("what can be mined is mined", hasMined);
      return work();
    });
  return {
    chain,
    settings: { CONFIRMATIONS: `${DEEPEST + 3}`, BLOCKCHAIN_RPC_URL: front.url },
    remember: () =>
      alone(async () => {
        snapshots.push({ number: await head(), id: await chain.rpc<string>("evm_snapshot") });
      }),
    reorganise: (random) =>
      alone(async () => {
        const from = await head();
        const choices = snapshots.filter(
          ({ number }) => number < from && number >= highest - DEEPEST,
        );
        if (choices.length === 0) return 0;
        const target = random.pick(choices);
        await chain.rpc("evm_revert", target.id);
        snapshots = snapshots.slice(0, snapshots.indexOf(target));
        return from - target.number;
      }),
    stop: async () => {
      await front.close();
      await chain.stop();
    },
  };
}

/** Anvil puts other blocks in the place of its last: the chain is as long, and lags with finality. */
async function fickleAnvil(): Promise<Fickle> {
  const slots = DEEPEST / 2 + 2; // two epochs below the head is what it calls finalized
  const chain = await startAnvilChain(["--slots-in-an-epoch", `${slots}`]);
  await chain.mine(DEEPEST + 2);
  return {
    chain,
    settings: { CONFIRMATIONS: "3" },
    remember: () => Promise.resolve(),
    reorganise: async (random) => {
      const depth = random.between(1, DEEPEST);
      await chain.rpc("anvil_reorg", depth, []);
      return depth;
    },
    stop: () => chain.stop(),
  };
}
