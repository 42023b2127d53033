import { expect } from "chai";
import type { Block, Chain, ContractEvent } from "../../src/chain/port.js";
import { RangeRefused } from "../../src/chain/port.js";
import { chainSteps, FinalityViolated, rememberedFrom } from "../../src/chain/tail.js";
import type {
  ChainStep,
  FollowedEvent,
  KnownBlock,
  TailOptions,
  TailState,
} from "../../src/chain/tail.js";
import { hex0x, sha256, ZERO32 } from "../../src/core/bytes.js";
import { randomOf, seedOfRun } from "../support/random.js";
import type { Random } from "../support/random.js";

const ID = {
  chainId: 1n,
  contract: `0x${"11".repeat(20)}`,
  log: ZERO32,
  evidence: undefined,
  sla: undefined,
};
const RUNS = 200;
const TURNS = 25;

/** What a node answers that does not have a block. */
class ChainMoved extends Error {
  override readonly name = "ChainMoved";
}

/** A block of the script, with what the contracts announce in it. */
interface ScriptedBlock extends Block {
  readonly events: readonly ContractEvent[];
}

/** A chain in memory that forks when it is told to, and may do so between any two calls. */
class ForkingChain {
  blocks: ScriptedBlock[] = [];
  /** How far behind its true head the node answers. */
  lag = 0;
  /** The block that the node calls finalized. */
  finalized: number | undefined;
  /** Most blocks that the node searches at once. */
  mostRange = Infinity;
  beforeCall: () => void = () => undefined;
  #forks = 0;
  #transactions = 0;

  constructor(private readonly random: Random) {
    this.grow(1);
  }

  get head(): ScriptedBlock {
    return this.blocks[Math.max(0, this.blocks.length - 1 - this.lag)]!;
  }

