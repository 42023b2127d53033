import { rm, truncate, writeFile } from "node:fs/promises";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { ContentState, RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import type { Record } from "../../gen/ts/anchord/v1/record_pb.js";
import type { Evidence } from "../../gen/ts/anchord/v1/evidence_pb.js";
import { web3Chain } from "../../src/chain/web3.js";
import { hex, sha256, unhex } from "../../src/core/bytes.js";
import type { FaultPoint } from "../../src/flow/faults.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { databasesOfRun } from "../support/databases.js";
import { GRPC_DOOR, refusalOf } from "../support/doors.js";
import { anchorAsStranger } from "../support/evidence-log.js";
import {
  download,
  evidenceClient,
  randomFile,
  stagedBy,
  upload,
  uploaded,
} from "../support/evidence.js";
import type { EvidenceClient } from "../support/evidence.js";
import { evidenceNamed } from "../support/evidence-registry.js";
import { startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { KuboRepository, startKubo } from "../support/kubo.js";
import { healthOf, logOf, problemsOf, sealed } from "../support/log-checks.js";
import { randomOf, seedOfRun } from "../support/random.js";
import { rebuild, settled } from "../support/rebuild.js";
import { until } from "../support/until.js";

const { ACCEPTED, ANCHORED, FINAL } = RecordState;
const { INTACT, MISSING, ALTERED, PENDING } = ContentState;

const seed = seedOfRun();
const random = randomOf(seed);

/** Points between any two steps of evidence, at which the process is killed. */
const POINTS = [
  "evidence.before-commit",
  "evidence.after-commit",
  "evidence.after-keep",
  "anchor.before-commit",
  "anchor.after-commit",
  "submit.before-broadcast",
  "submit.after-broadcast",
  "follow.before-commit",
  "follow.after-commit",
] as const satisfies readonly FaultPoint[];

/** A file of a few blocks. */
const file = (size = 300_000) => randomFile(random, size);

const clientOf = (daemon: Daemon) => evidenceClient(GRPC_DOOR, daemon);

async function all(client: EvidenceClient): Promise<Evidence[]> {
  return (await client.listEvidence({ pageSize: 1_000 })).evidence;
}

/** The anchors that the registry has announced. */
async function anchorsOf(daemon: Daemon, evidence: string) {
  const chain = web3Chain(daemon.rpcUrl);
  const { number } = await chain.latestBlock();
  const of = { ...(await logOf(daemon)), evidence, sla: undefined };
  const events = await chain.events(of, 0, number);
  return events.filter((event) => event.type === "evidence");
}

async function trailOf({ grpc }: Daemon, subject: string): Promise<Record[]> {
  return (await grpc.getTrail({ subject })).records;
}

/** What the trail says of a file, oldest first. */
async function checksOf(daemon: Daemon, subject: string): Promise<ContentState[]> {
  const bodies = (await trailOf(daemon, subject)).map(({ body }) => body);
  return bodies.flatMap((body) => (body.case === "evidenceChecked" ? [body.value.state] : []));
}

async function reaches(client: EvidenceClient, id: string, state: RecordState): Promise<void> {
  const isReached = async () => (await client.getEvidence({ id })).evidence?.state === state;
  await until(`evidence is ${RecordState[state]}`, isReached, 60_000);
}

async function becomes(client: EvidenceClient, id: string, state: ContentState): Promise<void> {
  const is = async () => (await client.getEvidence({ id })).evidence?.content?.state === state;
  await until(`the file is ${ContentState[state]}`, is, 60_000);
}

/** The files of blocks in the content store that are large enough to be of evidence. */
async function blockFiles({ dataDir }: Daemon, digest: Uint8Array): Promise<string> {
  const name = hex(digest);
  return join(dataDir, "ipfs", "blocks", name.slice(0, 2), name);
}

for (const { name, settings: databaseOf } of databasesOfRun(seed)) {
  describe(`Evidence on ${name}, whatever happens`, function () {
    this.timeout(180_000);

    let settings: globalThis.Record<string, string>;
    const daemons: Daemon[] = [];

    beforeEach(async function () {
      const found = await databaseOf();
      if (found === undefined) return this.skip();
      settings = { ...found };
      console.log(`      SEED=${seed}`);
    });

    afterEach(async () => {
      await Promise.all(daemons.splice(0).map((daemon) => daemon.kill()));
    });

    async function start(more: globalThis.Record<string, string> = {}): Promise<Daemon> {
      const daemon = await startDaemon({ ...settings, ...more });
      settings["DATA_DIR"] ??= daemon.dataDir;
      daemons.push(daemon);
      return daemon;
    }

    it("is anchored exactly once, or was never acknowledged, wherever the process is killed", async () => {
      const acknowledged = new Map<string, Buffer>();
      const files = new Map<string, Buffer>();
      const half = Math.floor(seed / 2) % 2; // every other point; the others at another seed
      for (const [i, point] of POINTS.entries()) {
        if (i % 2 !== half) continue;
        const daemon = await start({ ANCHORD_FAULT: `${point}:${random.between(1, 2)}` });
        const client = clientOf(daemon);
        let hasEnded = false;
        void daemon.ended.then(() => (hasEnded = true));
        for (let n = 0; !hasEnded; n++) {
          const bytes = file(random.pick([0, 1_000, 300_000]));
          const subject = `case/${i}-${n}`;
          files.set(subject, bytes);
          const taken = await upload(client, { subject }, bytes, { timeoutMs: 30_000 }).catch(
            () => undefined,
          );
          if (taken === undefined) break;
          acknowledged.set(taken.evidence!.id, bytes);
        }
        await daemon.ended;
        daemons.pop();
      }
      const daemon = await start();
      const client = clientOf(daemon);
      for (const [id, bytes] of acknowledged) {
        await reaches(client, id, FINAL);
        await becomes(client, id, INTACT);
        expect((await download(client, { id })).bytes.equals(bytes), id).to.equal(true);
      }
      await sealed(daemon);
      const known = await all(client);
      for (const { id, subject, sha256: digest } of known) {
        await reaches(client, id, FINAL);
        expect(digest, subject).to.equal(hex(sha256(files.get(subject) as Buffer)));
        expect((await trailOf(daemon, subject)).map((record) => record.id)).to.deep.equal([id]);
      }
      const anchors = await anchorsOf(daemon, (await healthOf(daemon)).evidence.contractAddress!);
      expect(anchors.map(({ ref }) => hex(ref)).sort()).to.deep.equal(
        known.map(({ id }) => id).sort(),
      );
      await until("nothing is staged", async () => (await stagedBy(daemon)).length === 0);
      expect(await problemsOf(daemon)).to.deep.equal([]);
    });

    it("is told of when it is lost, altered and repaired", async () => {
      const daemon = await start({ EVIDENCE_CHECK_HOURS: "0.0001" });
      const client = clientOf(daemon);
      const bytes = file(100_000);
      const { id, sha256: digest } = await uploaded(client, { subject: "case/1" }, bytes);
      await becomes(client, id, INTACT);
      const block = await blockFiles(daemon, unhex(digest));

      await rm(block);
      await becomes(client, id, MISSING);
      const health = await healthOf(daemon);
      expect(health).to.include({ status: "degraded", code: 200 });
      expect(health.evidence).to.deep.include({ healthy: false, missing: 1, intact: 0 });
      const metrics = await (await fetch(`${daemon.url}/metrics`)).text();
      expect(metrics).to.include('anchord_evidence_files{state="missing"} 1');
      const refusal = await refusalOf(download(client, { id }));
      expect(refusal).to.include({ code: "DataLoss", reason: "ERROR_REASON_CONTENT_LOST" });

      expect((await upload(client, { subject: "case/1" }, bytes)).replayed).to.equal(true);
      await becomes(client, id, INTACT);
      expect((await download(client, { id })).bytes.equals(bytes)).to.equal(true);

      const wrong = Buffer.from(bytes);
      wrong[5_000]! ^= 1;
      await writeFile(block, wrong);
      await becomes(client, id, ALTERED);
      await truncate(block, 10);
      await upload(client, { subject: "case/1" }, bytes);
      await becomes(client, id, INTACT);

      expect(await checksOf(daemon, "case/1")).to.deep.equal([MISSING, INTACT, ALTERED, INTACT]);
      await until("health says so", async () => (await healthOf(daemon)).status === "healthy");
      expect((await trailOf(daemon, "case/1")).length).to.equal(5);
      expect(await problemsOf(daemon)).to.deep.equal([]);
    });

    it("gets its file later, where only the hash was handed in", async () => {
      const daemon = await start({ EVIDENCE_CHECK_HOURS: "0.0001" });
      const client = clientOf(daemon);
      const [first, second] = [file(), file(10)];
      for (const [i, bytes] of [first, second].entries()) {
        const subject = `case/${i}`;
        const { evidence } = await client.anchorEvidence({ subject, sha256: hex(sha256(bytes)) });
        const id = evidence?.id ?? "";
        const refused = await refusalOf(download(client, { id }));
        expect(refused.reason).to.equal("ERROR_REASON_CONTENT_NOT_KEPT");
        const again = await upload(client, { subject, requireContent: i === 1 }, bytes);
        expect(again).to.deep.include({ replayed: true });
        expect(again.evidence).to.deep.include({ id, size: BigInt(bytes.length) });
        await becomes(client, id, INTACT);
        expect((await download(client, { id })).bytes.equals(bytes)).to.equal(true);
        expect(await checksOf(daemon, subject)).to.deep.equal([INTACT]);
        await reaches(client, id, FINAL);
      }
      expect(
        await anchorsOf(daemon, (await healthOf(daemon)).evidence.contractAddress!),
      ).to.have.length(2);
      expect(await problemsOf(daemon)).to.deep.equal([]);
    });

    it("comes back with the database", async () => {
      const daemon = await start();
      const client = clientOf(daemon);
      const bytes = file();
      const kept = await uploaded(client, { subject: "case/1", fileName: "a.bin" }, bytes);
      const hash = hex(sha256(file(10)));
      const { evidence } = await client.anchorEvidence({ subject: "case/1", sha256: hash });
      for (const id of [kept.id, evidence!.id]) await reaches(client, id, FINAL);
      await becomes(client, kept.id, INTACT);
      await settled(daemon);
      const before = (await all(client)).map(withoutContent);
      await daemon.stop();
      daemons.pop();
      for (const end of ["", "-wal", "-shm"]) {
        rmSync(join(daemon.dataDir, `anchord.db${end}`), { force: true });
      }
      const again = await databaseOf();
      settings = { ...again, DATA_DIR: daemon.dataDir };
      expect((await rebuild(settings)).code).to.equal(0);

      const restarted = await start();
      const newClient = clientOf(restarted);
      expect((await all(newClient)).map(withoutContent)).to.deep.equal(before);
      await becomes(newClient, kept.id, INTACT);
      expect((await download(newClient, { id: kept.id })).bytes.equals(bytes)).to.equal(true);
      const repeated = await upload(newClient, { subject: "case/1" }, bytes);
      expect(repeated).to.deep.include({ replayed: true });
      expect(repeated.evidence?.id).to.equal(kept.id);
      expect(await problemsOf(restarted)).to.deep.equal([]);
    });

    it("waits for Kubo, or is refused, as asked", async () => {
      const repository = new KuboRepository();
      const kubo = await startKubo({ repository });
      const { port } = new URL(kubo.url);
      await kubo.stop();
      const daemon = await start({ IPFS_API_URL: `http://127.0.0.1:${port}` });
      const client = clientOf(daemon);
      const bytes = file();
      const required = upload(client, { subject: "case/1", requireContent: true }, bytes);
      const refusal = { code: "Unavailable", reason: "ERROR_REASON_CONTENT_UNAVAILABLE" };
      expect(await refusalOf(required)).to.include(refusal);
      expect(await all(client)).to.deep.equal([]);
      expect(await stagedBy(daemon)).to.deep.equal([]);

      const { id, content } = await uploaded(client, { subject: "case/1" }, bytes);
      expect(content?.state).to.equal(PENDING);
      await reaches(client, id, FINAL);
      expect((await download(client, { id })).bytes.equals(bytes)).to.equal(true);
      await until("health says so", async () => !(await healthOf(daemon)).evidence.healthy);

      const back = await startKubo({ repository, port: Number(port) });
      try {
        await becomes(client, id, INTACT);
        expect([...repository.pins]).to.include((await all(client))[0]!.cid);
        expect(await stagedBy(daemon)).to.deep.equal([]);
        expect(await checksOf(daemon, "case/1")).to.deep.equal([]);
      } finally {
        await back.stop();
      }
    });
  });
}

function withoutContent({ content: _, ...evidence }: Evidence) {
  return evidence;
}

describe("Evidence on a chain of the operator's", function () {
  this.timeout(120_000);

  let chain: ExternalChain;
  let daemon: Daemon | undefined;

  beforeEach(async () => {
    chain = await startExternalChain();
  });

  afterEach(async () => {
    await daemon?.kill();
    await chain.stop();
  });

  const start = async (dataDir = temporaryFolder()) => {
    daemon = await startDaemon({ ...chain.environment, DATA_DIR: dataDir, CONFIRMATIONS: "3" });
    return daemon;
  };

  it("goes back to waiting with its block, and is anchored again by the same transaction", async () => {
    const client = clientOf(await start());
    const first = await uploaded(client, { subject: "case/0", waitFor: ANCHORED }, file(10));
    await sealed(daemon as Daemon);
    const snapshot = await chain.rpc<string>("evm_snapshot");
    const second = await uploaded(client, { subject: "case/1", waitFor: ANCHORED }, file(20));
    expect([first.state, second.state]).to.deep.equal([ANCHORED, ANCHORED]);
    await chain.rpc("evm_revert", snapshot);
    await chain.mine(2);
    const moved = async () => {
      const { evidence } = await client.getEvidence({ id: second.id });
      const { blockHash } = evidence?.anchor ?? {};
      return blockHash !== undefined && blockHash !== second.anchor?.blockHash;
    };
    await until("it is in another block", moved, 60_000);
    const { evidence } = await client.getEvidence({ id: second.id });
    expect(evidence?.anchor?.transactionHash).to.equal(second.anchor?.transactionHash);
    expect(await anchorsOf(daemon as Daemon, chain.evidence)).to.have.length(2);
    await chain.mine(4);
    await reaches(client, second.id, FINAL);
    expect(await problemsOf(daemon as Daemon)).to.deep.equal([]);
  });

  it("becomes a record once final, where a stranger anchored it, and only once", async () => {
    const client = clientOf(await start());
    const bytes = file(30);
    const stranger = evidenceNamed("of a stranger", {
      digest: sha256(bytes),
      cid: new Uint8Array(),
    });
    await anchorAsStranger(chain, [stranger]);
    await chain.mine(1);
    expect(await all(client)).to.deep.equal([]);
    await chain.mine(4);
    await until("it is a record", async () => (await all(client)).length === 1);
    const [recorded] = await all(client);
    const subject = hex(stranger.subjectKey);
    expect(recorded).to.deep.include({ subject, actor: chain.admin.toLowerCase(), state: FINAL });
    const [record] = await trailOf(daemon as Daemon, subject);
    expect(record).to.deep.include({ id: recorded?.id, caller: "chain" });

    const { dataDir } = daemon as Daemon;
    await daemon?.kill();
    const restarted = clientOf(await start(dataDir));
    await chain.mine(2);
    await sealed(daemon as Daemon);
    expect((await all(restarted)).map(({ id }) => id)).to.deep.equal([recorded?.id]);
    expect(await trailOf(daemon as Daemon, subject)).to.have.length(1);
    expect(await problemsOf(daemon as Daemon)).to.deep.equal([]);
  });

  it("is answered with the stranger's anchor, where somebody was first", async () => {
    const client = clientOf(await start());
    const bytes = file(40);
    const subjectKey = sha256(Buffer.from("case/2"));
    const stranger = evidenceNamed("first", { subjectKey, digest: sha256(bytes) });
    await anchorAsStranger(chain, [stranger]);
    const mine = await uploaded(client, { subject: "case/2", waitFor: ANCHORED }, bytes);
    expect(mine.anchor?.submitter).to.equal(chain.admin.toLowerCase());
    await chain.mine(5);
    await reaches(client, mine.id, FINAL);
    expect(await all(client)).to.have.length(1);
    expect(await anchorsOf(daemon as Daemon, chain.evidence)).to.have.length(1);
    expect(await problemsOf(daemon as Daemon)).to.deep.equal([]);
  });

  it("gets a record of its own, where a stranger's anchor was recorded before", async () => {
    const client = clientOf(await start());
    const bytes = file(60);
    const subjectKey = sha256(Buffer.from("case/4"));
    const stranger = evidenceNamed("early", { subjectKey, digest: sha256(bytes) });
    await anchorAsStranger(chain, [stranger]);
    await chain.mine(5);
    await until("it is recorded", async () => (await all(client)).length === 1);
    const { evidence, replayed } = await upload(client, { subject: "case/4", actor: "ada" }, bytes);
    expect(replayed).to.equal(false);
    expect(evidence).to.deep.include({ subject: "case/4", actor: "ada", state: FINAL });
    expect(evidence?.anchor?.submitter).to.equal(chain.admin.toLowerCase());
    const [record] = await trailOf(daemon as Daemon, "case/4");
    expect(record).to.deep.include({ id: evidence?.id, caller: "local" });
    await becomes(client, evidence!.id, INTACT);
    expect((await all(client)).map(({ id }) => id)).to.deep.equal([evidence?.id]);
    await sealed(daemon as Daemon);
    expect(await anchorsOf(daemon as Daemon, chain.evidence)).to.have.length(1);
    expect(await problemsOf(daemon as Daemon)).to.deep.equal([]);
  });

  it("is found where it was anchored before the chain was followed", async () => {
    const bytes = file(50);
    const subjectKey = sha256(Buffer.from("case/3"));
    await anchorAsStranger(chain, [evidenceNamed("old", { subjectKey, digest: sha256(bytes) })]);
    await chain.mine(5);
    const client = clientOf(await start());
    const { anchor, state } = await uploaded(
      client,
      { subject: "case/3", waitFor: ANCHORED },
      bytes,
    );
    expect([state, anchor?.submitter]).to.deep.equal([FINAL, chain.admin.toLowerCase()]);
    expect(await anchorsOf(daemon as Daemon, chain.evidence)).to.have.length(1);
    expect(await problemsOf(daemon as Daemon)).to.deep.equal([]);
  });

  it("waits while the account may not anchor, says so, and does not hold up records", async () => {
    const role = await chain.registry.methods.ANCHORER_ROLE().call();
    const { revokeRole, grantRole } = chain.registry.methods;
    await revokeRole(role, chain.sealer).send({ from: chain.admin });
    const client = clientOf(await start());
    const { id, state } = await uploaded(client, { subject: "case/1" }, file(10));
    expect(state).to.equal(ACCEPTED);
    await sealed(daemon as Daemon);
    const health = async () => (await healthOf(daemon as Daemon)).evidence;
    await until(
      "health says so",
      async () => (await health()).error?.includes("ANCHORER_ROLE") === true,
    );
    expect(await anchorsOf(daemon as Daemon, chain.evidence)).to.deep.equal([]);
    await grantRole(role, chain.sealer).send({ from: chain.admin });
    await until("it is anchored", async () => {
      const { evidence } = await client.getEvidence({ id });
      return evidence?.state === ANCHORED;
    });
  });
});
