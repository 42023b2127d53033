import { expect } from "chai";
import { pipelined } from "../../src/api/pipeline.js";
import { until } from "../support/until.js";

/** A promise that is settled from outside. */
class Gate {
  open: () => void = () => undefined;
  fail: (error: Error) => void = () => undefined;
  readonly passed = new Promise<void>((resolve, reject) => {
    this.open = resolve;
    this.fail = reject;
  });
}

async function* numbers(count: number, onRead: (value: number) => void = () => undefined) {
  for (let i = 0; i < count; i++) {
    onRead(i);
    yield i;
  }
}

/** Everything that is yielded, and what is thrown in the end. */
async function drained<T>(outputs: AsyncIterable<T>): Promise<{ got: T[]; error: unknown }> {
  const got: T[] = [];
  try {
    for await (const output of outputs) got.push(output);
    return { got, error: undefined };
  } catch (error) {
    return { got, error };
  }
}

/** A budget for so many inputs. */
function atOnce(most: number) {
  return { most, weigh: () => 1 };
}

describe("pipelined", () => {
  it("yields nothing for nothing", async () => {
    const outputs = pipelined(numbers(0), atOnce(4), (n) => Promise.resolve(n));
    expect(await drained(outputs)).to.deep.equal({ got: [], error: undefined });
  });

  it("keeps the order of the inputs, whichever is done first", async () => {
    const gates = Array.from({ length: 4 }, () => new Gate());
    const outputs = drained(
      pipelined(numbers(4), atOnce(4), async (n) => {
        await gates[n]?.passed;
        return n;
      }),
    );
    for (const gate of gates.reverse()) gate.open();
    expect((await outputs).got).to.deep.equal([0, 1, 2, 3]);
  });

  it("works on so many at once, and on no more", async () => {
    const gates = Array.from({ length: 9 }, () => new Gate());
    let running = 0;
    let most = 0;
    const outputs = drained(
      pipelined(numbers(9), atOnce(3), async (n) => {
        most = Math.max(most, ++running);
        await gates[n]?.passed;
        running -= 1;
        return n;
      }),
    );
    await until("three run", () => running === 3);
    for (const gate of gates) gate.open();
    expect((await outputs).got).to.have.lengthOf(9);
    expect(most).to.equal(3);
  });

  it("yields what was done before a failure, then throws it", async () => {
    const outputs = pipelined(numbers(5), atOnce(2), (n) =>
      n === 3 ? Promise.reject(new Error("three")) : Promise.resolve(n),
    );
    const { got, error } = await drained(outputs);
    expect(got).to.deep.equal([0, 1, 2]);
    expect((error as Error).message).to.equal("three");
  });

  it("yields what was done before the inputs broke off, then throws what they threw", async () => {
    async function* broken() {
      yield* numbers(3);
      throw new Error("cut");
    }
    const { got, error } = await drained(pipelined(broken(), atOnce(8), (n) => Promise.resolve(n)));
    expect(got).to.deep.equal([0, 1, 2]);
    expect((error as Error).message).to.equal("cut");
  });

  it("starts nothing more once its reader has gone", async () => {
    const started: number[] = [];
    for await (const n of pipelined(numbers(100), atOnce(2), async (n) => started.push(n))) {
      expect(n).to.equal(1);
      break;
    }
    const then = started.length;
    await new Promise(setImmediate);
    expect(started).to.have.lengthOf(then);
    expect(then).to.be.at.most(4);
  });
});
