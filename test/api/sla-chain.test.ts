import { expect } from "chai";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import { SLAChangeKind, SLAState } from "../../gen/ts/anchord/v1/sla_pb.js";
import type { SLA } from "../../gen/ts/anchord/v1/sla_pb.js";
import { hex, hex0x } from "../../src/core/bytes.js";
import { reasonHash } from "../../src/core/sla.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { DOORS, GRPC_DOOR, refusalOf } from "../support/doors.js";
import { startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { startRelay } from "../support/relay.js";
import { setSla, slaClient, within } from "../support/sla.js";
import type { SlaClient } from "../support/sla.js";
import { slaIdOf } from "../support/sla-registry.js";
import { until } from "../support/until.js";

const { ACCEPTED, ANCHORED, FINAL } = RecordState;
const DAY = 86_400;
const ZERO = `0x${"0".repeat(64)}`;

describe("SLAService and the chain", function () {
  this.timeout(60_000);

  let chain: ExternalChain;

  before(async function () {
    this.timeout(120_000);
    chain = await startExternalChain();
    const { slaRegistry, admin } = chain;
    const role = await slaRegistry.methods.MANAGER_ROLE().call();
    await slaRegistry.methods.grantRole(role as never, admin).send({ from: admin });
  });

  after(() => chain.stop());

  let daemons = 0;
  /** A daemon with a log and a database of its own on the chain. */
  const start = (settings: Record<string, string> = {}) =>
    startDaemon({
      ...chain.environment,
      DATA_DIR: temporaryFolder(),
      LOG_NAME: `log ${daemons++}`,
      ...settings,
    });

  /** Sets a deadline without any service, a day from now. */
  async function setElsewhere(subject: string): Promise<bigint> {
    const { timestamp } = await chain.rpc<{ timestamp: string }>(
      "eth_getBlockByNumber",
      "latest",
      false,
    );
    const deadline = BigInt(timestamp) + BigInt(DAY);
    await chain.slaRegistry.methods
      .setSLADeadline(slaIdOf(subject) as never, deadline as never, [0, 60] as never, ZERO as never)
      .send({ from: chain.admin, gas: "1000000" });
    return deadline;
  }

  describe("where somebody sets a deadline without the service", () => {
    let daemon: Daemon;
    let client: SlaClient;

    before(async function () {
      this.timeout(120_000);
      daemon = await start({ CONFIRMATIONS: "3", FINALITY: "confirmations" });
      client = slaClient(GRPC_DOOR, daemon);
    });

    after(() => daemon.stop());

    it("gives it out under its bare key, and has a record of it once it is final", async () => {
      const subject = "elsewhere/1";
      const key = slaIdOf(subject).slice(2);
      const deadline = await setElsewhere(subject);
      const find = async () => (await client.listSLAs({ subject: key })).slas[0];
      await until("it was followed", async () => (await find()) !== undefined);
      const sla = (await client.getSLA({ subject })).sla as SLA;
      expect(sla).to.deep.include({ id: "", subject: key, subjectKey: key, cycle: 1 });
      expect(sla).to.include({ state: SLAState.SLA_STATE_OPEN, anchorState: ANCHORED });
      expect(sla.deadline?.seconds).to.equal(deadline);
      expect(sla.changes).to.have.lengthOf(1);
      expect(sla.changes[0]).to.include({ actor: chain.admin, recordId: "", state: ANCHORED });

      await chain.mine(3);
      await until("it is recorded", async () => (await find())?.id !== "");
      const known = (await client.getSLA({ subject: key })).sla as SLA;
      expect(known).to.include({ subject: key, anchorState: FINAL });
      expect(known.changes[0]).to.include({ actor: chain.admin, recordId: known.id });
      const { record } = await daemon.grpc.getRecord({ recordId: known.id });
      expect(record).to.include({ subject: key, actor: chain.admin, caller: "chain" });
      expect((await client.getSLA({ id: known.id })).sla).to.deep.include({
        changes: known.changes,
      });
    });

    it("takes changes of it, beside those of others", async () => {
      const subject = "elsewhere/2";
      const deadline = await setElsewhere(subject);
      await chain.slaRegistry.methods
        .extend(
          slaIdOf(subject) as never,
          (deadline + 5n) as never,
          hex0x(reasonHash("ill")) as never,
          ZERO as never,
        )
        .send({ from: chain.admin, gas: "1000000" });
      await until("it was followed", async () => {
        const { slas } = await client.listSLAs({ subject });
        return slas[0]?.extensions === 1;
      });
      const { sla } = await client.meetDeadline({ subject, actor: "bob", waitFor: ANCHORED });
      expect(sla).to.include({ state: SLAState.SLA_STATE_MET, breached: false });
      const { SLA_CHANGE_KIND_EXTENDED: EXTENDED, SLA_CHANGE_KIND_MET: MET } = SLAChangeKind;
      expect(sla?.changes[1]).to.include({
        kind: EXTENDED,
        actor: chain.admin,
        reason: `sha256:${hex(reasonHash("ill"))}`,
      });
      expect(sla?.changes[2]).to.include({ kind: MET, actor: "bob", failure: "" });
    });
  });

  describe("where the chain cannot be reached", () => {
    it("takes changes by what it knows, and tells of those that the chain refuses later", async () => {
      const port = Number(new URL(chain.url).port);
      const relay = await startRelay(port);
      const daemon = await start({ BLOCKCHAIN_RPC_URL: relay.url });
      try {
        const client = slaClient(GRPC_DOOR, daemon);
        await setSla(client, { subject: "in reach", when: within(DAY), waitFor: ANCHORED });
        relay.target = undefined;
        relay.cut();
        const options = { timeoutMs: 5_000 };
        const waitFor = ANCHORED;
        const [good, bad] = ["out of reach/1", "out of reach/2"];
        const request = { subject: good, when: within(DAY), waitFor };
        const { sla } = await client.setDeadline(request, options);
        expect(sla).to.include({ state: SLAState.SLA_STATE_PENDING, anchorState: ACCEPTED });
        expect(sla?.changes[0]).to.include({ state: ACCEPTED, failure: "", transactionHash: "" });
        const again = client.setDeadline({ subject: good, when: within(DAY) });
        expect((await refusalOf(again)).metadata).to.deep.equal({ refusal: "AlreadyOpen" });
        await setSla(client, { subject: bad, when: within(DAY) });
        for (const call of [
          () => client.checkAndEscalate({ subject: good }),
          () => client.batchCheckAndEscalate({ dryRun: true }),
          () => client.getCertificate({ subject: good }),
        ]) {
          expect(await refusalOf(call())).to.include({
            code: "Unavailable",
            reason: "ERROR_REASON_CHAIN_UNAVAILABLE",
          });
        }
        await setElsewhere(bad);

        relay.target = port;
        await until("it is open", async () => {
          return (await client.getSLA({ subject: good })).sla?.state === SLAState.SLA_STATE_OPEN;
        });
        const failed = async () => {
          const state = SLAState.SLA_STATE_FAILED;
          return (await client.listSLAs({ subject: bad, state })).slas[0];
        };
        await until("it failed", async () => (await failed()) !== undefined);
        const { id = "" } = (await failed()) ?? {};
        const refused = (await client.getSLA({ id })).sla as SLA;
        expect(refused).to.include({ state: SLAState.SLA_STATE_FAILED, breached: false });
        expect(refused.timeRemaining).to.equal(undefined);
        expect(refused.changes[0]?.failure).to.match(/^AlreadyOpen/);
        const trail = await daemon.grpc.getTrail({ subject: bad });
        expect(trail.records.map(({ body }) => body.case)).to.include("deadlineRefused");
      } finally {
        await daemon.stop();
        await relay.close();
      }
    });
  });

  describe("where there is no registry", () => {
    let daemon: Daemon;

    before(async function () {
      this.timeout(120_000);
      daemon = await start({ SLA_CONTRACT_ADDRESS: "" });
      const event = { subject: "a", body: { case: "login" as const, value: { user: "ada" } } };
      await daemon.grpc.recordEvent({ ...event, waitFor: ANCHORED });
    });

    after(() => daemon.stop());

    for (const door of DOORS) {
      it(`says what to set to what needs one, through the ${door.name} door`, async () => {
        const client = slaClient(door, daemon);
        const subject = "a";
        const later = { case: "by" as const, value: { seconds: 1n } };
        const calls = {
          set: () => client.setDeadline({ subject, when: within(DAY) }),
          extend: () => client.extendDeadline({ subject, when: later, reason: "x" }),
          pause: () => client.pauseDeadline({ subject }),
          resume: () => client.resumeDeadline({ subject }),
          meet: () => client.meetDeadline({ subject }),
          check: () => client.checkAndEscalate({ subject }),
          checkAll: () => client.batchCheckAndEscalate({}),
          certify: () => client.getCertificate({ subject }),
        };
        for (const [what, call] of Object.entries(calls)) {
          const refusal = await refusalOf(call());
          expect(refusal, what).to.include({
            code: "FailedPrecondition",
            reason: "ERROR_REASON_SLA_UNCONFIGURED",
          });
          expect(refusal.message, what).to.include("SLA_CONTRACT_ADDRESS");
        }
      });

      it(`gives out what is there, through the ${door.name} door`, async () => {
        const client = slaClient(door, daemon);
        expect((await client.listSLAs({})).slas).to.deep.equal([]);
        const { reason } = await refusalOf(client.getSLA({ subject: "a" }));
        expect(reason).to.equal("ERROR_REASON_SLA_NOT_FOUND");
      });
    }
  });

  describe("where the account may not manage deadlines", () => {
    it("takes a change, says so in the health, and sends it once it may", async () => {
      const { slaRegistry, admin, sealer } = chain;
      const role = await slaRegistry.methods.MANAGER_ROLE().call();
      const from = { from: admin };
      const daemon = await start();
      try {
        const client = slaClient(GRPC_DOOR, daemon);
        await setSla(client, { subject: "allowed", when: within(DAY), waitFor: ANCHORED });
        await slaRegistry.methods.revokeRole(role as never, sealer).send(from);
        const sla = await setSla(client, { subject: "forbidden", when: within(DAY) });
        expect(sla.state).to.equal(SLAState.SLA_STATE_PENDING);
        await until("it is said", async () => {
          const health = (await (await fetch(`${daemon.url}/health`)).json()) as {
            status: string;
            sla: { healthy: boolean; error?: string; waitingChanges: number };
          };
          const { healthy, error = "" } = health.sla;
          return health.status === "degraded" && !healthy && error.includes("MANAGER_ROLE");
        });
        await slaRegistry.methods.grantRole(role as never, sealer).send(from);
        await until("it is open", async () => {
          const { sla: now } = await client.getSLA({ id: sla.id });
          return now?.state === SLAState.SLA_STATE_OPEN;
        });
      } finally {
        await daemon.stop();
      }
    });
  });
});