  grow(count: number): void {
    for (let i = 0; i < count; i++) {
      const number = this.blocks.length;
      const parentHash = this.blocks.at(-1)?.hash ?? hex0x(ZERO32);
      const hash = hex0x(sha256(Buffer.from(`${this.#forks} ${number} ${parentHash}`)));
      const block = { number, hash, parentHash, time: number };
      const events = Array.from({ length: this.random.pick([0, 0, 1, 2]) }, (_, logIndex) =>
        this.random.pick([sealed, anchored, raised])(block, (this.#transactions += 1), logIndex),
      );
      this.blocks.push({ ...block, events });
    }
  }

  /** Replaces the blocks above a number by so many others. */
  fork(above: number, count: number): void {
    this.#forks += 1;
    this.blocks = this.blocks.slice(0, above + 1);
    this.grow(count);
  }

  /** The events of the chain as it stands, but for block 0. */
  events(): ContractEvent[] {
    return this.blocks.slice(1).flatMap(({ events }) => events);
  }

  asChain(): Chain {
    const view = () => {
      this.beforeCall();
      return this.blocks.slice(0, this.head.number + 1);
    };
    const needed: Pick<Chain, "latestBlock" | "finalizedNumber" | "block" | "events" | "eventsIn"> =
      {
        finalizedNumber: () => Promise.resolve(this.finalized),
        latestBlock: () => Promise.resolve(view().at(-1)!),
        block: (number) => Promise.resolve(view()[number]),
        events: (_of, from, to) => {
          if (to - from >= this.mostRange)
            return Promise.reject(new RangeRefused("too many blocks"));
          return Promise.resolve(
            view()
              .slice(from, to + 1)
              .flatMap(({ events }) => events),
          );
        },
        eventsIn: (_of, hash) => {
          const block = view().find((each) => each.hash === hash);
          if (block === undefined) return Promise.reject(new ChainMoved("unknown block"));
          return Promise.resolve([...block.events]);
        },
      };
    return needed as Chain;
  }
}

function sealed(block: Block, transaction: number): ContractEvent {
  const number = BigInt(transaction);
  const zero = { manifestDigest: ZERO32, trailsRoot: ZERO32, nonce: 0n };
  const seal = { number, root: ZERO32, size: 1n, ...zero };
  return { type: "sealed", seal, head: ZERO32, ...placeIn(block, transaction) };
}

function anchored(block: Block, transaction: number, logIndex: number): ContractEvent {
  const digest = sha256(Buffer.from(`file ${transaction}`));
  const evidence = { subjectKey: ZERO32, digest, ref: ZERO32, cid: ZERO32 };
  const submitter = `0x${"22".repeat(20)}`;
  return {
    type: "evidence",
    ...evidence,
    submitter,
    logIndex,
    ...placeIn(block, transaction),
  };
}

function raised(block: Block, transaction: number, logIndex: number): ContractEvent {
  const subjectKey = sha256(Buffer.from(`subject ${transaction}`));
  const change = { kind: "LEVEL_RAISED", level: 1, dueTime: block.time } as const;
  const deadline = { subjectKey, cycle: 1, change, ref: ZERO32 };
  const account = `0x${"33".repeat(20)}`;
  return { type: "sla", ...deadline, account, logIndex, ...placeIn(block, transaction) };
}

function placeIn(block: Block, transaction: number) {
  const transactionHash = hex0x(sha256(Buffer.from(`transaction ${transaction}`)));
  return { transactionHash, blockNumber: block.number, blockHash: block.hash };
}

/** What somebody who applies the steps knows. */
class Follower {
  state: TailState = { blockNumber: 0, confirmedNumber: -1, finalNumber: -1, blocks: [] };
  events: FollowedEvent[] = [];
  retractions = 0;

  constructor(
    private readonly chain: Chain,
    readonly options: TailOptions,
  ) {}

  /** Applies what the chain did. Resolves to the kinds of the steps. */
  async turn(): Promise<ChainStep["type"][]> {
    const types: ChainStep["type"][] = [];
    for await (const step of chainSteps(this.chain, ID, this.state, this.options)) {
      types.push(step.type);
      this.#apply(step);
    }
    return types;
  }

  #apply(step: ChainStep): void {
    const { blocks, finalNumber } = this.state;
    switch (step.type) {
      case "behind":
        return;
      case "reorganised":
        expect(step.toBlock).to.be.at.least(finalNumber);
        this.retractions += 1;
        this.events = this.events.filter(({ blockNumber }) => blockNumber <= step.toBlock);
        this.state = {
          ...this.state,
          blockNumber: step.toBlock,
          confirmedNumber: Math.min(this.state.confirmedNumber, step.toBlock),
          blocks: upTo(blocks, step.toBlock),
        };
        return;
      case "advanced": {
        expect(step.finalNumber).to.be.at.least(finalNumber);
        expect(step.confirmedNumber).to.be.within(step.finalNumber, step.blockNumber);
        expect(step.confirmedNumber).to.be.at.least(this.state.confirmedNumber);
        for (const event of step.events) {
          expect(event.blockTime).to.equal(event.blockNumber);
          this.events.push(event);
        }
        const kept = [...[...step.blocks].reverse(), ...blocks];
        const oldest =
          rememberedFrom(step.blockNumber, step.finalNumber, this.options.confirmations) - 16;
        this.state = {
          blockNumber: step.blockNumber,
          confirmedNumber: step.confirmedNumber,
          finalNumber: step.finalNumber,
          blocks: kept.filter(({ number }) => number >= oldest),
        };
      }
    }
  }
}

function upTo(blocks: readonly KnownBlock[], number: number): readonly KnownBlock[] {
  return blocks.filter((block) => block.number <= number);
}

function namesOf(events: readonly ContractEvent[]): string[] {
  return events.map(
    ({ type, blockHash, transactionHash }) => `${type} ${blockHash} ${transactionHash}`,
  );
}

describe("chainSteps", function () {
  this.timeout(30_000);

  const seed = seedOfRun();
  before(() => console.log(`      SEED=${seed}`));

  function start(confirmations: number, range = 1_000, random = randomOf(seed)) {
    const chain = new ForkingChain(random);
    const options = { confirmations, asksFinalized: true, range, trustsShorter: false };
    return { chain, options, follower: new Follower(chain.asChain(), options) };
  }

  it("leads to exactly the canonical chain's events through any forks and lags", async () => {
    for (let run = 0; run < RUNS; run++) {
      const random = randomOf(seed + run);
      const { chain, follower } = start(random.between(0, 12), random.between(1, 9), random);
      for (let turn = 0; turn < TURNS; turn++) {
        mutate(chain, follower, random);
        const types = await follower.turn();
        if (types.includes("behind")) expect(types).to.deep.equal(["behind"]);
        else {
          const { number } = chain.head;
          const expected = chain.events().filter(({ blockNumber }) => blockNumber <= number);
          expect(namesOf(follower.events), `run ${run}`).to.deep.equal(namesOf(expected));
          expect(follower.state.blockNumber).to.equal(number);
        }
      }
    }
  });

  it("comes to the same end when the chain changes between any two calls", async () => {
    for (let run = 0; run < RUNS; run++) {
      const random = randomOf(seed + run);
      const { chain, follower } = start(random.between(2, 12), random.between(1, 9), random);
      for (let turn = 0; turn < TURNS; turn++) {
        chain.beforeCall = () => {
          if (random.between(0, 9) === 0) mutate(chain, follower, random);
        };
        await follower.turn().catch((error: Error) => expect(error.name).to.equal("ChainMoved"));
      }
      chain.beforeCall = () => undefined;
      chain.lag = 0;
      chain.grow(20);
      await follower.turn();
      const names = namesOf(follower.events);
      expect(names, `run ${run}`).to.deep.equal(namesOf(chain.events()));
    }
  });

  /** Grows, forks above what is final, for the follower or by the chain's own head, or lags. */
  function mutate(chain: ForkingChain, { state, options }: Follower, random: Random): void {
    const length = chain.blocks.length - 1;
    chain.lag = random.pick([0, 0, 0, random.between(0, Math.min(5, length))]);
    const kind = random.pick(["grow", "grow", "fork"] as const);
    if (kind === "grow") return chain.grow(random.between(0, 5));
    const lowest = Math.max(0, state.finalNumber, length - options.confirmations);
    if (lowest >= length) return;
    const above = random.between(lowest, length - 1);
    chain.fork(above, length - above + random.between(1, 5));
  }

  it("takes a head behind its own with the same hashes for a lagging node", async () => {
    const { chain, follower } = start(12);
    chain.grow(8);
    await follower.turn();
    chain.lag = 3;
    expect(await follower.turn()).to.deep.equal(["behind"]);
    chain.lag = 100;
    expect(await follower.turn()).to.deep.equal(["behind"]);
    chain.lag = 0;
    expect(await follower.turn()).to.deep.equal([]);
    expect(follower.retractions).to.equal(0);
  });

  it("takes it for a shorter chain where it is told to", async () => {
    const { chain, options } = start(12);
    const follower = new Follower(chain.asChain(), { ...options, trustsShorter: true });
    chain.grow(8);
    await follower.turn();
    chain.blocks = chain.blocks.slice(0, 6);
    expect(await follower.turn()).to.deep.equal(["reorganised"]);
    expect(namesOf(follower.events)).to.deep.equal(namesOf(chain.events()));
  });

  it("refuses to take back what was final, however deep the fork", async () => {
    for (const above of [30, 20, 3, 0]) {
      const { chain, follower } = start(2);
      chain.grow(40);
      await follower.turn();
      chain.fork(above, 60);
      const events = namesOf(follower.events);
      const error = await follower.turn().then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      expect(error).to.be.instanceOf(FinalityViolated);
      expect(namesOf(follower.events)).to.deep.equal(events);
    }
  });

  it("makes blocks final that have enough others on top, also when it saw them before", async () => {
    const { chain, follower } = start(3);
    chain.grow(10);
    await follower.turn();
    expect(follower.state.finalNumber).to.equal(7);
    chain.grow(1);
    await follower.turn();
    expect(follower.state.finalNumber).to.equal(8);
  });

  it("makes nothing final that the node does not call finalized, but confirms it", async () => {
    const { chain, options, follower } = start(3);
    chain.grow(20);
    chain.finalized = 4;
    await follower.turn();
    expect(follower.state).to.include({ confirmedNumber: 17, finalNumber: 4 });
    chain.finalized = 2; // another node behind the same address lags
    await follower.turn();
    expect(follower.state).to.include({ confirmedNumber: 17, finalNumber: 4 });
    chain.finalized = 19; // no node's word counts for more than the confirmations do
    await follower.turn();
    expect(follower.state).to.include({ confirmedNumber: 17, finalNumber: 17 });
    const other = new Follower(chain.asChain(), { ...options, asksFinalized: false });
    chain.finalized = 0;
    await other.turn();
    expect(other.state).to.include({ confirmedNumber: 17, finalNumber: 17 });
  });

  it("may undo what is confirmed, down to what is final", async () => {
    const { chain, follower } = start(3);
    chain.grow(20);
    chain.finalized = 4;
    await follower.turn();
    chain.fork(4, 20);
    expect(await follower.turn()).to.deep.equal(["reorganised", "advanced"]);
    expect(namesOf(follower.events)).to.deep.equal(namesOf(chain.events()));
  });

  it("asks for fewer blocks when the node refuses so many, in the end for one at a time", async () => {
    const { chain, follower } = start(2);
    chain.grow(500);
    chain.mostRange = 7;
    await follower.turn();
    expect(follower.state.blockNumber).to.equal(500);
    expect(namesOf(follower.events)).to.deep.equal(namesOf(chain.events()));
    chain.grow(50);
    chain.mostRange = 0;
    await follower.turn();
    expect(namesOf(follower.events)).to.deep.equal(namesOf(chain.events()));
  });
});
