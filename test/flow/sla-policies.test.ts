import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect } from "chai";
import { ComplaintSchema } from "../../gen/ts/anchord/v1/record_pb.js";
import { hex } from "../../src/core/bytes.js";
import { CHAIN_CALLER, subjectKey } from "../../src/core/evidence.js";
import { encodeRecord } from "../../src/core/record.js";
import { movePolicyCursor, policyCursor } from "../../src/store/sla-policy.js";
import { logLength } from "../../src/store/records.js";
import { slaOf } from "../../src/store/sla.js";
import { startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { startSlaService } from "../support/sla-service.js";
import type { SlaService } from "../support/sla-service.js";
import { until } from "../support/until.js";

const HOUR = 3_600;

describe("Policies of deadlines", function () {
  this.timeout(60_000);

  let chain: ExternalChain;
  let service: SlaService;

  before(async () => {
    chain = await startExternalChain();
    const policies = "complaint:ASSIGNED=PT48H,complaint:RESOLVED=meet";
    service = await startSlaService(chain, { policies });
  });
  after(async () => {
    await service?.stop();
    await chain?.stop();
  });

  /** Records an event of a complaint. Resolves to its id. */
  async function tell(
    subject: string,
    eventType: string,
    { at, caller = "local" }: { readonly at?: number; readonly caller?: string } = {},
  ): Promise<Uint8Array> {
    const value = create(ComplaintSchema, { eventType });
    const record = encodeRecord({
      ...{ caller, subject, actor: "ada", request: undefined },
      occurTime: at === undefined ? undefined : timestampFromMs(at * 1_000),
      body: { case: "complaint", value },
    });
    await service.log.acceptor.accept([record]);
    return record.id;
  }

  /** Resolves once policies have looked at every record that may concern them, and its changes are on chain. */
  async function looked(): Promise<void> {
    const length = await logLength(service.database);
    await until("policies have looked", async () => (await lookedAt()) >= length);
    await service.settled();
  }

  /** Policies note where they are at a record of theirs alone: one that has no effect shows it. */
  async function lookedAt(): Promise<number> {
    const marker = `marker/${await logLength(service.database)}`;
    await tell(marker, "RESOLVED");
    const seq = await logLength(service.database);
    const has = async () => (await policyCursor(service.database)) >= seq - 1;
    await until("a record of theirs was looked at", has);
    return seq;
  }

  const isThere = async (subject: string) =>
    (await service.database.read((db) => slaOf(db, { subjectKey: subjectKey(subject) }))) !==
    undefined;

  it("start a deadline when a complaint is assigned, and meet it when it is resolved", async () => {
    const at = service.room.now() - HOUR;
    const assigned = await tell("complaint/1", "ASSIGNED", { at });
    await looked();
    const started = await service.sla("complaint/1");
    expect(started).to.deep.include({ state: "OPEN", deadline: at + 48 * HOUR });
    expect(started.ladder).to.deep.equal(service.room.ladder);
    const resolved = await tell("complaint/1", "RESOLVED");
    await looked();
    const { state, changes } = await service.sla("complaint/1");
    expect(state).to.equal("MET");
    expect(changes.map(({ cause }) => hex(cause!))).to.deep.equal([assigned, resolved].map(hex));
    expect(changes.map(({ entry }) => entry.caller)).to.deep.equal(["service", "service"]);
  });

  it("do as much where it was resolved before they looked", async () => {
    await tell("complaint/2", "ASSIGNED");
    await tell("complaint/2", "RESOLVED");
    await looked();
    const { state, cycle } = await service.sla("complaint/2");
    expect([state, cycle]).to.deep.equal(["MET", 1]);
  });

  it("do not meet a deadline that was set since", async () => {
    await tell("complaint/7", "RESOLVED");
    await service.ask("complaint/7", { kind: "SET", when: { after: HOUR }, ladder: [0] });
    await looked();
    expect((await service.sla("complaint/7")).state).to.equal("OPEN");
  });

  it("leave a deadline that is open", async () => {
    await service.ask("complaint/3", { kind: "SET", when: { after: HOUR }, ladder: [0] });
    await tell("complaint/3", "ASSIGNED");
    await looked();
    expect((await service.sla("complaint/3")).changes).to.have.length(1);
  });

  it("start none that would have passed, and none for what strangers do", async () => {
    await tell("complaint/4", "ASSIGNED", { at: service.room.now() - 49 * HOUR });
    await tell("complaint/5", "ASSIGNED", { caller: CHAIN_CALLER });
    await looked();
    expect([await isThere("complaint/4"), await isThere("complaint/5")]).to.deep.equal([
      false,
      false,
    ]);
  });

  it("start the next deadline where the last was met", async () => {
    for (const eventType of ["ASSIGNED", "RESOLVED", "ASSIGNED"]) {
      await tell("complaint/6", eventType);
      await looked();
    }
    expect(await service.sla("complaint/6")).to.include({ cycle: 2, state: "OPEN" });
  });

  it("go on at the end of the log where their cursor was edited to beyond it", async () => {
    await service.database.transact((trx) => movePolicyCursor(trx, 1e15));
    const length = await logLength(service.database);
    await until("it is back", async () => (await policyCursor(service.database)) <= length);
    await tell("complaint/8", "ASSIGNED");
    await looked();
    expect(await isThere("complaint/8")).to.equal(true);
  });

  it("do nothing twice, where they look again", async () => {
    const changes = () =>
      service.database.read((db) =>
        db.selectFrom("sla_changes").select(["id", "cycle"]).orderBy("id").execute(),
      );
    const before = await changes();
    await service.database.transact((trx) => movePolicyCursor(trx, 0));
    await looked();
    expect(await changes()).to.deep.equal(before);
  });
});
