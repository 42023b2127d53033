import { expect } from "chai";
import type { TransactionCall, Web3 } from "web3";
import { slaRegistryAbi } from "../../gen/contracts/sla-registry.js";
import { hex0x, ZERO32 } from "../../src/core/bytes.js";
import { connect, revertOf } from "../support/audit-log.js";
import { bytecodeOf } from "../support/compiled.js";
import { startGanache, type TestChain } from "../support/ganache.js";
import { deploySLARegistry, slaIdOf, type SLARegistry } from "../support/sla-registry.js";

const GAS = "5000000";
const ADMIN_ROLE = hex0x(ZERO32);
const NO_REF = hex0x(ZERO32);
const HOUR = 3600;
const LADDER = [0, HOUR, 5 * HOUR];
const TOO_FAR = 2 ** 40;

/**
 * Gas limit of a call that escalates, of each id in it, and of each level that it raises: half as much
 * again as the 22,300, 9,300 and 2,860 that were measured.
 */
const ESCALATE_GAS = { call: 33_500, id: 14_000, level: 4_300 } as const;

const Outcome = { unknown: "0", notDue: "1", paused: "2", closed: "3", raised: "4" } as const;
const State = { running: "0", paused: "1", met: "2" } as const;

describe("SLARegistry", function () {
  this.timeout(60_000);

  let chain: TestChain;
  let web3: Web3;
  let admin: string;
  let manager: string;
  let stranger: string;
  let registry: SLARegistry;
  const id = slaIdOf("complaint/1");
  const ref = slaIdOf("record");
  const reason = slaIdOf("reason");

  before(async () => {
    chain = await startGanache();
    web3 = connect(chain.url);
    [admin, manager, stranger] = chain.accounts as [string, string, string];
  });

  beforeEach(async () => {
    registry = await deploySLARegistry(web3, admin, manager);
  });

  after(() => chain.stop());

  /** Time of the last block, in seconds since the epoch. */
  async function now(): Promise<number> {
    return Number((await web3.eth.getBlock("latest")).timestamp);
  }

  async function rpc(method: string, ...params: readonly unknown[]): Promise<void> {
    await web3.requestManager.send({ method, params } as never);
  }

  /** Lets the chain's clock go on, and gives back the time. */
  async function pass(seconds: number): Promise<number> {
    await rpc("evm_increaseTime", seconds);
    await rpc("evm_mine");
    return now();
  }

  const setting = (deadline: number, offsets: readonly number[] = LADDER, of = id) =>
    registry.methods.setSLADeadline(of, deadline, [...offsets], ref);

  type Sendable = ReturnType<typeof setting>;

  /** Sends a call, and gives back the time of its block. */
  async function send(call: unknown, from = manager): Promise<number> {
    const { blockNumber } = await (call as Sendable).send({ from, gas: GAS });
    return Number((await web3.eth.getBlock(blockNumber)).timestamp);
  }

  /** Sets a deadline some time from now, and gives it back. */
  async function set(ahead = HOUR, offsets: readonly number[] = LADDER, of = id): Promise<number> {
    const deadline = (await now()) + ahead;
    await send(setting(deadline, offsets, of));
    return deadline;
  }

  const refusal = (call: unknown, from = manager) =>
    revertOf((call as Sendable).call({ from, gas: GAS }));

  async function cycleOf(call: unknown) {
    const cycle = (await (call as Sendable).call()) as unknown as Record<string, unknown>;
    return {
      number: Number(cycle["number"]),
      deadline: Number(cycle["deadline"]),
      pauseTime: Number(cycle["pauseTime"]),
      meetTime: Number(cycle["meetTime"]),
      extensions: Number(cycle["extensions"]),
      raised: Number(cycle["raised"]),
      offsets: (cycle["offsets"] as bigint[]).map(Number),
    };
  }

  const current = () => cycleOf(registry.methods.deadlineOf(id));

  async function statusOf() {
    const status = (await registry.methods.statusOf(id).call()) as unknown as Record<
      string,
      unknown
    >;
    const { state, raised, due, breached } = status;
    return { state: String(state), raised: Number(raised), due: Number(due), breached };
  }

  /** Everything that was ever announced under a name. */
  async function announced(name: string): Promise<Record<string, unknown>[]> {
    const events = await registry.getPastEvents(name as "DeadlineSet", { fromBlock: 0 });
    return events.map((event) => (event as { returnValues: Record<string, unknown> }).returnValues);
  }

  const by = (account: string) => web3.utils.toChecksumAddress(account);

  /** What every event of the manager's on the first cycle says. */
  const told = () => ({ id, cycle: 1n, ref, by: by(manager) });

  it("keeps what was set, and announces all of it", async () => {
    const deadline = await set();
    expect(await current()).to.deep.equal({
      number: 1,
      deadline,
      pauseTime: 0,
      meetTime: 0,
      extensions: 0,
      raised: 0,
      offsets: LADDER,
    });
    expect(await statusOf()).to.deep.equal({
      state: State.running,
      raised: 0,
      due: 0,
      breached: false,
    });
    const [event, ...others] = await announced("DeadlineSet");
    expect(others).to.deep.equal([]);
    const offsets = LADDER.map(BigInt);
    expect(event).to.deep.include({ ...told(), deadline: BigInt(deadline), offsets });
  });

  it("extends a deadline, as often as there are reasons, and counts", async () => {
    const deadline = await set();
    await send(registry.methods.extend(id, deadline + 10, reason, ref));
    await send(registry.methods.extend(id, deadline + 30, reason, ref));
    expect(await current()).to.deep.include({ deadline: deadline + 30, extensions: 2 });
    expect((await announced("DeadlineExtended"))[1]).to.deep.include({
      ...told(),
      deadline: BigInt(deadline + 30),
      previous: BigInt(deadline + 10),
      reason,
      extensions: 2n,
    });
  });

  it("lets no time pass for a deadline that is paused", async () => {
    const deadline = await set();
    const pauseTime = await send(registry.methods.pause(id, ref));
    await pass(2 * HOUR);
    expect(await current()).to.deep.include({ deadline, pauseTime });
    expect(await statusOf()).to.deep.include({ state: State.paused, due: 0, breached: false });
    const remaining = await registry.methods.timeRemaining(id).call();
    expect(Number(remaining)).to.equal(deadline - pauseTime);

    const resumeTime = await send(registry.methods.resume(id, ref));
    const moved = deadline + resumeTime - pauseTime;
    expect(await current()).to.deep.include({ deadline: moved, pauseTime: 0 });
    expect((await announced("DeadlinePaused"))[0]).to.deep.include(told());
    const [resumed] = await announced("DeadlineResumed");
    expect(resumed).to.deep.include({ ...told(), deadline: BigInt(moved) });
  });

  it("is met in time, or late, and the next cycle leaves it as it was", async () => {
    const first = await set();
    const meetTime = await send(registry.methods.meet(id, ref));
    const second = await set();
    await pass(2 * HOUR);
    await send(registry.methods.meet(id, ref));
    await set();
    expect(Number(await registry.methods.cycles(id).call())).to.equal(3);
    const closed = await cycleOf(registry.methods.cycleOf(id, 1));
    expect(closed).to.deep.include({ number: 1, deadline: first, meetTime });
    const met = await announced("DeadlineMet");
    expect(met[0]).to.deep.include({ ...told(), inTime: true, deadline: BigInt(first) });
    expect(met[1]).to.deep.include({ cycle: 2n, inTime: false, deadline: BigInt(second) });
  });

  it("escalates for anyone, level by level, what is overdue, until it is met", async () => {
    const deadline = await set();
    await pass(2 * HOUR + 60);
    expect(await statusOf()).to.deep.equal({
      state: State.running,
      raised: 0,
      due: 2,
      breached: true,
    });
    expect(Number(await registry.methods.timeRemaining(id).call())).to.be.lessThan(-HOUR);
    await send(registry.methods.checkAndEscalate(id), stranger);
    expect(await statusOf()).to.deep.include({ raised: 2, due: 2 });
    const raised = await announced("LevelRaised");
    expect(raised.map(({ level, due, by: who }) => [level, due, who])).to.deep.equal([
      [1n, BigInt(deadline), by(stranger)],
      [2n, BigInt(deadline + HOUR), by(stranger)],
    ]);
    expect(raised[0]).to.deep.include({ id, cycle: 1n });

    await send(registry.methods.meet(id, ref));
    await pass(5 * HOUR);
    expect((await refusal(registry.methods.checkAndEscalate(id))).name).to.equal("NotOpen");
    expect(await statusOf()).to.deep.include({ state: State.met, raised: 2, due: 2 });
  });

  it("checks many at once, and lets none stand in the way of another", async () => {
    const names = ["unknown", "later", "paused", "met", "due", "due"];
    const ids = names.map(slaIdOf) as [string, string, string, string, string, string];
    const [, later, paused, met, due] = ids;
    await set(9 * HOUR, LADDER, later);
    for (const of of [paused, met, due]) await set(HOUR, LADDER, of);
    await send(registry.methods.pause(paused, NO_REF));
    await send(registry.methods.meet(met, NO_REF));
    await pass(HOUR);
    expect(await registry.methods.dueOf(ids).call()).to.deep.equal([due, due]);

    const call = registry.methods.batchCheckAndEscalate(ids);
    const checks = (await call.call({ from: stranger })) as unknown as Record<string, unknown>[];
    expect(checks.map(({ outcome, level }) => [String(outcome), Number(level)])).to.deep.equal([
      [Outcome.unknown, 0],
      [Outcome.notDue, 0],
      [Outcome.paused, 0],
      [Outcome.closed, 0],
      [Outcome.raised, 1],
      [Outcome.notDue, 1],
    ]);
    await send(call, stranger);
    expect((await announced("LevelRaised")).map((event) => event["id"])).to.deep.equal([due]);
    expect(await registry.methods.dueOf(ids).call()).to.deep.equal([]);
  });

  describe("refuses", () => {
    const ahead = async () => (await now()) + HOUR;

    it("whoever has not the role, the admin included, except to escalate", async () => {
      const role = String(await registry.methods.MANAGER_ROLE().call());
      const deadline = await set();
      const { extend, pause, resume, meet } = registry.methods;
      for (const from of [stranger, admin]) {
        for (const call of [
          setting(deadline, LADDER, slaIdOf("another")),
          extend(id, deadline + 1, reason, ref),
          pause(id, ref),
          resume(id, ref),
          meet(id, ref),
        ]) {
          expect(await refusal(call, from)).to.deep.equal({
            name: "AccessControlUnauthorizedAccount",
            values: [by(from), role],
          });
        }
      }
    });

    it("a deadline that is past, or out of reach, or that is still open", async () => {
      const past = await now();
      const { name, values } = await refusal(setting(past));
      expect([name, values[0]]).to.deep.equal(["DeadlineInPast", String(past)]);
      expect(await refusal(setting(TOO_FAR))).to.deep.equal({
        name: "DeadlineTooFar",
        values: [String(TOO_FAR - 1), String(TOO_FAR)],
      });
      const deadline = await set();
      expect(await refusal(setting(deadline + 1))).to.deep.equal({
        name: "AlreadyOpen",
        values: [id, "1", String(deadline)],
      });
    });

    it("a ladder without levels, with too many, or that does not ascend", async () => {
      const deadline = await ahead();
      expect(await refusal(setting(deadline, []))).to.deep.equal({
        name: "EmptyLadder",
        values: [],
      });
      expect(await refusal(setting(deadline, [0, 1, 2, 3, 4, 5, 6, 7, 8]))).to.deep.equal({
        name: "TooManyLevels",
        values: ["8", "9"],
      });
      expect(await refusal(setting(deadline, [0, 5, 5]))).to.deep.equal({
        name: "LadderNotAscending",
        values: ["2", "5", "5"],
      });
    });

    it("an extension that is not later, or has no reason", async () => {
      const deadline = await set();
      const { extend } = registry.methods;
      expect(await refusal(extend(id, deadline, reason, ref))).to.deep.equal({
        name: "NotLater",
        values: [String(deadline), String(deadline)],
      });
      expect(await refusal(extend(id, deadline + 1, NO_REF, ref))).to.deep.equal({
        name: "NoReason",
        values: [],
      });
    });

    it("to erase a breach: from the deadline on it is neither extended nor paused", async () => {
      const deadline = await set();
      await pass(HOUR);
      const breached = { name: "AlreadyBreached", values: [id, "1", String(deadline)] };
      const later = await ahead();
      expect(await refusal(registry.methods.extend(id, later, reason, ref))).to.deep.equal(
        breached,
      );
      expect(await refusal(registry.methods.pause(id, ref))).to.deep.equal(breached);
    });

    it("what the clock of the deadline does not allow", async () => {
      const { extend, pause, resume, meet, checkAndEscalate } = registry.methods;
      const deadline = await set();
      expect(await refusal(checkAndEscalate(id))).to.deep.equal({
        name: "NothingDue",
        values: [id, "1", "0"],
      });
      expect(await refusal(resume(id, ref))).to.deep.equal({
        name: "NotPaused",
        values: [id, "1"],
      });

      const pauseTime = String(await send(pause(id, ref)));
      const later = extend(id, deadline + 1, reason, ref);
      for (const call of [pause(id, ref), later, checkAndEscalate(id)]) {
        expect(await refusal(call)).to.deep.equal({
          name: "AlreadyPaused",
          values: [id, "1", pauseTime],
        });
      }
      const meetTime = String(await send(meet(id, ref)));
      const values = [id, "1", meetTime];
      for (const call of [pause(id, ref), resume(id, ref), later, checkAndEscalate(id)]) {
        expect(await refusal(call)).to.deep.equal({ name: "NotOpen", values });
      }
      expect(await refusal(meet(id, ref))).to.deep.equal({ name: "AlreadyMet", values });
    });

    it("whatever is asked of a subject, or a cycle, that it does not know", async () => {
      const { meet, checkAndEscalate, deadlineOf, statusOf, timeRemaining } = registry.methods;
      for (const call of [
        meet(id, ref),
        checkAndEscalate(id),
        deadlineOf(id),
        statusOf(id),
        timeRemaining(id),
      ]) {
        expect(await refusal(call)).to.deep.equal({ name: "UnknownDeadline", values: [id] });
      }
      expect(Number(await registry.methods.cycles(id).call())).to.equal(0);
      await set();
      for (const number of [0, 2]) {
        expect(await refusal(registry.methods.cycleOf(id, number))).to.deep.equal({
          name: "UnknownCycle",
          values: [id, String(number), "1"],
        });
      }
    });
  });

  describe("costs so little that the gas limit is half as much again, for", () => {
    const ladder = (levels: number) => Array.from({ length: levels }, (_, i) => i);

    for (const [count, levels] of [
      [1, 1],
      [1, 8],
      [25, 1],
      [25, 8],
    ] as const) {
      it(`${count} with ${levels} to raise`, async () => {
        const ids = Array.from({ length: count }, (_, i) => slaIdOf(`${count}/${levels}/${i}`));
        for (const of of ids) await set(HOUR, ladder(levels), of);
        await pass(2 * HOUR);
        const { gasUsed } = await registry.methods
          .batchCheckAndEscalate(ids)
          .send({ from: stranger, gas: GAS });
        console.log(`      gas for ${count} with ${levels}: ${gasUsed}`);
        expect(await announced("LevelRaised")).to.have.length(count * levels);
        const limit = ESCALATE_GAS.call + count * (ESCALATE_GAS.id + levels * ESCALATE_GAS.level);
        expect(limit / Number(gasUsed)).to.be.within(1.45, 1.55);
        if (count === 25 && levels === 1) expect(Number(gasUsed)).to.be.lessThan(500_000);
      });
    }
  });

  describe("roles", () => {
    it("rotate: the admin grants a new manager and revokes the old, and the deadlines stay", async () => {
      const role = await registry.methods.MANAGER_ROLE().call();
      await set();
      const first = await current();
      await registry.methods.grantRole(role, stranger).send({ from: admin, gas: GAS });
      await registry.methods.revokeRole(role, manager).send({ from: admin, gas: GAS });
      const refused = await refusal(registry.methods.meet(id, ref));
      expect(refused.name).to.equal("AccessControlUnauthorizedAccount");
      expect(await current()).to.deep.equal(first);
      const meetTime = await send(registry.methods.meet(id, ref), stranger);
      expect(await current()).to.deep.equal({ ...first, meetTime });
    });

    it("are never given to the zero address", async () => {
      const nobody = hex0x(new Uint8Array(20));
      const role = String(await registry.methods.MANAGER_ROLE().call());
      expect(await deploymentRefusal(nobody, manager)).to.equal(zeroAddress(ADMIN_ROLE));
      expect(await deploymentRefusal(admin, nobody)).to.equal(zeroAddress(role));
    });
  });

  /** The revert data of a constructor. */
  async function deploymentRefusal(newAdmin: string, newManager: string): Promise<unknown> {
    const deployment = new web3.eth.Contract(slaRegistryAbi).deploy({
      data: bytecodeOf("SLARegistry"),
      arguments: [newAdmin, newManager],
    });
    const call = { from: admin, data: deployment.encodeABI() } as TransactionCall;
    const failure: unknown = await web3.eth.call(call).catch((error: unknown) => error);
    return (failure as { cause?: { data?: unknown } }).cause?.data;
  }

  function zeroAddress(role: string): string {
    const selector = web3.eth.abi.encodeFunctionSignature("ZeroAddress(bytes32)");
    return selector + role.slice(2);
  }

  it("says what it is", async () => {
    expect(await registry.methods.contractName().call()).to.equal("anchord.SLARegistry");
    expect(await registry.methods.version().call()).to.equal(1n);
    const role = await registry.methods.MANAGER_ROLE().call();
    expect(role).to.equal(web3.utils.keccak256("MANAGER_ROLE"));
  });
});
