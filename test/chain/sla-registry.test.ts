import { expect } from "chai";
import type { Call, Chain, Contracts, SlaEvent } from "../../src/chain/port.js";
import { SLA_GAS } from "../../src/chain/sla-registry.js";
import { web3Chain } from "../../src/chain/web3.js";
import { hex, hex0x, sha256, ZERO32 } from "../../src/core/bytes.js";
import { messageOf } from "../../src/core/errors.js";
import { subjectKey } from "../../src/core/evidence.js";
import { announced, changed, LATEST_DEADLINE, levelDue, refusalOf } from "../../src/core/sla.js";
import type { Cycle, SlaChange, SlaIntent } from "../../src/core/sla.js";
import { startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { randomOf, seedOfRun } from "../support/random.js";

const STEPS = 200;
const LADDER = [0, 60, 3_600] as const;
const LONGEST_LADDER = [0, 1, 2, 3, 4, 5, 6, 7] as const;

describe("SLARegistry through the port", function () {
  this.timeout(120_000);

  let external: ExternalChain;
  let chain: Chain;
  let contracts: Contracts;

  before(async () => {
    external = await startExternalChain();
    chain = web3Chain(external.url);
    const { contract, evidence, sla } = external;
    contracts = { chainId: await chain.chainId(), contract, evidence, sla, log: ZERO32 };
  });

  after(() => external?.stop());

  /** Has a call mined in a block of its own, whatever comes of it. */
  async function send({ to, data, gas }: Call, from = external.sealer) {
    const transaction = { from, to, data, gas: `0x${gas.toString(16)}` };
    const hash = await external.rpc<string>("eth_sendTransaction", transaction);
    const { succeeded, blockHash, gasUsed } = (await chain.mined(hash))!;
    const events = (await chain.eventsIn(contracts, blockHash)) as SlaEvent[];
    expect(await chain.slaEvents(to, hash)).to.deep.equal(events);
    const { time } = await chain.latestBlock();
    return { succeeded, events, gasUsed, time };
  }

  const change = (subject: string, intent: SlaIntent, ref = refOf(intent)) =>
    chain.slaCall(external.sla, subjectKey(subject), intent, ref);

  const escalation = (levels: number, ...subjects: readonly string[]) =>
    chain.escalateCall(external.sla, subjects.map(subjectKey), levels);

  const cycleOf = (subject: string, cycle?: number) =>
    chain.slaCycle(external.sla, subjectKey(subject), cycle);

  const due = async (...subjects: readonly string[]) =>
    (await chain.slaDue(external.sla, subjects.map(subjectKey))).map(hex);

  /** A deadline so many seconds from now. */
  async function deadlineIn(seconds: number): Promise<number> {
    return (await chain.latestBlock()).time + seconds;
  }

  /** Lets so much time pass, and ends it with a block. */
  async function pass(seconds: number): Promise<void> {
    await external.rpc("evm_increaseTime", seconds);
    await external.mine(1);
  }

  it("takes a deadline through its life, and says how it stands", async () => {
    const deadline = await deadlineIn(1_000);
    const ladder = [...LADDER];
    const clock = { pauseTime: undefined, meetTime: undefined };
    const opened = {
      number: 1,
      state: "OPEN",
      deadline,
      ladder,
      raised: 0,
      extensions: 0,
      ...clock,
    };
    const set = await send(change("life", { kind: "SET", deadline, ladder: LADDER }));
    expect(set.events.map((event) => event.change)).to.deep.equal([
      { kind: "SET", deadline, ladder },
    ]);
    expect(await cycleOf("life")).to.deep.equal(opened);

    const later = deadline + 500;
    const extended = await send(change("life", { kind: "EXTENDED", deadline: later, reason: "§" }));
    const reasonHash = sha256(Buffer.from("§"));
    expect(plain(extended.events[0]?.change)).to.deep.equal(
      plain({ kind: "EXTENDED", deadline: later, reasonHash }),
    );
    const { time: pauseTime, events } = await send(change("life", { kind: "PAUSED" }));
    expect(events[0]?.change).to.deep.equal({ kind: "PAUSED" });
    const paused = { ...opened, state: "PAUSED", deadline: later, extensions: 1, pauseTime };
    expect(await cycleOf("life")).to.deep.equal(paused);

    await pass(300);
    const { time, events: resumed } = await send(change("life", { kind: "RESUMED" }));
    const moved = later + time - pauseTime;
    expect(resumed[0]?.change).to.deep.equal({ kind: "RESUMED", deadline: moved });
    const { time: meetTime } = await send(change("life", { kind: "MET" }));
    const met = { ...opened, state: "MET", deadline: moved, extensions: 1, meetTime };
    expect(await cycleOf("life")).to.deep.equal(met);

    const next = await deadlineIn(50);
    await send(change("life", { kind: "SET", deadline: next, ladder: [5] }));
    expect(await cycleOf("life", 1)).to.deep.equal(met);
    expect(await cycleOf("life")).to.include({ number: 2, deadline: next, state: "OPEN" });
  });

  it("raises what is due, for anybody, and passes over the rest", async () => {
    const deadline = await deadlineIn(100);
    await send(change("due", { kind: "SET", deadline, ladder: LADDER }));
    await send(change("not due", { kind: "SET", deadline: deadline + 10_000, ladder: LADDER }));
    expect(await due("due", "not due", "unknown")).to.deep.equal([]);
    await pass(200);
    expect(await due("unknown", "due", "not due")).to.deep.equal([hex(subjectKey("due"))]);
    const call = escalation(LADDER.length * 2, "unknown", "due", "not due");
    const { events, succeeded } = await send(call, external.admin);
    expect(succeeded).to.equal(true);
    expect(events.map((event) => event.change)).to.deep.equal([
      { kind: "LEVEL_RAISED", level: 1, dueTime: deadline },
      { kind: "LEVEL_RAISED", level: 2, dueTime: deadline + 60 },
    ]);
    for (const event of events) {
      expect(event).to.deep.include({ account: external.admin, ref: ZERO32, cycle: 1 });
    }
    expect(await cycleOf("due")).to.include({ raised: 2 });
    expect(await due("due")).to.deep.equal([]);
  });

  it("says that there is no such deadline, and not where nobody knows it", async () => {
    await send(change("one", { kind: "SET", deadline: await deadlineIn(100), ladder: LADDER }));
    expect(await cycleOf("none")).to.equal(undefined);
    expect(await cycleOf("none", 1)).to.equal(undefined);
    expect(await cycleOf("one", 2)).to.equal(undefined);
    expect(await cycleOf("one", 0)).to.equal(undefined);
    for (const address of [external.contract, external.evidence, external.sealer]) {
      for (const cycle of [undefined, 1]) {
        const error: unknown = await chain
          .slaCycle(address, subjectKey("one"), cycle)
          .catch((thrown: unknown) => thrown);
        expect(error).to.include({ reason: "CHAIN_UNAVAILABLE" });
        expect(messageOf(error)).to.include(`does not know the SLARegistry at ${address}`);
      }
    }
  });

  it("says what it announced in a transaction, and nothing of another contract's", async () => {
    const set = change("told", { kind: "SET", deadline: await deadlineIn(100), ladder: LADDER });
    const transaction = { from: external.sealer, to: set.to, data: set.data, gas: "0x30000" };
    const hash = await external.rpc<string>("eth_sendTransaction", transaction);
    const events = await chain.slaEvents(external.sla, hash);
    expect(events.map((event) => event.change.kind)).to.deep.equal(["SET"]);
    expect(await chain.slaEvents(external.evidence, hash)).to.deep.equal([]);
    expect(await chain.slaEvents(external.sla, hex0x(sha256(ZERO32)))).to.deep.equal([]);
  });

  it("needs no more gas than is given, with room for half as much again", async () => {
    const used: number[] = [];
    for (const round of [1, 2]) {
      const deadline = await deadlineIn(1_000);
      const intents: readonly SlaIntent[] = [
        { kind: "SET", deadline, ladder: LONGEST_LADDER },
        { kind: "EXTENDED", deadline: deadline + round, reason: "because" },
        { kind: "PAUSED" },
        { kind: "RESUMED" },
        { kind: "PAUSED" },
        { kind: "MET" },
      ];
      for (const intent of intents) used.push((await send(change("gas", intent))).gasUsed);
    }
    console.log(`      gas of each change: ${used.join(", ")}`);
    expect(SLA_GAS / Math.max(...used)).to.be.within(1.45, 1.55);
  });

  it("escalates within its gas limit, however many at once", async () => {
    const subjects = Array.from({ length: 30 }, (_, i) => `overdue ${i}`);
    const deadline = await deadlineIn(1_000);
    for (const subject of subjects) {
      await send(change(subject, { kind: "SET", deadline, ladder: LONGEST_LADDER }));
    }
    await pass(2_000);
    for (const some of [subjects.slice(0, 1), subjects.slice(1)]) {
      const call = escalation(some.length * LONGEST_LADDER.length, ...some);
      const { events, gasUsed } = await send(call);
      expect(events).to.have.length(some.length * LONGEST_LADDER.length);
      expect(call.gas / gasUsed).to.be.within(1.45, 1.55);
    }
  });

  it("does what core/sla says, whatever is asked of it", async () => {
    const seed = seedOfRun();
    const random = randomOf(seed);
    const known = new Map<string, Cycle>();
    const subjects = ["walk 1", "walk 2", "walk 3"];
    for (let step = 0; step < STEPS; step++) {
      const at = `SEED=${seed}, step ${step}`;
      if (random.between(0, 2) === 0) await pass(random.pick([1, 2, 5, 20]));
      const subject = random.pick(subjects);
      if (random.between(0, 3) === 0) await escalate(subjects, at);
      else await ask(subject, await anyIntent(known.get(subject)), at);
      expect(await cycleOf(subject), at).to.deep.equal(known.get(subject));
    }

    /** An intent that has a fair chance, and some that have none. */
    async function anyIntent(before: Cycle | undefined): Promise<SlaIntent> {
      const kind = random.pick(["SET", "SET", "EXTENDED", "PAUSED", "RESUMED", "MET"] as const);
      const from = kind === "SET" ? await deadlineIn(0) : (before?.deadline ?? 0);
      const deadline = random.pick([from + random.between(-2, 30), LATEST_DEADLINE + 1]);
      if (kind === "EXTENDED") return { kind, deadline, reason: random.pick(["", "a reason"]) };
      if (kind !== "SET") return { kind };
      const near = random.between(0, 3) === 0 ? deadline : from + random.between(1, 30);
      const ladders = [[0], [0, 5, 10], [2, 3], [...LONGEST_LADDER], [], [1, 1]];
      return { kind, deadline: near, ladder: random.pick([...ladders, [...LONGEST_LADDER, 8]]) };
    }

    async function ask(subject: string, intent: SlaIntent, at: string): Promise<void> {
      const what = `${at}: ${JSON.stringify(intent)} for ${JSON.stringify(known.get(subject))}`;
      const before = known.get(subject);
      const call = change(subject, intent);
      const { succeeded, events, time } = await send(call);
      const refusal = refusalOf(before, intent, time);
      expect(succeeded, what).to.equal(refusal === undefined);
      if (refusal === undefined) {
        const [event] = events;
        expect(plain(event?.change), what).to.deep.equal(plain(announced(before, intent, time)));
        expect(hex(event?.ref ?? ZERO32), what).to.equal(hex(refOf(intent)));
        apply(event!, time);
      } else {
        const reason = await chain.preflight(call, external.sealer);
        expect(reason?.split("(")[0], what).to.equal(refusal);
      }
    }

    async function escalate(subjects: readonly string[], at: string): Promise<void> {
      const { time: now } = await chain.latestBlock();
      const overdue = (time: number) =>
        subjects.filter((subject) => {
          const cycle = known.get(subject);
          return cycle !== undefined && levelDue(cycle, time) > cycle.raised;
        });
      expect(await due(...subjects), at).to.deep.equal(
        overdue(now).map((subject) => hex(subjectKey(subject))),
      );
      const { events, time } = await send(escalation(24, ...subjects));
      const levels = new Map([...known].map(([name, cycle]) => [name, levelDue(cycle, time)]));
      for (const event of events) apply(event, time);
      for (const [name, cycle] of known) expect(cycle.raised, at).to.equal(levels.get(name));
    }

    function apply(event: SlaEvent, time: number): void {
      const subject = subjects.find((name) => hex0x(subjectKey(name)) === hex0x(event.subjectKey));
      const name = subject ?? "";
      known.set(name, changed(known.get(name), event.cycle, event.change, time));
    }
  });
});

/** The ref of a change: any other than zero. */
function refOf({ kind }: SlaIntent): Uint8Array {
  return sha256(Buffer.from(kind));
}

/** A change in a form that compares: bytes as hex. */
function plain(change: SlaChange | undefined): unknown {
  return change?.kind === "EXTENDED" ? { ...change, reasonHash: hex(change.reasonHash) } : change;
}
