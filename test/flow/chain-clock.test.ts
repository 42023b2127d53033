import { expect } from "chai";
import { ChainClock } from "../../src/flow/chain-clock.js";

const START = 1_700_000_000;
const HOUR = 3_600;

describe("The chain's clock", () => {
  let wall: number;
  let clock: ChainClock;
  let height: number;

  beforeEach(() => {
    wall = START;
    height = 0;
    clock = new ChainClock(() => wall * 1_000);
  });

  /** A block of this time comes, and is seen. */
  function see(time: number): void {
    height += 1;
    clock.look({ number: height, hash: `0x${height}/${time}`, parentHash: "0x", time });
  }

  /** Time passes, and the chain is looked at each second without a new block. */
  function pass(seconds: number): void {
    for (let i = 0; i < seconds; i++) {
      wall += 1;
      clock.look(undefined);
    }
  }

  it("is the wall clock before anything is known", () => {
    expect([clock.now(), clock.atLeast, clock.blockTime]).to.deep.equal([
      START,
      undefined,
      undefined,
    ]);
  });

  it("is the wall clock on a chain that was idle for long", () => {
    see(START - 100 * HOUR);
    pass(10);
    expect(clock.now()).to.equal(START + 10);
    expect(clock.atLeast).to.equal(undefined);
  });

  it("is ahead at once with a chain that is", () => {
    see(START + 5 * HOUR);
    pass(10);
    expect(clock.now()).to.equal(START + 5 * HOUR + 10);
  });

  it("leaps with a new block, and goes on from there", () => {
    see(START);
    pass(60);
    see(START + 48 * HOUR);
    expect(clock.now()).to.equal(START + 48 * HOUR);
    pass(30);
    expect(clock.now()).to.equal(START + 48 * HOUR + 30);
    expect(clock.msUntil(START + 48 * HOUR + 40)).to.equal(10_000);
  });

  it("comes back with a new block", () => {
    see(START + 48 * HOUR);
    pass(10);
    see(wall);
    expect(clock.now()).to.equal(wall);
  });

  it("takes no notice of small differences", () => {
    see(START);
    for (const difference of [-15, 15, 3, -3]) {
      pass(60);
      see(wall + difference);
      expect(clock.now()).to.equal(wall);
    }
  });

  it("falls back with new blocks that are old", () => {
    see(START);
    pass(60);
    wall += 1;
    see(START - HOUR);
    expect(clock.now()).to.be.within(START - HOUR, START - HOUR + 1);
  });

  it("does not take a block for old that came while nobody looked", () => {
    see(START);
    pass(10);
    wall += HOUR;
    see(START + 20);
    expect(clock.now()).to.equal(wall);
  });

  it("takes no notice of old blocks that a reorganisation leaves", () => {
    see(START);
    pass(HOUR);
    height = 0;
    see(START - 10);
    expect([clock.now(), clock.blockTime]).to.deep.equal([wall, undefined]);
  });

  it("knows what the time is at the least, by the last new block", () => {
    see(START);
    pass(60);
    see(wall - 7);
    pass(5);
    expect([clock.blockTime, clock.atLeast]).to.deep.equal([START + 53, START + 58]);
  });
});
