import { expect } from "chai";
import { hex, hex0x } from "../../src/core/bytes.js";
import type { SlaEvent } from "../../src/chain/port.js";
import { AnchordError } from "../../src/core/errors.js";
import type { OperationKind } from "../../src/core/operation.js";
import { decodeEntry } from "../../src/core/record.js";
import type { SlaDraftChange } from "../../src/flow/sla.js";
import { feedRows } from "../../src/store/feed.js";
import { listRecords } from "../../src/store/records.js";
import { slaChangeByRecord } from "../../src/store/sla-changes.js";
import { openEscalations } from "../../src/store/sla-escalations.js";
import { listSlas, slaTotals } from "../../src/store/sla.js";
import { text } from "../../src/store/tables.js";
import { DATABASES } from "../support/databases.js";
import { startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { startSlaService } from "../support/sla-service.js";
import type { SlaService, SlaServiceOptions } from "../support/sla-service.js";
import { slaIdOf } from "../support/sla-registry.js";
import { until } from "../support/until.js";

const HOUR = 3_600;
const NO_REF = `0x${"0".repeat(64)}`;

/** A deadline so many seconds from now, with a ladder. */
const setIn = (seconds: number, ladder: readonly number[] = [0]): Partial<SlaDraftChange> => ({
  kind: "SET",
  when: { after: seconds },
  ladder,
});

const MEET: Partial<SlaDraftChange> = { kind: "MET" };
const PAUSE: Partial<SlaDraftChange> = { kind: "PAUSED" };
const RESUME: Partial<SlaDraftChange> = { kind: "RESUMED" };
const extendBy = (seconds: number): Partial<SlaDraftChange> => ({
  kind: "EXTENDED",
  when: { after: seconds },
});

/** The reason of a refusal, and the contract's error where it has one. */
async function refusal(asked: Promise<unknown>): Promise<string> {
  try {
    await asked;
  } catch (error) {
    if (!(error instanceof AnchordError)) throw error;
    return [error.reason, error.detail.metadata?.["refusal"]].filter(Boolean).join(" ");
  }
  throw new Error("it was taken");
}

for (const { name, settings } of DATABASES) {
  describe(`A deadline, on ${name}`, function () {
    this.timeout(60_000);

    let chain: ExternalChain;
    let service: SlaService;

    before(async function () {
      const set = await settings();
      if (set === undefined) return this.skip();
      chain = await startExternalChain();
      const { DATABASE_URL: mysqlUrl } = set;
      service = await startSlaService(
        chain,
        mysqlUrl === undefined ? {} : { database: { mysqlUrl } },
      );
    });
    after(async () => {
      await service?.stop();
      await chain?.stop();
    });

    it("is set, extended, paused, resumed and met, each change a record and on chain", async () => {
      const subject = `life/${name}`;
      const asked = [];
      for (const change of [setIn(HOUR), extendBy(60), PAUSE, RESUME, MEET]) {
        asked.push(await service.ask(subject, change));
      }
      await service.settled();
      const { state, extensions, changes, events, recordId } = await service.sla(subject);
      expect([state, extensions]).to.deep.equal(["MET", 1]);
      expect(hex(recordId!)).to.equal(hex(asked[0]!));
      expect(changes.map(({ state }) => state)).to.deep.equal(Array(5).fill("DONE"));
      const kinds = ["SET", "EXTENDED", "PAUSED", "RESUMED", "MET"];
      expect(events.map(({ change }) => change.kind)).to.deep.equal(kinds);
      expect(events.map(({ ref }) => hex(ref))).to.deep.equal(asked.map(hex));
    });

    it("is one cycle after another", async () => {
      const subject = `cycles/${name}`;
      for (const change of [setIn(HOUR), MEET, setIn(2 * HOUR)]) await service.ask(subject, change);
      await service.settled();
      expect((await service.sla(subject, 1)).state).to.equal("MET");
      expect(await service.sla(subject)).to.include({ cycle: 2, state: "OPEN" });
    });

    it("is refused where the contract would not take it after what waits", async () => {
      const subject = `refused/${name}`;
      expect(await refusal(service.ask(subject, MEET))).to.equal("SLA_NOT_FOUND");
      const past = { ...setIn(0), when: { at: service.room.now() } } as Partial<SlaDraftChange>;
      expect(await refusal(service.ask(subject, past))).to.equal("SLA_REFUSED DeadlineInPast");
      await service.ask(subject, setIn(HOUR));
      const again = () => refusal(service.ask(subject, setIn(HOUR)));
      expect(await again()).to.equal("SLA_REFUSED AlreadyOpen");
      await service.settled();
      expect(await again()).to.equal("SLA_REFUSED AlreadyOpen");
      await service.ask(subject, PAUSE);
      expect(await refusal(service.ask(subject, extendBy(1)))).to.equal(
        "SLA_REFUSED AlreadyPaused",
      );
      await service.ask(subject, MEET);
      expect(await refusal(service.ask(subject, MEET))).to.equal("SLA_REFUSED AlreadyMet");
      await service.settled();
      expect((await service.sla(subject)).changes).to.have.length(3);
    });

    it("is changed once by a request, whatever became of it since", async () => {
      const subject = `again/${name}`;
      const first = await service.ask(subject, setIn(HOUR), `set ${name}`);
      expect(hex(await service.ask(subject, setIn(HOUR), `set ${name}`))).to.equal(hex(first));
      await service.ask(subject, MEET, `meet ${name}`);
      await service.settled();
      expect(hex(await service.ask(subject, setIn(HOUR), `set ${name}`))).to.equal(hex(first));
      const other = service.ask(`${subject}/other`, setIn(HOUR), `set ${name}`);
      expect(await refusal(other)).to.equal("REQUEST_ID_REUSED");
      expect((await service.sla(subject)).changes).to.have.length(2);
    });

    it("stands while it is paused, over its time as well, and goes on from there", async () => {
      const subject = `pause/${name}`;
      await service.ask(subject, setIn(HOUR, [0, 60]));
      await service.ask(subject, PAUSE);
      await service.settled();
      const { deadline, pauseTime } = await service.sla(subject);
      await pass(chain, 3 * HOUR);
      await until("the clock has leapt", () => service.room.now() > deadline + HOUR);
      await service.ask(subject, RESUME);
      await service.settled();
      const { state, raised, events, ...resumed } = await service.sla(subject);
      expect([state, raised]).to.deep.equal(["OPEN", 0]);
      const paused = events.at(-1)!.blockTime - pauseTime!;
      expect(paused).to.be.at.least(3 * HOUR);
      expect(resumed.deadline).to.equal(deadline + paused);
    });

    it("has each of its levels raised once and in order when hours have passed", async () => {
      const subject = `levels/${name}`;
      await service.ask(subject, setIn(HOUR, [0, 60, 2 * HOUR, 48 * HOUR]));
      await service.settled();
      await pass(chain, 4 * HOUR);
      await until("three levels", async () => (await service.sla(subject)).raised === 3);
      await pass(chain, 48 * HOUR);
      await until("all levels", async () => (await service.sla(subject)).raised === 4);
      const { deadline, events, state, nextTime } = await service.sla(subject);
      expect([state, nextTime]).to.deep.equal(["OPEN", undefined]);
      const levels = events.flatMap(({ change }) => (change.kind === "LEVEL_RAISED" ? change : []));
      expect(levels.map(({ level }) => level)).to.deep.equal([1, 2, 3, 4]);
      const dueTimes = [0, 60, 2 * HOUR, 48 * HOUR].map((offset) => deadline + offset);
      expect(levels.map(({ dueTime }) => dueTime)).to.deep.equal(dueTimes);
      await until("lateness is told", () => service.lateness.length >= 4);
      expect(Math.min(...service.lateness)).to.be.at.least(0);
      await service.ask(subject, MEET);
      await service.settled();
      expect((await service.sla(subject)).state).to.equal("MET");
    });
  });
}

describe("Deadlines and the chain", function () {
  this.timeout(120_000);

  let chain: ExternalChain;
  let service: SlaService;

  beforeEach(async () => {
    chain = await startExternalChain();
  });

  afterEach(async () => {
    await service?.stop();
    await chain?.stop();
  });

  const start = async (options: SlaServiceOptions = {}) => {
    service = await startSlaService(chain, options);
  };

  /** The contract calls that were made, by what they were for. */
  const operations = (kind: OperationKind) =>
    service.database.read((db) =>
      db.selectFrom("operations").selectAll().where("kind", "=", kind).orderBy("id").execute(),
    );

  /** What the chain has announced of deadlines, in its order. */
  async function announced(): Promise<SlaEvent[]> {
    const { identity, chain: node } = service.log.connection()!;
    const { number } = await node.latestBlock();
    const events = await node.events(identity, 0, number);
    return events.filter((event) => event.type === "sla");
  }

  const levels = async () => (await announced()).filter(isLevel);

  /** Whether a call of a kind waits to be mined. */
  const isSent = async (kind: OperationKind, count = 1) =>
    (await operations(kind)).filter(({ state }) => text(state) === "SENT").length === count;

  const isRaised = async (subject: string, level = 1) =>
    (await service.sla(subject)).raised === level;

  const typesOf = async (subject: string) => {
    const records = await listRecords(
      service.database,
      { subject },
      { newestFirst: false, limit: 100 },
    );
    return records.map(({ entry }) => decodeEntry(entry).body.case);
  };

  it("are escalated each at its moment, a second apart", async () => {
    await start();
    const subjects = ["a", "b", "c", "d"];
    for (const [i, subject] of subjects.entries()) await service.ask(subject, setIn(4 + i));
    await service.settled();
    for (const subject of subjects) await until(`${subject} is raised`, () => isRaised(subject));
    const raised = await levels();
    expect(raised.map(({ subjectKey }) => hex0x(subjectKey))).to.deep.equal(subjects.map(slaIdOf));
    await until("lateness is told", () => service.lateness.length === 4);
    expect(Math.min(...service.lateness)).to.be.at.least(0);
    expect(await operations("ESCALATION")).to.have.length.within(1, 4);
  });

  /** How many deadlines have a level that was raised, as far as was followed. */
  const raisedCount = async () => {
    const options = { order: "oldest", behind: undefined, limit: 1_000 } as const;
    const query = { minLevel: 1, now: service.room.now() };
    return (await listSlas(service.database, query, options)).length;
  };

  it("are all escalated once where 500 are overdue, within the gas of a transaction", async function () {
    this.timeout(300_000);
    await start({ maxGas: 500_000 });
    await setByStranger(Array.from({ length: 500 }, (_, i) => `overdue/${i}`));
    const areKnown = async () => (await slaTotals(service.database, 0)).open === 500;
    await until("all are known", areKnown, 100_000);
    await pass(chain, 2 * HOUR);
    await until("all are raised", async () => (await raisedCount()) === 500, 100_000);
    const isOver = async () => (await openEscalations(service.database)).length === 0;
    await until("all transactions have ended", isOver);
    const keys = new Set((await levels()).map(({ subjectKey }) => hex(subjectKey)));
    expect([keys.size, (await levels()).length]).to.deep.equal([500, 500]);
    const sent = await operations("ESCALATION");
    expect(sent.map(({ state }) => text(state))).to.deep.equal(Array(20).fill("MINED"));
    for (const { transaction_hash } of sent) {
      const hash = hex0x(transaction_hash);
      const { gas } = await chain.rpc<{ gas: string }>("eth_getTransactionByHash", hash);
      expect(Number(gas)).to.be.at.most(500_000);
    }
  });

  it("are escalated once where an outsider does so at the same moment", async () => {
    await start();
    const subjects = ["a", "b", "c"];
    for (const subject of subjects) await service.ask(subject, setIn(HOUR, [0, 60]));
    await service.settled();
    await chain.rpc("miner_stop");
    await pass(chain, 2 * HOUR);
    await until("the service has sent its own", () => isSent("ESCALATION"));
    const { methods } = chain.slaRegistry;
    const outside = methods.batchCheckAndEscalate(subjects.slice(1).map(slaIdOf));
    const escalated = outside.send({ from: chain.admin, gas: "500000", gasPrice: HIGH_PRICE });
    await until("both wait", async () => (await pending()) === 2);
    await chain.rpc("miner_start");
    await mined(chain, escalated);
    for (const subject of subjects) await until(`${subject}`, () => isRaised(subject, 2));
    const isOver = async () => (await openEscalations(service.database)).length === 0;
    await until("the transaction has ended", isOver);
    await chain.mine(2);
    const raised = (await levels()).map(({ subjectKey, change }) => [hex0x(subjectKey), change]);
    expect(new Set(raised.map((each) => JSON.stringify(each))).size).to.equal(6);
    expect(raised).to.have.length(6);
    const sent = await operations("ESCALATION");
    expect(sent.map(({ state }) => text(state))).to.deep.equal(["MINED"]);
  });

  it("are escalated again where a reorganisation takes that back", async () => {
    await start({ confirmations: 3 });
    await service.ask("a", setIn(HOUR));
    await service.settled();
    await chain.rpc("miner_stop");
    await pass(chain, 2 * HOUR);
    await until("the service's call waits", async () => (await pending()) === 1);
    const snapshot = await chain.rpc<string>("evm_snapshot");
    await chain.mine(1);
    await until("it is raised", () => isRaised("a"));
    const [before] = await levels();
    await chain.rpc("evm_revert", snapshot);
    await chain.mine(2);
    await until("it was taken back", () => isRaised("a", 0));
    expect(await openEscalations(service.database)).to.have.length(1);
    await chain.rpc("miner_start");
    await until("it is raised again", () => isRaised("a"));
    const raised = await levels();
    expect(raised.map(({ transactionHash }) => transactionHash)).to.deep.equal([
      before!.transactionHash,
    ]);
    expect(raised[0]!.blockHash).to.not.equal(before!.blockHash);
    const isOver = async () => (await openEscalations(service.database)).length === 0;
    await until("the transaction has ended", isOver);
  });

  it("are tried again when the chain's clock is there, where it is some seconds behind", async () => {
    await chain.rpc("evm_setTime", Date.now() - 6_000);
    await chain.mine(1);
    await start();
    await service.ask("a", setIn(2));
    await until("it is raised", () => isRaised("a"));
    const [set, raised] = await announced();
    expect([set?.change.kind, raised?.change.kind]).to.deep.equal(["SET", "LEVEL_RAISED"]);
    expect(await operations("ESCALATION")).to.have.length.within(2, 3);
    await until("lateness is told", () => service.lateness.length === 1);
    expect(service.lateness[0]).to.be.at.least(0);
  });

  it("are extended before the breach, and not after it", async () => {
    await start();
    await service.ask("a", setIn(HOUR, [HOUR]));
    await service.settled();
    const { deadline } = await service.sla("a");
    await chain.rpc("miner_stop");
    const inTime = await service.ask("a", extendBy(60));
    await until("it was sent", async () => (await pending()) === 1);
    await mineAt(deadline - 1);
    await until("it is done", async () => (await stateOf(inTime)) === "DONE");
    expect((await service.sla("a")).deadline).to.equal(deadline + 60);

    const late = await service.ask("a", extendBy(60));
    await until("it was sent", async () => (await pending()) === 1);
    await mineAt(deadline + 61);
    await until("it has failed", async () => (await stateOf(late)) === "FAILED");
    const { changes, ...sla } = await service.sla("a");
    expect(sla.deadline).to.equal(deadline + 60);
    expect(changes.at(-1)!.reason).to.match(/^AlreadyBreached\(/);
    expect(await refusal(service.ask("a", extendBy(60)))).to.equal("SLA_REFUSED AlreadyBreached");
  });

  it("tell of a change that the chain refuses, in the trail and on the stream", async () => {
    await start();
    const role = await chain.slaRegistry.methods.MANAGER_ROLE().call();
    await chain.slaRegistry.methods.grantRole(role, chain.admin).send({ from: chain.admin });
    await service.ask("a", setIn(HOUR));
    await service.settled();
    await chain.rpc("miner_stop");
    const meeting = await service.ask("a", MEET);
    const extending = await service.ask("b", setIn(HOUR));
    await until("both were sent", () => isSent("SLA", 2));
    const { methods } = chain.slaRegistry;
    const options = { from: chain.admin, gas: "200000", gasPrice: HIGH_PRICE };
    const met = methods.meet(slaIdOf("a"), NO_REF).send(options);
    await until("all wait", async () => (await pending()) >= 3);
    await chain.rpc("miner_start");
    await mined(chain, met);
    await service.settled();
    expect([await stateOf(meeting), await stateOf(extending)]).to.deep.equal(["FAILED", "DONE"]);
    const change = await service.database.read((db) => slaChangeByRecord(db, meeting));
    expect(change!.reason).to.match(/^AlreadyMet\(/);
    expect((await service.sla("a")).state).to.equal("MET");
    expect(await typesOf("a")).to.include.members(["deadlineMet", "deadlineRefused"]);
    const told = (await feedRows(service.database, 1, 100)).filter(
      ({ kind }) => kind === "OPERATION_FAILED",
    );
    expect(told).to.have.length(1);
    expect(JSON.stringify(told)).to.contain("AlreadyMet(");
    expect(await refusal(service.ask("a", MEET))).to.equal("SLA_REFUSED AlreadyMet");
  });

  it("wait while the account may not manage them, and say so", async () => {
    await start();
    const { MANAGER_ROLE, revokeRole, grantRole } = chain.slaRegistry.methods;
    const role = await MANAGER_ROLE().call();
    await revokeRole(role, chain.sealer).send({ from: chain.admin });
    await service.ask("a", setIn(HOUR));
    await until("it says so", () => service.flow.failure?.includes("MANAGER_ROLE") === true);
    expect((await service.sla("a")).state).to.equal("PENDING");
    await mined(chain, grantRole(role, chain.sealer).send({ from: chain.admin }));
    await service.settled();
    expect((await service.sla("a")).state).to.equal("OPEN");
    await until("nothing hinders", () => service.flow.failure === undefined);
  });

  it("are taken in while the chain is away", async () => {
    service = await startSlaService(chain, { runs: false });
    await service.ask("a", setIn(HOUR));
    expect(await refusal(service.ask("a", setIn(HOUR)))).to.equal("SLA_REFUSED AlreadyOpen");
    await service.ask("a", MEET);
    expect((await service.sla("a")).state).to.equal("PENDING");
    await service.start();
    await service.settled();
    expect((await service.sla("a")).state).to.equal("MET");
  });

  it("are refused for good where the registry has one from before the log began", async () => {
    service = await startSlaService(chain, { runs: false });
    await setByStranger(["a"]);
    await chain.mine(2);
    const setting = await service.ask("a", setIn(2 * HOUR));
    await service.start();
    await service.settled();
    expect(await stateOf(setting)).to.equal("FAILED");
    expect(service.flow.failure).to.equal(undefined);
  });

  /** Somebody who may sets deadlines in an hour, without the service. */
  async function setByStranger(subjects: readonly string[]): Promise<void> {
    const { MANAGER_ROLE, grantRole, setSLADeadline } = chain.slaRegistry.methods;
    const { admin: from, sla: to } = chain;
    await grantRole(await MANAGER_ROLE().call(), from).send({ from });
    await chain.rpc("miner_stop");
    const deadline = service.room.now() + HOUR;
    for (const subject of subjects) {
      const data = setSLADeadline(slaIdOf(subject), deadline, [0], NO_REF).encodeABI();
      await chain.rpc("eth_sendTransaction", { from, to, data, gas: "0x30d40" });
    }
    await chain.rpc("miner_start");
  }

  const stateOf = async (recordId: Uint8Array) =>
    (await service.database.read((db) => slaChangeByRecord(db, recordId)))?.state;

  /** How many calls of the registry of deadlines wait to be mined: a seal may wait beside them. */
  const pending = async () => {
    type Pool = Record<string, Record<string, { to: string }>>;
    const { pending } = await chain.rpc<{ pending: Pool }>("txpool_content");
    const waiting = Object.values(pending).flatMap((ofSender) => Object.values(ofSender));
    return waiting.filter(({ to }) => to === chain.sla).length;
  };

  /** Mines a block of this time, from which the chain's clock goes on. */
  async function mineAt(time: number): Promise<void> {
    await chain.rpc("evm_setTime", time * 1_000);
    await chain.rpc("evm_mine", time);
  }
});

/** More than the service ever offers, in wei a unit of gas. */
const HIGH_PRICE = "100000000000";

/** Time passes on chain, and a block shows it. */
async function pass(chain: ExternalChain, seconds: number): Promise<void> {
  await chain.rpc("evm_increaseTime", seconds);
  await chain.mine(1);
}

/** A transaction as web3 sends it. */
interface Sent {
  then(mined: () => void): Promise<unknown>;
}

/**
 * Resolves once a transaction is in a block. Ganache may leave one that comes together with another out of the
 * block that it mines for both, and until the next.
 */
async function mined(chain: ExternalChain, sent: Sent): Promise<void> {
  let isMined = false;
  const done = sent.then(() => (isMined = true));
  await until("the transaction is mined", async () => {
    if (!isMined) await chain.mine(1);
    return isMined;
  });
  await done;
}

function isLevel({ change }: SlaEvent): boolean {
  return change.kind === "LEVEL_RAISED";
}
