import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { expect } from "chai";
import { EventKind, Finality } from "../../gen/ts/anchord/v1/event_pb.js";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import { SLAChangeKind, SLAState, SLAVerdict } from "../../gen/ts/anchord/v1/sla_pb.js";
import type { SLA, SLAChange } from "../../gen/ts/anchord/v1/sla_pb.js";
import { SLACheckOutcome, SLAOrder } from "../../gen/ts/anchord/v1/sla_service_pb.js";
import { web3Chain } from "../../src/chain/web3.js";
import { hex, sha256 } from "../../src/core/bytes.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { DATABASES } from "../support/databases.js";
import { DOORS, refusalOf } from "../support/doors.js";
import type { AuditClient, Door } from "../support/doors.js";
import { startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { advance, setSla, slaClient, within } from "../support/sla.js";
import type { SlaClient } from "../support/sla.js";
import { until } from "../support/until.js";

const { ACCEPTED, ANCHORED } = RecordState;
const {
  SLA_STATE_PENDING: PENDING,
  SLA_STATE_OPEN: OPEN,
  SLA_STATE_PAUSED: PAUSED,
  SLA_STATE_MET: MET,
} = SLAState;
const {
  SLA_CHANGE_KIND_SET: SET,
  SLA_CHANGE_KIND_EXTENDED: EXTENDED,
  SLA_CHANGE_KIND_PAUSED: WAS_PAUSED,
  SLA_CHANGE_KIND_RESUMED: RESUMED,
  SLA_CHANGE_KIND_MET: WAS_MET,
  SLA_CHANGE_KIND_LEVEL_RAISED: LEVEL_RAISED,
} = SLAChangeKind;

const HOUR = 3_600;
const DAY = 86_400;

let made = 0;
/** A name that no other test uses. */
const unique = (what: string) => `${what}-${made++}`;
const keyOf = (subject: string) => hex(sha256(Buffer.from(subject)));
const secondsOf = (value: Timestamp | Duration | undefined) => Number(value?.seconds);
const kindsOf = ({ changes }: SLA) => changes.map(({ kind }) => kind);
const refused = (refusal: string) => ({
  code: "FailedPrecondition",
  reason: "ERROR_REASON_SLA_REFUSED",
  refusal,
});

for (const database of DATABASES) {
  describe(`SLAService on ${database.name}`, function () {
    this.timeout(60_000);

    let running: Running | undefined;

    before(async function () {
      this.timeout(300_000);
      const settings = await database.settings();
      if (settings === undefined) return this.skip();
      const chain = await startExternalChain();
      const own = { DATA_DIR: temporaryFolder(), API_TOKENS: "one,two", CONFIRMATIONS: "1" };
      running = { chain, daemon: await startDaemon({ ...chain.environment, ...settings, ...own }) };
    });

    after(async () => {
      await running?.daemon.stop();
      await running?.chain.stop();
    });

    for (const door of DOORS) {
      describe(`through the ${door.name} door`, () => behaves(() => running as Running, door));
    }
  });
}

/** A daemon, and a chain whose clock can be moved. */
interface Running {
  readonly daemon: Daemon;
  readonly chain: ExternalChain;
}

/** Everything that the service promises, whatever door and database. */
function behaves(running: () => Running, door: Door): void {
  let daemon: Daemon;
  let chain: ExternalChain;
  let client: SlaClient;
  let audit: AuditClient;

  before(() => {
    ({ daemon, chain } = running());
    client = slaClient(door, daemon, "one");
    audit = door.client(daemon, "one");
  });

  const get = async (subject: string) => (await client.getSLA({ subject })).sla as SLA;
  const trail = async (subject: string) => (await audit.getTrail({ subject })).records;
  const set = (subject: string, seconds = DAY, waitFor = ANCHORED) =>
    setSla(client, { subject, when: within(seconds), waitFor });
  const typesOf = async (subject: string) => (await trail(subject)).map(({ body }) => body.case);
  const refusal = async (call: Promise<unknown>) => {
    const { code, reason, metadata } = await refusalOf(call);
    return { code, reason, refusal: metadata["refusal"] };
  };

  describe("SetDeadline", () => {
    it("sets a deadline with everything that is said of it, and makes a record of it", async () => {
      const subject = unique("complaint/€");
      const details = { priority: 1, größe: ["\u{1f600}"] };
      const ladder = [{ seconds: 0n }, { seconds: 60n }, { seconds: BigInt(2 * DAY) }];
      const sla = await setSla(client, {
        subject,
        actor: "Zoë",
        requestId: unique("r"),
        when: within(2 * DAY),
        ladder,
        details,
        waitFor: ANCHORED,
      });
      const subjectKey = keyOf(subject);
      expect(sla).to.deep.include({ subject, subjectKey, cycle: 1, state: OPEN, details });
      expect(sla).to.deep.include({ level: 0, breached: false, extensions: 0 });
      expect(sla.ladder.map(secondsOf)).to.deep.equal([0, 60, 2 * DAY]);
      expect(sla.nextLevelTime).to.deep.equal(sla.deadline);
      expect(secondsOf(sla.timeRemaining)).to.be.within(2 * DAY - 60, 2 * DAY);
      const [record] = await trail(subject);
      expect(record).to.deep.include({ id: sla.id, subject, actor: "Zoë" });
      expect(record?.body.case).to.equal("deadlineSet");
      expect(record?.body.value).to.deep.include({ deadline: sla.deadline, cause: "", details });
      expect(await get(subject)).to.deep.include({ id: sla.id, details });
    });

    it("waits until it is anchored, and tells where, as the chain does", async () => {
      const subject = unique("complaint");
      const sla = await set(subject);
      expect(sla.anchorState).to.be.at.least(ANCHORED);
      const node = web3Chain(chain.url);
      const cycle = await node.slaCycle(chain.sla, sha256(Buffer.from(subject)));
      const deadline = secondsOf(sla.deadline);
      const ladder = [0, DAY, 3 * DAY];
      expect(cycle).to.deep.include({ number: 1, state: "OPEN", deadline, ladder });
      const change = sla.changes[0] as SLAChange;
      expect(change).to.deep.include({ kind: SET, recordId: sla.id, actor: "", failure: "" });
      expect(change.deadline).to.deep.equal(sla.deadline);
      const block = await node.block(Number(change.blockNumber));
      expect(secondsOf(change.blockTime)).to.equal(block?.time);
      const mined = await node.mined(change.transactionHash);
      expect(mined).to.include({ succeeded: true, blockHash: block?.hash });
    });

    it("answers at once where nothing is waited for", async () => {
      const subject = unique("complaint");
      const sla = await set(subject, DAY, ACCEPTED);
      expect(sla.state).to.be.oneOf([PENDING, OPEN]);
      expect(sla).to.include({ subject, cycle: 1, breached: false });
      expect(sla.id).to.match(/^[0-9a-f]{64}$/);
      await until("it is open", async () => (await get(subject)).state === OPEN);
    });

    it("has the ladder of the settings by default, and drops fractions of a second", async () => {
      const deadline = { seconds: BigInt(Math.floor(Date.now() / 1_000) + 9_999 * DAY), nanos: 7 };
      const subject = unique("complaint");
      const when = { case: "deadline" as const, value: deadline };
      const plain = await setSla(client, { subject, when, waitFor: ANCHORED });
      expect(plain.deadline).to.deep.include({ seconds: deadline.seconds, nanos: 0 });
      expect(plain.ladder.map(secondsOf)).to.deep.equal([0, DAY, 3 * DAY]);
      const ladder = [{ seconds: 1n, nanos: 999_999_999 }, { seconds: 2n }];
      const odd = await setSla(client, { subject: unique("complaint"), when, ladder });
      expect(odd.ladder.map(({ seconds, nanos }) => [seconds, nanos])).to.deep.equal([
        [1n, 0],
        [2n, 0],
      ]);
    });

    it("refuses a second open deadline, also while the first is not on the chain", async () => {
      const subject = unique("complaint");
      await set(subject, DAY, ACCEPTED);
      const call = client.setDeadline({ subject, when: within(HOUR) });
      expect(await refusal(call)).to.deep.equal(refused("AlreadyOpen"));
      expect(await typesOf(subject)).to.deep.equal(["deadlineSet"]);
      await until("it is open", async () => (await get(subject)).state === OPEN);
      const again = client.setDeadline({ subject, when: within(HOUR) });
      expect(await refusal(again)).to.deep.equal(refused("AlreadyOpen"));
    });

    it("refuses a deadline in the past, and one that no time can hold", async () => {
      const subject = unique("complaint");
      const past = { case: "deadline" as const, value: { seconds: 1_000_000_000n } };
      const call = client.setDeadline({ subject, when: past });
      expect(await refusal(call)).to.deep.equal(refused("DeadlineInPast"));
      expect(await typesOf(subject)).to.deep.equal([]);
    });

    it("sets the next one once the last is met, as a cycle of its own", async () => {
      const subject = unique("complaint");
      const first = await set(subject);
      await client.meetDeadline({ subject });
      const second = await set(subject, HOUR);
      expect(second).to.include({ cycle: 2, state: OPEN });
      expect(second.id).not.to.equal(first.id);
      expect(kindsOf(second)).to.deep.equal([SET]);
      const old = (await client.getSLA({ subject, cycle: 1 })).sla as SLA;
      expect(old).to.include({ id: first.id, cycle: 1, state: MET });
      expect(kindsOf(old)).to.deep.equal([SET, WAS_MET]);
      expect((await client.getSLA({ id: first.id.toUpperCase() })).sla).to.deep.equal(old);
      expect((await get(keyOf(subject))).id).to.equal(second.id);
    });
  });

  describe("request_id", () => {
    it("makes a repeated call the same change, also where it would be refused by now", async () => {
      const request = { subject: unique("complaint"), requestId: unique("r"), when: within(DAY) };
      const first = await client.setDeadline(request);
      const again = await client.setDeadline({ ...request, waitFor: ANCHORED });
      expect([first.replayed, again.replayed]).to.deep.equal([false, true]);
      expect(again.sla).to.include({ id: first.sla?.id, state: OPEN });
      expect(again.sla?.deadline).to.deep.equal(first.sla?.deadline);
      const { subject } = request;
      const met = { subject, requestId: unique("r") };
      const once = await client.meetDeadline({ ...met, waitFor: ANCHORED });
      await set(subject);
      const twice = await client.meetDeadline(met);
      expect([once.replayed, twice.replayed]).to.deep.equal([false, true]);
      expect(twice.sla).to.include({ cycle: 1, state: MET });
      expect(await typesOf(subject)).to.deep.equal(["deadlineSet", "deadlineMet", "deadlineSet"]);
    });

    it("refuses another body, another call or another event with it", async () => {
      const given = { subject: unique("complaint"), requestId: unique("r") };
      await set(given.subject);
      const { sla } = await client.pauseDeadline(given);
      const recordId = sla?.changes.at(-1)?.recordId;
      for (const call of [
        () => client.pauseDeadline({ ...given, reason: "x" }),
        () => client.resumeDeadline(given),
        () => client.meetDeadline(given),
        () => audit.recordEvent({ ...given, body: { case: "login", value: { user: "ada" } } }),
      ]) {
        const { reason, metadata } = await refusalOf(call());
        expect(reason).to.equal("ERROR_REASON_REQUEST_ID_REUSED");
        expect(metadata).to.include({ record_id: recordId });
      }
      expect(await typesOf(given.subject)).to.deep.equal(["deadlineSet", "deadlinePaused"]);
    });

    it("is each caller's own", async () => {
      const requestId = unique("r");
      const other = slaClient(door, daemon, "two");
      const when = within(DAY);
      const one = await client.setDeadline({ subject: unique("c"), requestId, when });
      const two = await other.setDeadline({ subject: unique("c"), requestId, when });
      expect([one.replayed, two.replayed]).to.deep.equal([false, false]);
    });
  });

  describe("ExtendDeadline", () => {
    it("moves a deadline by a duration or to a moment, and says why", async () => {
      const subject = unique("complaint");
      const { deadline } = await set(subject);
      const by = { case: "by" as const, value: { seconds: BigInt(HOUR) } };
      const request = { subject, actor: "ada", reason: "ill", when: by };
      const { sla } = await client.extendDeadline(request);
      const to = { seconds: BigInt(secondsOf(deadline) + DAY) };
      const when = { case: "deadline" as const, value: to };
      const moved = await client.extendDeadline({
        subject,
        reason: "still",
        when,
        waitFor: ANCHORED,
      });
      expect(sla?.changes.at(-1)).to.deep.include({ kind: EXTENDED, actor: "ada", reason: "ill" });
      expect(secondsOf(sla?.changes.at(-1)?.deadline)).to.equal(secondsOf(deadline) + HOUR);
      expect(moved.sla).to.include({ extensions: 2, state: OPEN });
      expect(moved.sla?.deadline?.seconds).to.equal(to.seconds);
      expect(moved.sla?.changes.map(({ reason }) => reason)).to.deep.equal(["", "ill", "still"]);
    });

    it("refuses what is not later, and a subject without a deadline", async () => {
      const subject = unique("complaint");
      const { deadline } = await set(subject);
      const when = { case: "deadline" as const, value: { seconds: deadline?.seconds ?? 0n } };
      const call = client.extendDeadline({ subject, reason: "x", when });
      expect(await refusal(call)).to.deep.equal(refused("NotLater"));
      const unknown = client.extendDeadline({ subject: unique("nobody"), reason: "x", when });
      expect(await refusalOf(unknown)).to.include({
        code: "NotFound",
        reason: "ERROR_REASON_SLA_NOT_FOUND",
      });
    });
  });

  describe("PauseDeadline and ResumeDeadline", () => {
    it("let the clock stand still, and move the deadline by as long", async () => {
      const subject = unique("complaint");
      const { deadline } = await set(subject, HOUR);
      const paused = await client.pauseDeadline({ subject, reason: "them", waitFor: ANCHORED });
      expect(paused.sla?.state).to.equal(PAUSED);
      expect(paused.sla?.deadline).to.deep.equal(deadline);
      expect(paused.sla?.nextLevelTime).to.equal(undefined);
      const left = paused.sla?.timeRemaining;
      expect(secondsOf(left)).to.be.within(HOUR - 60, HOUR);
      await advance(chain, 2 * HOUR);
      const still = await get(subject);
      expect(still).to.deep.include({ state: PAUSED, breached: false, timeRemaining: left });
      const { sla } = await client.resumeDeadline({ subject, waitFor: ANCHORED });
      expect(sla).to.include({ state: OPEN, breached: false });
      expect(sla?.pauseTime).to.equal(undefined);
      const resumed = sla?.changes.at(-1);
      const pause = secondsOf(resumed?.blockTime) - secondsOf(paused.sla?.pauseTime);
      expect(pause).to.be.at.least(2 * HOUR);
      expect(secondsOf(sla?.deadline)).to.equal(secondsOf(deadline) + pause);
      expect(kindsOf(sla as SLA)).to.deep.equal([SET, WAS_PAUSED, RESUMED]);
    });

    it("are refused where they would change nothing", async () => {
      const subject = unique("complaint");
      await set(subject);
      expect(await refusal(client.resumeDeadline({ subject }))).to.deep.equal(refused("NotPaused"));
      await client.pauseDeadline({ subject });
      const again = client.pauseDeadline({ subject });
      expect(await refusal(again)).to.deep.equal(refused("AlreadyPaused"));
    });
  });

  describe("MeetDeadline", () => {
    it("ends a deadline in time, which is certified", async () => {
      const subject = unique("complaint");
      await set(subject);
      const { sla } = await client.meetDeadline({ subject, actor: "bob", waitFor: ANCHORED });
      expect(sla).to.include({ state: MET, breached: false });
      expect([sla?.timeRemaining, sla?.nextLevelTime]).to.deep.equal([undefined, undefined]);
      expect(sla?.meetTime).to.deep.equal(sla?.changes.at(-1)?.blockTime);
      expect(sla?.changes.at(-1)).to.include({ kind: WAS_MET, actor: "bob" });
      const again = client.meetDeadline({ subject });
      expect(await refusal(again)).to.deep.equal(refused("AlreadyMet"));
      const { certificate } = await client.getCertificate({ id: sla?.id ?? "" });
      expect(certificate).to.deep.include({
        subject,
        subjectKey: keyOf(subject),
        cycle: 1,
        verdict: SLAVerdict.SLA_VERDICT_MET_IN_TIME,
        deadline: sla?.deadline,
        meetTime: sla?.meetTime,
        level: 0,
      });
      expect((await client.getCertificate({ subject })).certificate?.cycle).to.equal(1);
    });

    it("is refused, as is a certificate, where there is nothing yet", async () => {
      const subject = unique("complaint");
      const notFound = { code: "NotFound", reason: "ERROR_REASON_SLA_NOT_FOUND" };
      expect(await refusalOf(client.meetDeadline({ subject }))).to.include(notFound);
      expect(await refusalOf(client.getCertificate({ subject }))).to.include(notFound);
      await set(subject);
      const { code, reason } = await refusalOf(client.getCertificate({ subject }));
      expect({ code, reason }).to.deep.equal({
        code: "FailedPrecondition",
        reason: "ERROR_REASON_SLA_REFUSED",
      });
    });
  });

  describe("a deadline that passes", () => {
    it("is escalated level by level, in the trail and on the stream, and met late", async () => {
      const subject = unique("complaint");
      const ladder = [{ seconds: 0n }, { seconds: BigInt(HOUR) }, { seconds: BigInt(9 * HOUR) }];
      const open = await setSla(client, { subject, when: within(HOUR), ladder, waitFor: ANCHORED });
      await advance(chain, HOUR + 60);
      await until("level 1", async () => (await get(subject)).level === 1);
      const late = await get(subject);
      expect(late).to.deep.include({ state: OPEN, breached: true, deadline: open.deadline });
      expect(secondsOf(late.timeRemaining)).to.be.below(0);
      expect(secondsOf(late.nextLevelTime)).to.equal(secondsOf(open.deadline) + HOUR);
      await advance(chain, HOUR);
      await until("level 2", async () => (await get(subject)).level === 2);
      const { changes } = await get(subject);
      expect(changes.map(({ kind, level }) => [kind, level])).to.deep.equal([
        [SET, 0],
        [LEVEL_RAISED, 1],
        [LEVEL_RAISED, 2],
      ]);
      expect(changes[2]).to.deep.include({ dueTime: late.nextLevelTime });
      expect(changes[2]?.actor).to.match(/^0x[0-9a-f]{40}$/);
      expect(secondsOf(changes[2]?.blockTime)).to.be.at.least(secondsOf(changes[2]?.dueTime));
      const by = { case: "by" as const, value: { seconds: BigInt(DAY) } };
      for (const call of [
        () => client.extendDeadline({ subject, reason: "too late", when: by }),
        () => client.pauseDeadline({ subject }),
      ]) {
        expect(await refusal(call())).to.deep.equal(refused("AlreadyBreached"));
      }
      const { certificate } = await client.getCertificate({ subject });
      expect(certificate?.verdict).to.equal(SLAVerdict.SLA_VERDICT_BREACHED);
      const { sla } = await client.meetDeadline({ subject, waitFor: ANCHORED });
      expect(sla).to.include({ state: MET, breached: true, level: 2 });
      const ended = await client.getCertificate({ subject });
      expect(ended.certificate).to.include({
        verdict: SLAVerdict.SLA_VERDICT_MET_LATE,
        level: 2,
      });
      await advance(chain, 1); // what it tells of is final one block behind its own
      const expected = ["deadlineSet", "deadlineMet", "levelRaised", "levelRaised"];
      await until("the trail", async () => (await trail(subject)).length === expected.length);
      expect(await typesOf(subject)).to.have.members(expected);
      const raised = (await get(subject)).changes.filter(({ kind }) => kind === LEVEL_RAISED);
      const ids = (await trail(subject)).map(({ id }) => id);
      expect(ids).to.include.members(raised.map(({ recordId }) => recordId));
    });

    it("is told to subscribers, as is every change", async () => {
      const subject = unique("complaint");
      await setSla(client, { subject, when: within(HOUR), ladder: [{ seconds: 0n }] });
      await client.pauseDeadline({ subject });
      await client.resumeDeadline({ subject, waitFor: ANCHORED });
      await advance(chain, 2 * HOUR);
      await until("level 1", async () => (await get(subject)).level === 1);
      await advance(chain, 1);
      const seen: (string | undefined)[] = [];
      const headers = { authorization: "Bearer one" };
      const events = daemon.events.grpc.subscribeEvents(
        {
          from: { case: "start", value: 1 },
          filter: {
            subject,
            kinds: [EventKind.RECORD_ANCHORED],
            minimumFinality: Finality.PROVISIONAL,
          },
        },
        { headers },
      );
      const told = new Set<string>();
      for await (const { events: batch } of events) {
        for (const { payload } of batch) {
          if (payload.case !== "record" || told.has(payload.value.id)) continue;
          told.add(payload.value.id);
          seen.push(payload.value.body.case);
        }
        if (seen.includes("levelRaised")) break;
      }
      expect(seen).to.deep.equal([
        "deadlineSet",
        "deadlinePaused",
        "deadlineResumed",
        "levelRaised",
      ]);
    });
  });

  describe("CheckAndEscalate and BatchCheckAndEscalate", () => {
    const {
      SLA_CHECK_OUTCOME_RAISED: RAISED,
      SLA_CHECK_OUTCOME_NOT_DUE: NOT_DUE,
      SLA_CHECK_OUTCOME_PAUSED: IS_PAUSED,
      SLA_CHECK_OUTCOME_MET: IS_MET,
      SLA_CHECK_OUTCOME_UNKNOWN: UNKNOWN,
      SLA_CHECK_OUTCOME_PENDING: IS_PENDING,
    } = SLACheckOutcome;

    it("say what is due, have it raised, and say so", async () => {
      const [due, later, paused, met] = ["due", "later", "paused", "met"].map(unique) as [
        string,
        string,
        string,
        string,
      ];
      const nobody = unique("nobody");
      const ladder = [{ seconds: 0n }, { seconds: 60n }];
      await setSla(client, { subject: due, when: within(HOUR), ladder, waitFor: ANCHORED });
      for (const subject of [later, paused, met]) await set(subject);
      await client.pauseDeadline({ subject: paused, waitFor: ANCHORED });
      await client.meetDeadline({ subject: met, waitFor: ANCHORED });
      const subjects = [met, due, nobody, later, paused, keyOf(due)];
      await chain.rpc("miner_stop"); // so that the keeper comes no further than sending
      try {
        await advance(chain, 2 * HOUR);
        const planned = await client.batchCheckAndEscalate({ subjects, dryRun: true });
        expect(planned.checks.map(({ subject }) => subject)).to.deep.equal(subjects);
        expect(planned.checks.map(({ outcome }) => outcome)).to.deep.equal([
          IS_MET,
          RAISED,
          UNKNOWN,
          NOT_DUE,
          IS_PAUSED,
          RAISED,
        ]);
        expect(planned.checks[1]).to.include({ level: 2, previousLevel: 0 });
        await until("the database knows", async () => {
          const { checks } = await client.batchCheckAndEscalate({ dryRun: true, limit: 1000 });
          return checks.some(({ subject }) => subject === due);
        });
        const options = { timeoutMs: 1_500 };
        const { check } = await client.checkAndEscalate({ subject: due }, options);
        expect(check).to.include({ outcome: IS_PENDING, level: 0, previousLevel: 0 });
        for (const [subject, name] of [
          [later, "NothingDue"],
          [paused, "AlreadyPaused"],
          [met, "NotOpen"],
        ] as const) {
          const call = client.checkAndEscalate({ subject });
          expect(await refusal(call), subject).to.deep.equal(refused(name));
        }
        const unknown = await refusalOf(client.checkAndEscalate({ subject: nobody }));
        expect(unknown).to.include({ reason: "ERROR_REASON_SLA_NOT_FOUND" });
        const raising = client.batchCheckAndEscalate({ subjects });
        await client.batchCheckAndEscalate({ subjects, dryRun: true }); // the other has looked by then
        await chain.rpc("miner_start");
        const { checks } = await raising;
        expect(checks[1]).to.include({ outcome: RAISED, level: 2, previousLevel: 0 });
        expect(checks[3]).to.include({ outcome: NOT_DUE });
      } finally {
        await chain.rpc("miner_start");
      }
      expect((await get(due)).level).to.equal(2);
      const call = client.checkAndEscalate({ subject: due });
      expect(await refusal(call)).to.deep.equal(refused("NothingDue"));
    });
  });

  describe("ListSLAs", () => {
    const subject = () => unique("list");
    type Request = Parameters<SlaClient["listSLAs"]>[0];
    const listed = async (request: Request) => (await client.listSLAs(request)).slas;

    /** All pages of a list, of two each. */
    async function pages(request: Request): Promise<SLA[]> {
      const all: SLA[] = [];
      let pageToken = "";
      do {
        const page = await client.listSLAs({ ...request, pageSize: 2, pageToken });
        all.push(...page.slas);
        ({ nextPageToken: pageToken } = page);
      } while (pageToken !== "");
      return all;
    }

    it("goes through the deadlines of a subject page by page, in each order", async () => {
      const one = subject();
      const ids: string[] = [];
      for (const hours of [5, 9, 5, 1, 5]) {
        ids.push((await set(one, hours * HOUR, ACCEPTED)).id);
        await client.meetDeadline({ subject: one, waitFor: ANCHORED });
      }
      const oldest = await pages({ subject: one, order: SLAOrder.SLA_ORDER_OLDEST_FIRST });
      expect(oldest.map(({ id }) => id)).to.deep.equal(ids);
      const newest = await pages({ subject: one });
      expect(newest.map(({ id }) => id)).to.deep.equal(ids.toReversed());
      const byDeadline = await pages({ subject: one, order: SLAOrder.SLA_ORDER_DEADLINE });
      const times = byDeadline.map(({ deadline }) => secondsOf(deadline));
      expect(times).to.deep.equal(times.toSorted((a, b) => a - b));
      expect(new Set(byDeadline.map(({ id }) => id)).size).to.equal(5);
      expect(byDeadline[0]?.id).to.equal(ids[3]);
      expect(oldest.every(({ changes }) => changes.length === 0)).to.equal(true);
      expect(await listed({ subject: keyOf(one) })).to.have.lengthOf(5);
      expect(await listed({ subject: unique("nobody") })).to.deep.equal([]);
    });

    it("finds deadlines by state, moment, level and breach", async () => {
      const one = subject();
      const ladder = [{ seconds: 0n }];
      const first = await setSla(client, {
        subject: one,
        when: within(HOUR),
        ladder,
        waitFor: ANCHORED,
      });
      await advance(chain, 2 * HOUR);
      await until("level 1", async () => (await get(one)).level === 1);
      await client.meetDeadline({ subject: one, waitFor: ANCHORED });
      const second = await set(one);
      const found = async (request: Request) =>
        (await listed({ subject: one, ...request })).map(({ id }) => id);
      expect(await found({ state: MET })).to.deep.equal([first.id]);
      expect(await found({ state: OPEN })).to.deep.equal([second.id]);
      expect(await found({ state: PAUSED })).to.deep.equal([]);
      expect(await found({ minLevel: 1 })).to.deep.equal([first.id]);
      expect(await found({ breached: true })).to.deep.equal([first.id]);
      expect(await found({ breached: false })).to.deep.equal([second.id]);
      const { seconds = 0n } = first.deadline ?? {};
      expect(await found({ dueBefore: { seconds } })).to.deep.equal([]);
      expect(await found({ dueBefore: { seconds, nanos: 1 } })).to.deep.equal([first.id]);
      expect(await found({ dueBefore: { seconds: 7_000_000_000n } })).to.have.lengthOf(2);
    });
  });

  it("shows on the deadline what a policy did", async () => {
    const subject = unique("complaint");
    const record = async (eventType: string) =>
      (
        await audit.recordEvent({
          subject,
          body: { case: "complaint", value: { eventType } },
        })
      ).recordId;
    const assigned = await record("ASSIGNED");
    await until("it is set", async () => (await trail(subject)).length === 2);
    const resolved = await record("RESOLVED");
    await until("it is met", async () => (await get(subject)).state === MET);
    const { changes } = await get(subject);
    expect(changes.map(({ kind, cause }) => [kind, cause])).to.deep.equal([
      [SET, assigned],
      [WAS_MET, resolved],
    ]);
  });

  it("is counted in health and metrics, with how late levels were", async () => {
    const subject = unique("complaint");
    await setSla(client, { subject, when: within(HOUR), ladder: [{ seconds: 0n }] });
    await until("it is open", async () => (await get(subject)).state === OPEN);
    await advance(chain, 2 * HOUR);
    await until("level 1", async () => (await get(subject)).level === 1);
    const metrics = async () => {
      const headers = { authorization: "Bearer one" };
      return (await fetch(`${daemon.url}/metrics`, { headers })).text();
    };
    const valueOf = (text: string, name: string) =>
      Number(
        text
          .split("\n")
          .find((line) => line.startsWith(`${name} `))
          ?.slice(name.length),
      );
    await until("lateness is told", async () => {
      return valueOf(await metrics(), "anchord_sla_escalation_lateness_seconds_count") > 0;
    });
    const text = await metrics();
    expect(valueOf(text, 'anchord_slas{state="overdue"}')).to.be.at.least(1);
    expect(valueOf(text, 'anchord_slas{state="open"}')).to.be.at.least(1);
    expect(valueOf(text, 'anchord_sla_changes{state="failed"}')).to.equal(0);
    expect(valueOf(text, 'anchord_healthy{part="sla"}')).to.equal(1);
    const health = (await (await fetch(`${daemon.url}/health`)).json()) as {
      sla: Record<string, unknown>;
    };
    expect(health.sla).to.include({ healthy: true, contractAddress: chain.sla, failedChanges: 0 });
  });
}
