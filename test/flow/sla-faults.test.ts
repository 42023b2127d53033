import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { SLAState } from "../../gen/ts/anchord/v1/sla_pb.js";
import { web3Chain } from "../../src/chain/web3.js";
import { hex0x } from "../../src/core/bytes.js";
import type { FaultPoint } from "../../src/flow/faults.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { GRPC_DOOR } from "../support/doors.js";
import { startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { logOf, problemsOf, sealed } from "../support/log-checks.js";
import { slaClient } from "../support/sla.js";
import { slaIdOf } from "../support/sla-registry.js";
import { until } from "../support/until.js";

const HOUR = 3_600;

/** Points between any two steps of a deadline. A daemon is killed the first time that it gets to one. */
const POINTS = [
  "sla.before-commit",
  "sla.after-commit",
  "sign.before-commit",
  "sign.after-commit",
  "keeper.before-commit",
  "keeper.after-commit",
  "submit.before-broadcast",
  "submit.after-broadcast",
  "follow.after-commit",
] as const satisfies readonly FaultPoint[];

type Client = ReturnType<typeof slaClient>;

describe("A daemon that is killed over a deadline", function () {
  this.timeout(120_000);

  let chain: ExternalChain;
  let settings: Record<string, string>;
  let daemon: Daemon;
  let subject: string;

  before(async () => {
    chain = await startExternalChain();
  });
  after(() => chain?.stop());

  beforeEach(() => {
    subject = `case/${randomUUID()}`;
    const log = { DATA_DIR: temporaryFolder(), LOG_NAME: randomUUID(), CONFIRMATIONS: "0" };
    settings = { ...chain.environment, ...log };
  });
  afterEach(() => daemon?.kill());

  /** Does one step as a careful client would: again, with the same request, until it is answered. */
  async function step(work: (client: Client) => Promise<boolean>): Promise<void> {
    const isDone = async () => {
      const ended = daemon.ended.then(() => "ended" as const);
      const done = work(slaClient(GRPC_DOOR, daemon)).catch(() => false);
      const result = await Promise.race([ended, done]);
      if (result === "ended") daemon = await startDaemon(settings);
      return result === true;
    };
    await until("the step is done", isDone, 60_000);
  }

  const isIn = async (client: Client, state: SLAState, level: number) => {
    const { sla } = await client.getSLA({ subject });
    return sla?.state === state && sla.level === level;
  };

  /** The whole life of a deadline. */
  async function live(): Promise<void> {
    const within = { seconds: BigInt(HOUR), nanos: 0 };
    const ladder = [{ seconds: 0n, nanos: 0 }];
    await step(async (client) => {
      await client.setDeadline({
        subject,
        requestId: "set",
        ladder,
        when: { case: "within", value: within },
      });
      return true;
    });
    await step((client) => isIn(client, SLAState.SLA_STATE_OPEN, 0));
    await chain.rpc("evm_increaseTime", 2 * HOUR);
    await chain.mine(1);
    await step((client) => isIn(client, SLAState.SLA_STATE_OPEN, 1));
    await step(async (client) => {
      await client.meetDeadline({ subject, requestId: "meet" });
      return true;
    });
    await step((client) => isIn(client, SLAState.SLA_STATE_MET, 1));
  }

  /** What the chain has announced of the subject's deadline. */
  async function announced(): Promise<string[]> {
    const node = web3Chain(chain.url);
    const { evidence, sla } = chain;
    const { number } = await node.latestBlock();
    const events = await node.events({ ...(await logOf(daemon)), evidence, sla }, 0, number);
    return events.flatMap((event) =>
      event.type === "sla" && hex0x(event.subjectKey) === slaIdOf(subject) ? event.change.kind : [],
    );
  }

  for (const point of POINTS) {
    it(`at ${point} does each step of it once`, async () => {
      daemon = await startDaemon({ ...settings, ANCHORD_FAULT: point });
      const { pid } = daemon;
      await live();
      expect(daemon.pid, "it was killed").to.not.equal(pid);
      expect(await announced()).to.deep.equal(["SET", "LEVEL_RAISED", "MET"]);
      await sealed(daemon);
      expect(await problemsOf(daemon)).to.deep.equal([]);
    });
  }

  it("between submit and receipt of an escalation raises its level once", async () => {
    daemon = await startDaemon(settings);
    const within = { seconds: BigInt(HOUR), nanos: 0 };
    const client = slaClient(GRPC_DOOR, daemon);
    const ladder = [{ seconds: 0n, nanos: 0 }];
    await client.setDeadline({ subject, ladder, when: { case: "within", value: within } });
    await step((again) => isIn(again, SLAState.SLA_STATE_OPEN, 0));
    await sealed(daemon);
    await chain.rpc("miner_stop");
    await chain.rpc("evm_increaseTime", 2 * HOUR);
    await chain.mine(1);
    const isPending = async () => {
      const { pending } = await chain.rpc<{ pending: Record<string, object> }>("txpool_content");
      return Object.keys(pending).length > 0;
    };
    await until("it was submitted", isPending);
    await daemon.kill();
    await chain.rpc("miner_start");
    daemon = await startDaemon(settings);
    await step((again) => isIn(again, SLAState.SLA_STATE_OPEN, 1));
    await chain.mine(2);
    await sealed(daemon);
    expect(await announced()).to.deep.equal(["SET", "LEVEL_RAISED"]);
    expect(await problemsOf(daemon)).to.deep.equal([]);
  });
});
