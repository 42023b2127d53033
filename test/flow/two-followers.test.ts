import { join } from "node:path";
import { expect } from "chai";
import type { Block, Chain, Mined, SealedEvent } from "../../src/chain/port.js";
import { hex0x, sha256, ZERO32 } from "../../src/core/bytes.js";
import { genesisHead, nextHead } from "../../src/core/head.js";
import { followChain } from "../../src/flow/follow.js";
import { insertBatch } from "../../src/store/batches.js";
import { chainPosition, storeIdentity } from "../../src/store/chain-position.js";
import { openDatabase } from "../../src/store/database.js";
import type { Database } from "../../src/store/database.js";
import { feedRows } from "../../src/store/feed.js";
import { migrate } from "../../src/store/migrations.js";
import { temporaryFolder } from "../support/daemon.js";
import { sharedMysql } from "../support/mysql.js";

const LOG = {
  chainId: 1n,
  contract: `0x${"11".repeat(20)}`,
  log: ZERO32,
  evidence: undefined,
  sla: undefined,
};
const OPTIONS = { confirmations: 12, asksFinalized: false, range: 10, trustsShorter: false };
const BATCHES = 3;

const hashOf = (fork: string, number: number) =>
  hex0x(sha256(Buffer.from(number === 0 ? "0" : `${fork} ${number}`)));

/** A chain with a batch in each of its first blocks, and another chain that is to take its place. */
class SlowChain {
  fork = "a";
  height = BATCHES;
  /** Called before each answer about transactions: where a follower can be held up. */
  beforeMined: () => Promise<void> = () => Promise.resolve();

  constructor(private readonly seals: readonly Pick<SealedEvent, "seal" | "head">[]) {}

  #block(number: number): Block | undefined {
    if (number > this.height) return undefined;
    const parentHash = hashOf(this.fork, number - 1);
    return { number, hash: hashOf(this.fork, number), parentHash, time: number };
  }

  asChain(): Chain {
    const needed: Partial<Chain> = {
      latestBlock: () => Promise.resolve(this.#block(this.height)!),
      block: (number) => Promise.resolve(this.#block(number)),
      eventsIn: (_of, blockHash) => {
        const at = this.seals.findIndex((_, i) => hashOf(this.fork, i + 1) === blockHash);
        const transactionHash = hex0x(sha256(Buffer.from(`transaction ${at}`)));
        const event = {
          type: "sealed" as const,
          ...this.seals[at]!,
          transactionHash,
          blockNumber: at + 1,
          blockHash,
        };
        return Promise.resolve(at < 0 ? [] : [event]);
      },
      mined: async (transactionHash): Promise<Mined> => {
        const { fork } = this;
        const at = this.seals.findIndex(
          (_, i) => hex0x(sha256(Buffer.from(`transaction ${i}`))) === transactionHash,
        );
        await this.beforeMined();
        const blockHash = hashOf(fork, at + 1);
        return { blockNumber: at + 1, blockHash, succeeded: true, gasUsed: 1 };
      },
    };
    return needed as Chain;
  }
}

/** Batches of one record each, and what the chain says of them. */
async function withBatches(database: Database): Promise<SlowChain> {
  await storeIdentity(database, { ...LOG, genesisHash: hashOf("a", 0), deployBlock: 1 });
  const seals: { seal: SealedEvent["seal"]; head: Uint8Array }[] = [];
  let previousHead: Uint8Array = genesisHead(LOG);
  for (let number = 1; number <= BATCHES; number++) {
    const root = sha256(Buffer.from(`root ${number}`));
    const zero = { manifestDigest: ZERO32, trailsRoot: ZERO32, nonce: 0n };
    const seal = { number: BigInt(number), root, size: 1n, ...zero };
    const head = nextHead(previousHead, seal);
    const firstSeq = number - 1;
    const batch = { seal, previousHead, head, firstSeq, createTime: 0, anchor: undefined };
    await database.transact((trx) => insertBatch(trx, batch, []));
    seals.push({ seal, head });
    previousHead = head;
  }
  return new SlowChain(seals);
}

const FLAVOURS = {
  SQLite: () => Promise.resolve({ sqlitePath: join(temporaryFolder(), "log.db") }),
  MariaDB: async () => {
    const server = await sharedMysql();
    return server && { mysqlUrl: await server.createDatabase() };
  },
};

for (const [flavour, target] of Object.entries(FLAVOURS)) {
  describe(`Two daemons that both believe to lead, on ${flavour}`, function () {
    this.timeout(60_000);

    let database: Database;
    let slow: SlowChain;

    beforeEach(async function () {
      const opened = await target();
      if (opened === undefined) return this.skip();
      database = openDatabase(opened);
      await migrate(database);
      slow = await withBatches(database);
    });

    afterEach(() => database?.close());

    const follow = () =>
      followChain(database, slow.asChain(), LOG, OPTIONS, () =>
        Promise.reject(new Error("there is nothing to adopt")),
      );
    const told = async () =>
      (await feedRows(database, 1, 1_000)).map(
        (row) => `${row.kind} ${"level" in row ? row.level : 0} ${row.batchNumber}`,
      );

    /** Follows, held up until another has followed the chain as far as it was to be then. */
    async function followLate(meanwhile: () => Promise<void>): Promise<unknown> {
      let goOn: () => void = () => undefined;
      const held = new Promise<void>((resolve) => (goOn = resolve));
      const arrived = new Promise<void>((arrive) => {
        slow.beforeMined = () => {
          arrive();
          return held;
        };
      });
      const late = follow().catch((error: unknown) => error);
      await arrived;
      slow.beforeMined = () => Promise.resolve();
      await meanwhile();
      goOn();
      return late;
    }

    it("tell each happening once", async () => {
      let after: string[] = [];
      const outcome = await followLate(async () => {
        await follow();
        after = await told();
      });
      expect(await told()).to.deep.equal(after);
      expect(new Set(after).size).to.equal(after.length);
      expect(outcome).to.be.instanceOf(Error);
    });

    it("do not take each other back: the later goes on from where the other is", async () => {
      await followLate(async () => {
        await follow();
        slow.height += 3;
        await follow();
      });
      expect((await chainPosition(database))?.blockNumber).to.equal(BATCHES + 3);
      const after = await told();
      await follow();
      expect(await told()).to.deep.equal(after);
      expect(new Set(after).size).to.equal(after.length);
    });

    it("do not take one chain for another of the same height", async () => {
      await followLate(async () => {
        await follow();
        slow.fork = "b";
        await follow();
      });
      await follow();
      const rows = await feedRows(database, 1, 1_000);
      const places = new Map<number, string>();
      for (const row of rows) {
        if (!("anchor" in row)) continue;
        if (row.kind === "RETRACTED") places.delete(row.batchNumber);
        else places.set(row.batchNumber, hex0x(row.anchor.blockHash));
      }
      expect([...places.keys()].sort()).to.deep.equal([1, 2, 3]);
      expect(places.get(BATCHES)).to.equal(hashOf("b", BATCHES));
    });
  });
}
