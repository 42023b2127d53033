import { expect } from "chai";
import type { Evidence } from "../../gen/ts/anchord/v1/evidence_pb.js";
import { EvidenceVerdict } from "../../gen/ts/anchord/v1/evidence_service_pb.js";
import { ContentState, RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import { hex, sha256 } from "../../src/core/bytes.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { DOORS, GRPC_DOOR, refusalOf } from "../support/doors.js";
import {
  download,
  evidenceClient,
  messages,
  stagedBy,
  upload,
  uploaded,
  verify,
} from "../support/evidence.js";
import type { EvidenceClient } from "../support/evidence.js";
import { asArgument } from "../support/evidence-registry.js";
import { startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { startRelay } from "../support/relay.js";
import { until } from "../support/until.js";

const { ACCEPTED, ANCHORED, FINAL } = RecordState;
const { VERIFIED, OTHER_SUBJECT, NOT_ANCHORED } = EvidenceVerdict;

const bytesOf = (text: string) => Buffer.from(text);
const keyOf = (subject: string) => sha256(bytesOf(subject));

describe("EvidenceService and the chain", function () {
  this.timeout(60_000);

  let chain: ExternalChain;

  before(async function () {
    this.timeout(120_000);
    chain = await startExternalChain();
    const { registry, admin } = chain;
    const role = await registry.methods.ANCHORER_ROLE().call();
    await registry.methods.grantRole(role as never, admin).send({ from: admin });
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

  /** Anchors a file without any service, in a block of its own. */
  async function anchorElsewhere(subject: string, bytes: Uint8Array): Promise<number> {
    const item = {
      subjectKey: keyOf(subject),
      digest: sha256(bytes),
      ref: new Uint8Array(32),
      cid: new Uint8Array(),
    };
    const sent = await chain.registry.methods
      .anchorEvidence([asArgument(item)])
      .send({ from: chain.admin, gas: "1000000" });
    return Number(sent.blockNumber);
  }

  describe("where somebody anchors without the service", () => {
    let daemon: Daemon;
    let client: EvidenceClient;

    before(async function () {
      this.timeout(120_000);
      daemon = await start({ CONFIRMATIONS: "3", FINALITY: "confirmations" });
      client = evidenceClient(GRPC_DOOR, daemon);
    });

    after(() => daemon.stop());

    it("confirms the anchor, and has evidence of it once it is final", async () => {
      const subject = "elsewhere/1";
      const file = bytesOf("one");
      const key = hex(keyOf(subject));
      const blockNumber = BigInt(await anchorElsewhere(subject, file));

      const asked = await verify(client, { subject }, file);
      expect(asked.verdict).to.equal(VERIFIED);
      expect(asked.contract).to.equal(chain.evidence);
      expect(asked.anchors).to.have.lengthOf(1);
      expect(asked.anchors[0]).to.deep.include({ subject, subjectKey: key, evidenceId: "" });
      expect(asked.anchors[0]?.anchor).to.deep.include({ submitter: chain.admin, blockNumber });

      await until("it was followed", async () => {
        const { verdict, anchors } = await verify(client, {}, file);
        return verdict === VERIFIED && anchors[0]?.anchor?.transactionHash !== "";
      });
      const any = await verify(client, {}, file);
      expect(any.anchors[0]).to.deep.include({ subject: key, subjectKey: key, evidenceId: "" });
      expect((await verify(client, { subject: key }, file)).verdict).to.equal(VERIFIED);
      expect((await verify(client, { subject: "other" }, file)).verdict).to.equal(OTHER_SUBJECT);

      await chain.mine(3);
      const request = { subject: key, sha256: hex(sha256(file)) };
      await until("it is recorded", async () => {
        return (await client.listEvidence(request)).evidence.length === 1;
      });
      const { evidence } = await client.getEvidence(request);
      expect(evidence).to.deep.include({ subject: key, subjectKey: key, actor: chain.admin });
      expect(evidence?.state).to.equal(FINAL);
      expect(evidence?.content?.state).to.equal(ContentState.NONE);
      expect((await client.getEvidence({ ...request, subject })).evidence?.id).to.equal(
        evidence?.id,
      );
      const known = await verify(client, { subject }, file);
      expect(known.anchors[0]).to.deep.include({ evidenceId: evidence?.id });
    });

    it("takes the anchor for its own where the same file is handed in for the subject", async () => {
      const subject = "elsewhere/2";
      const file = bytesOf("two");
      const blockNumber = BigInt(await anchorElsewhere(subject, file));
      const metadata = { subject, waitFor: ANCHORED };
      const { evidence, replayed } = await upload(client, metadata, file);
      expect(replayed).to.equal(false);
      expect(evidence?.subject).to.equal(subject);
      expect(evidence?.anchor?.blockNumber).to.equal(blockNumber);
      expect(evidence?.anchor?.submitter).to.equal(chain.admin);
    });
  });

  describe("where the chain cannot be reached", () => {
    it("takes evidence, anchors it later, and says that it cannot verify", async () => {
      const relay = await startRelay(undefined);
      const daemon = await start({ BLOCKCHAIN_RPC_URL: relay.url });
      try {
        const client = evidenceClient(GRPC_DOOR, daemon);
        const file = bytesOf("three");
        const metadata = { subject: "out of reach", waitFor: ANCHORED };
        const options = { timeoutMs: 10_000 };
        const { evidence } = await upload(client, metadata, file, options);
        expect(evidence?.state).to.equal(ACCEPTED);
        const refusal = await refusalOf(verify(client, {}, file));
        expect(refusal).to.include({
          code: "Unavailable",
          reason: "ERROR_REASON_CHAIN_UNAVAILABLE",
        });
        const { bytes } = await download(client, { id: evidence?.id ?? "" });
        expect(bytes.equals(file)).to.equal(true);

        relay.target = Number(new URL(chain.url).port);
        const again = await upload(client, metadata, file);
        expect(again.replayed).to.equal(true);
        expect(again.evidence?.state).to.be.at.least(ANCHORED);

        relay.target = undefined;
        relay.cut();
        const { reason } = await refusalOf(verify(client, {}, file));
        expect(reason).to.equal("ERROR_REASON_CHAIN_UNAVAILABLE");
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
      daemon = await start({ EVIDENCE_CONTRACT_ADDRESS: "" });
      const event = { subject: "a", body: { case: "login" as const, value: { user: "ada" } } };
      await daemon.grpc.recordEvent({ ...event, waitFor: ANCHORED });
    });

    after(() => daemon.stop());

    for (const door of DOORS) {
      it(`says what to set to what needs one, through the ${door.name} door`, async () => {
        const client = evidenceClient(door, daemon);
        const id = "0".repeat(64);
        const metadata = { part: { case: "metadata" as const, value: { subject: "a" } } };
        const calls = {
          upload: () => client.uploadEvidence(messages(metadata)),
          anchor: () => client.anchorEvidence({ subject: "a", sha256: "ab".repeat(32) }),
          verify: () => verify(client, { sha256: id }),
        };
        for (const [what, call] of Object.entries(calls)) {
          const refusal = await refusalOf(call());
          expect(refusal, what).to.include({
            code: "FailedPrecondition",
            reason: "ERROR_REASON_EVIDENCE_UNCONFIGURED",
          });
          expect(refusal.message, what).to.include("EVIDENCE_CONTRACT_ADDRESS");
        }
      });

      it(`gives out what is there, through the ${door.name} door`, async () => {
        const client = evidenceClient(door, daemon);
        const id = "0".repeat(64);
        expect((await client.listEvidence({})).evidence).to.deep.equal([]);
        for (const call of [client.getEvidence({ id }), download(client, { id })]) {
          expect(await refusalOf(call)).to.include({
            reason: "ERROR_REASON_EVIDENCE_NOT_FOUND",
          });
        }
      });
    }

    it("takes no evidence before the chain is reached either", async () => {
      const relay = await startRelay(undefined);
      const unreached = await start({
        BLOCKCHAIN_RPC_URL: relay.url,
        EVIDENCE_CONTRACT_ADDRESS: "",
      });
      try {
        const client = evidenceClient(GRPC_DOOR, unreached);
        const reason = "ERROR_REASON_EVIDENCE_UNCONFIGURED";
        for (const call of [
          upload(client, { subject: "a" }, bytesOf("five")),
          verify(client, {}, bytesOf("five")),
        ]) {
          expect(await refusalOf(call)).to.include({ code: "FailedPrecondition", reason });
        }
        expect((await client.listEvidence({})).evidence).to.deep.equal([]);
        expect(await stagedBy(unreached)).to.deep.equal([]);
      } finally {
        await unreached.stop();
        await relay.close();
      }
    });
  });

  /** How many transactions the sealer has paid to the registry. */
  async function paid(): Promise<number> {
    const { number } = await chain.rpc<{ number: string }>("eth_getBlockByNumber", "latest", false);
    let count = 0;
    for (let n = 0; n <= Number(number); n++) {
      const { transactions } = await chain.rpc<{
        transactions: { from: string; to: string | null }[];
      }>("eth_getBlockByNumber", `0x${n.toString(16)}`, true);
      count += transactions.filter(
        ({ from, to }) => from === chain.sealer && to?.toLowerCase() === chain.evidence,
      ).length;
    }
    return count;
  }

  describe("where the registry has evidence from before it was followed", () => {
    it("takes that anchor over, and pays for no other", async () => {
      const subject = "long ago";
      const file = bytesOf("six");
      const blockNumber = BigInt(await anchorElsewhere(subject, file));
      const before = await paid();
      const daemon = await start();
      try {
        const client = evidenceClient(GRPC_DOOR, daemon);
        const { anchor } = await uploaded(client, { subject, waitFor: ANCHORED }, file);
        expect(anchor).to.include({ submitter: chain.admin, blockNumber });
        expect(await paid()).to.equal(before);
        const other = await uploaded(client, { subject, waitFor: ANCHORED }, bytesOf("seven"));
        expect(other.anchor?.submitter).to.equal(chain.sealer);
      } finally {
        await daemon.stop();
      }
    });
  });

  describe("where the account may not anchor", () => {
    it("says so at the evidence or in the health, pays for no revert, and anchors once it may", async () => {
      const role = await chain.registry.methods.ANCHORER_ROLE().call();
      const from = { from: chain.admin };
      const daemon = await start();
      try {
        const client = evidenceClient(GRPC_DOOR, daemon);
        await uploaded(client, { subject: "allowed", waitFor: ANCHORED }, bytesOf("four"));
        const before = await paid();
        await chain.registry.methods.revokeRole(role as never, chain.sealer).send(from);
        const { id } = await uploaded(client, { subject: "forbidden" }, bytesOf("four"));
        await until("it is said", async () => {
          const health = await (await fetch(`${daemon.url}/health`)).text();
          return health.includes("ANCHORER_ROLE");
        });
        expect(await paid()).to.equal(before);
        const { verdict } = await verify(client, { subject: "forbidden" }, bytesOf("four"));
        expect(verdict).to.equal(OTHER_SUBJECT);
        expect((await verify(client, {}, bytesOf("eight"))).verdict).to.equal(NOT_ANCHORED);
        await chain.registry.methods.grantRole(role as never, chain.sealer).send(from);
        await until("it is anchored", async () => {
          const { state } = (await client.getEvidence({ id })).evidence as Evidence;
          return state >= ANCHORED;
        });
      } finally {
        await daemon.stop();
      }
    });
  });
});
