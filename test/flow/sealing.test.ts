import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { create, toJsonString } from "@bufbuild/protobuf";
import { expect } from "chai";
import { pino } from "pino";
import {
  GetReceiptResponseSchema,
  ReceiptVerdict,
} from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { LoginSchema, RecordState, ThreatScale } from "../../gen/ts/anchord/v1/record_pb.js";
import { createSigner, feesOf } from "../../src/chain/signer.js";
import { web3Chain } from "../../src/chain/web3.js";
import { openEmbeddedContent } from "../../src/content/embedded.js";
import { openContentKeys } from "../../src/content/keys.js";
import { nextLeaf } from "../../src/core/batch.js";
import { hex0x, sha256, unhex } from "../../src/core/bytes.js";
import { logIdOf, nextHead, workOf } from "../../src/core/head.js";
import { merkleRoot } from "../../src/core/merkle.js";
import { encodeRecord } from "../../src/core/record.js";
import { Acceptor } from "../../src/flow/accept.js";
import { ChainClock } from "../../src/flow/chain-clock.js";
import { ChainLink } from "../../src/flow/chain-link.js";
import { ProgressWatch } from "../../src/flow/progress.js";
import type { SealingMode } from "../../src/flow/sealer.js";
import { verifyLog } from "../../src/flow/verify/log.js";
import type { Problem } from "../../src/flow/verify/problem.js";
import { findBatch, lastBatch, progress, replaceHead } from "../../src/store/batches.js";
import type { StoredBatch } from "../../src/store/batches.js";
import { storedIdentity } from "../../src/store/chain-position.js";
import { openDatabase } from "../../src/store/database.js";
import type { Database } from "../../src/store/database.js";
import { migrate } from "../../src/store/migrations.js";
import { waitingOperation } from "../../src/store/operations.js";
import { linkedRecords, logLength } from "../../src/store/records.js";
import { requestSeal } from "../../src/store/seal-request.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { expectWhole, healthOf, problemsOf, sealsOf } from "../support/log-checks.js";
import { repositoryRoot } from "../support/repository.js";
import { run } from "../support/run.js";
import { withDatabase } from "../support/tables.js";
import { until } from "../support/until.js";

/** Of a head, more work than anything will ever find. */
const NEVER = 16;

describe("Sealing", function () {
  this.timeout(60_000);

  let chain: ExternalChain;

  before(async () => {
    chain = await startExternalChain();
  });
  after(() => chain?.stop());

  /** Changes what the contract asks for, before whatever else waits for a block. */
  async function askForWork(difficulty: number): Promise<void> {
    const data = chain.auditLog.methods.setMinimumDifficulty(difficulty).encodeABI();
    const fee = `0x${(10n ** 12n).toString(16)}`;
    const fees = { maxFeePerGas: fee, maxPriorityFeePerGas: fee };
    const call = { from: chain.admin, to: chain.contract, data, gas: "0x186a0", ...fees };
    await chain.rpc("eth_sendTransaction", call);
  }

  describe("as the daemon does it, in this process", () => {
    let database: Database;
    let log: Uint8Array;
    let acceptor: Acceptor;
    let link: ChainLink;

    beforeEach(async () => {
      database = openDatabase({ sqlitePath: join(temporaryFolder(), "log.db") });
      await migrate(database);
      log = logIdOf(randomUUID());
      acceptor = new Acceptor(database, () => link.wake());
    });

    afterEach(async () => {
      await link.stop();
      await database.close();
    });

    async function start(sealing: Partial<SealingMode> = {}, tipMultiplier = 1): Promise<void> {
      const folder = temporaryFolder();
      const content = openEmbeddedContent({ folder: join(folder, "ipfs"), listen: [], peers: [] });
      const { contract, url, environment } = chain;
      const access = {
        ...{ contract, evidence: undefined, sla: undefined, chain: web3Chain(url) },
        signer: createSigner(environment["PRIVATE_KEY"]!),
        isAlive: () => Promise.resolve(true),
      };
      link = new ChainLink({
        ...{ database, log, clock: new ChainClock(), logger: pino({ level: "silent" }) },
        watch: new ProgressWatch(database, () => link.hurry()),
        archive: { content, keys: openContentKeys(join(folder, "keys"), undefined) },
        open: () => Promise.resolve(access),
        finality: { confirmations: 0, asksFinalized: false },
        ...{ pollMs: 20, maxRecords: 1_000, auditPercent: 1, eventRetentionDays: 0, tipMultiplier },
        sealing: { isAutomatic: true, intervalMs: 0, difficulty: 0, ...sealing },
      });
      await link.connect();
      link.start();
    }

    async function record(): Promise<void> {
      const draft = { caller: "local", subject: "user/42", actor: "", occurTime: undefined };
      const body = { case: "login" as const, value: create(LoginSchema, { user: "ada" }) };
      const scale = ThreatScale.HUNDRED;
      await acceptor.accept([encodeRecord({ ...draft, request: undefined, body }, { scale })]);
    }

    const stored = async (number: number) => (await findBatch(database, number)) as StoredBatch;

    const final = (records: number) =>
      until(
        `${records} records are final`,
        async () => (await progress(database)).final === records,
      );

    /** Makes a batch and hands its transaction to the node, which puts it into no block. */
    async function sealWithoutBlock(number: number): Promise<StoredBatch> {
      await chain.rpc("miner_stop");
      await record();
      const isSent = async () =>
        (await waitingOperation(database, { kind: "SEAL", number })) !== undefined;
      await until(`batch ${number} is on its way`, isSent);
      return stored(number);
    }

    async function problems(): Promise<Problem[]> {
      const identity = (await storedIdentity(database))!;
      const found: Problem[] = [];
      const range = { first: 1, last: 0 };
      for await (const step of verifyLog(database, web3Chain(chain.url), identity, range)) {
        found.push(...step.problems);
      }
      return found;
    }

    it("makes one batch an interval, also after a restart, unless it is asked for one", async () => {
      const intervalMs = 1_000;
      await start({ intervalMs });
      await record();
      await final(1);
      await record();
      link.hurry(); // as somebody who waits does
      await final(2);
      await link.stop();
      await record();
      await start({ intervalMs });
      await final(3);
      const times = (await Promise.all([1, 2, 3].map(stored))).map(({ createTime }) => createTime);
      expect(times[1]! - times[0]!).to.be.at.least(intervalMs);
      expect(times[2]! - times[1]!).to.be.at.least(intervalMs);
      await link.stop();
      await start({ intervalMs: 3_600_000 });
      await record();
      await requestSeal(database, await logLength(database)); // as another replica does
      await final(4);
    });

    it("offers so many times the tip that the node suggests", async () => {
      await start({}, 2.5);
      await sealWithoutBlock(1);
      const { transaction } = (await waitingOperation(database, { kind: "SEAL", number: 1 }))!;
      await chain.rpc("miner_start");
      const tip = BigInt(await chain.rpc<string>("eth_maxPriorityFeePerGas"));
      expect(feesOf(transaction).maxPriorityFeePerGas).to.equal((tip * 5n) / 2n);
      await final(1);
    });

    it("follows what the contract asks for up and down", async () => {
      await start();
      await record();
      await final(1);
      await askForWork(2);
      await record();
      await final(2);
      expect(workOf((await stored(2)).head)).to.be.at.least(2);
      await askForWork(0);
      await record();
      await final(3);
      expect((await stored(3)).seal.nonce).to.equal(0n);
      await askForWork(1);
      expect(await problems()).to.deep.equal([]);
      await askForWork(0);
    });

    it("names a head on chain that has less work than the contract asked for", async () => {
      await start();
      await record();
      await final(1);
      const work = workOf((await stored(1)).head);
      const lying = web3Chain(chain.url);
      lying.minimumDifficulty = () => Promise.resolve(work + 1);
      const identity = (await storedIdentity(database))!;
      const found: Problem[] = [];
      for await (const step of verifyLog(database, lying, identity, { first: 1, last: 1 })) {
        found.push(...step.problems);
      }
      expect(found.map(({ column }) => column)).to.deep.equal(["batches.head"]);
      expect(found[0]?.message).to.include(`the contract asked for ${work + 1}`);
    });

    it("takes the nonce of a transaction that was given up, but mined all the same", async () => {
      await start();
      const sent = await sealWithoutBlock(1);
      await link.stop();
      const nonce = 77n;
      const head = nextHead(sent.previousHead, { ...sent.seal, nonce });
      const other = { previousHead: sent.previousHead, nonce, head };
      expect(await database.transact((trx) => replaceHead(trx, sent, other))).to.equal(true);
      await chain.rpc("miner_start");
      await start();
      await final(1);
      expect((await stored(1)).seal).to.deep.equal(sent.seal);
      await record();
      await final(2);
      expect(await problems()).to.deep.equal([]);
    });

    it("ends a search that nobody asks for any more", async () => {
      await askForWork(16);
      await start();
      const search = once(process, "worker");
      await record();
      await search;
      await askForWork(0);
      await final(1);
    });

    it("does not wait for a clock to catch up that was set back", async () => {
      await start({ intervalMs: 2_000 });
      await record();
      await final(1);
      await link.stop();
      const createTime = Date.now() + 3_600_000;
      await database.transact((trx) =>
        trx.updateTable("batches").set({ create_time: createTime }).execute(),
      );
      await start({ intervalMs: 2_000 });
      await record();
      await final(2);
    });

    it("searches beside everything else, and stops with it", async () => {
      await start({ difficulty: NEVER });
      const search = once(process, "worker");
      await record();
      await search; // has a thread of its own
      await record();
      expect(await logLength(database)).to.equal(2);
      await link.stop();
      expect(await lastBatch(database)).to.equal(undefined);
    });
  });

  describe("on demand, by two replicas that are killed", () => {
    let daemon: Daemon;
    let settings: Record<string, string>;

    before(() => {
      settings = {
        ...chain.environment,
        DB_PATH: join(temporaryFolder(), "anchord.db"),
        ...{ CONFIRMATIONS: "0", FINALITY: "confirmations" },
        ...{ AUTO_MINE: "false", DIFFICULTY: "3", MAX_BATCH_RECORDS: "2" },
      };
    });
    after(async () => {
      await askForWork(0);
      await daemon?.stop();
    });

    const launch = (more: Record<string, string> = {}) =>
      startDaemon({ ...settings, DATA_DIR: temporaryFolder(), ...more });

    const login = (user: string, waitFor = RecordState.ACCEPTED, timeoutMs = 20_000) =>
      daemon.grpc.recordEvent(
        { subject: "user/42", waitFor, body: { case: "login", value: { user } } },
        { timeoutMs },
      );

    const asked = (timeoutMs = 30_000) => daemon.grpc.sealNow({}, { timeoutMs });

    it("seals what SealNow was called for, whichever replica was asked and whichever dies", async () => {
      const leader = await launch({ ANCHORD_FAULT: "seal.before-commit:2" });
      daemon = await launch();
      for (const user of ["a", "b", "c", "d"]) await login(user);
      const { state } = await login("e", RecordState.ANCHORED, 1_500);
      expect(state).to.equal(RecordState.ACCEPTED);
      const { code, status, sealing } = await healthOf(daemon);
      expect({ code, status, ...sealing }).to.include({ code: 200, status: "healthy", pending: 5 });
      expect(await asked()).to.include({ pending: 0n, lastBatch: 3n });
      expect(await leader.ended).to.equal(null);
      for (const { head } of await sealsOf(daemon)) expect(workOf(head)).to.be.at.least(3);
      await login("f");
      await expectWaiting(1);
      await daemon.stop();
    });

    it("finds the nonce of a batch again that waited while more work was asked for", async () => {
      daemon = await launch({ ANCHORD_FAULT: "work.after-commit" });
      await chain.rpc("miner_stop");
      const answer = asked().catch(() => undefined);
      // Ganache may lose what comes while it mines something else.
      const isWithNode = async () => {
        const [sent] = await sql("select transaction_hash from operations where state = 'SENT'");
        if (sent === undefined) return false;
        const hash = hex0x(unhex(sent["transaction_hash"] as string));
        return (await chain.rpc("eth_getTransactionByHash", hash)) !== null;
      };
      await until("batch 4 is with the node", isWithNode);
      const [before] = await sql("select * from batches where number = 4");
      await askForWork(4);
      await chain.rpc("miner_start");
      await daemon.ended;
      await answer;
      daemon = await launch({ AUDIT_PERCENT: "100" });
      await until(
        "it is on the chain",
        async () => (await daemon.grpc.getStats({})).pending === 0n,
      );
      const [after] = await sql("select * from batches where number = 4");
      expect(workOf(unhex(after!["head"] as string))).to.be.at.least(4);
      const same = ["first_seq", "size", "previous_head", "root", "manifest_digest", "create_time"];
      for (const column of same) expect(after![column], column).to.equal(before![column]);
      expect((await healthOf(daemon)).sealing).to.include({ healthy: true, failedOperations: 1 });
      expect(await expectWhole(daemon)).to.have.lengthOf(6);
    });

    it("proves what was sealed for less before, and not for more than whoever checks expects", async () => {
      const { records } = await daemon.grpc.listRecords({ pageSize: 10 });
      const oldest = await daemon.grpc.getReceipt({ recordId: records.at(-1)!.id });
      const { verdict } = await daemon.grpc.verifyReceipt({ receipt: oldest.receipt! });
      expect(verdict).to.equal(ReceiptVerdict.VALID);
      const json = toJsonString(GetReceiptResponseSchema, oldest);
      const args = ["verify", "-", "--rpc", chain.url, "--difficulty"];
      const verify = (digits: string) =>
        run(process.execPath, [join(repositoryRoot, "bin/anchord.js"), ...args, digits], json);
      const [first] = await sealsOf(daemon);
      const work = workOf(first!.head);
      expect((await verify(String(work))).code).to.equal(0);
      const more = await verify(String(work + 1));
      expect(more.code).to.equal(1);
      expect(more.stdout).to.include(
        `FALSE at step work: the batch's head starts with ${work} zero`,
      );
    });

    it("is not taken in by a last batch that was edited and hashed again", async () => {
      const { records } = await daemon.grpc.listRecords({ pageSize: 1 });
      await editLastBatch();
      const [edited] = (await daemon.grpc.listRecords({ pageSize: 1 })).records;
      expect(edited!.id).to.not.equal(records[0]!.id);
      const found = await problemsOf(daemon);
      expect(found.map(({ batchNumber, column }) => `${batchNumber} ${column}`)).to.include.members(
        ["4 batches.root", "4 batches.head"],
      );
      const { receipt } = await daemon.grpc.getReceipt({ recordId: edited!.id });
      const { failedStep } = await daemon.grpc.verifyReceipt({ receipt: receipt! });
      expect(failedStep).to.equal("batch");
      const isTold = async () => (await healthOf(daemon)).status === "degraded";
      await until("the auditor has found it", isTold);
    });

    const sql = (statement: string) =>
      withDatabase({ DATA_DIR: dirname(settings["DB_PATH"]!) }, (query) => query(statement));

    /** Batches are made on demand alone: whatever is waited for, so many records are in none. */
    async function expectWaiting(records: number): Promise<void> {
      const { pending } = await daemon.grpc.getStats({});
      expect(pending).to.equal(BigInt(records));
      expect(await sql("select number from batches")).to.have.lengthOf(3);
    }

    /** Changes the last record, and all that is hashed of it, up to the head. */
    async function editLastBatch(): Promise<void> {
      const database = openDatabase({ sqlitePath: settings["DB_PATH"]! });
      const { seal, previousHead, firstSeq } = (await lastBatch(database))!;
      const [{ id, previous } = { id: new Uint8Array(), previous: undefined }] =
        await linkedRecords(database, firstSeq, 1);
      await database.transact(async (trx) => {
        const { entry: before } = await trx
          .selectFrom("records")
          .select("entry")
          .where("id", "=", id)
          .executeTakeFirstOrThrow();
        const entry = Buffer.from(before);
        entry.write("F", entry.lastIndexOf("f"));
        const { leaf } = nextLeaf(sha256(entry), previous);
        const root = merkleRoot([leaf]);
        const head = nextHead(previousHead, { ...seal, root });
        await trx
          .updateTable("records")
          .set({ id: sha256(entry), entry })
          .where("id", "=", id)
          .execute();
        await trx.updateTable("leaves").set({ leaf }).where("seq", "=", firstSeq).execute();
        const number = Number(seal.number);
        await trx.updateTable("batches").set({ root, head }).where("number", "=", number).execute();
      });
      await database.close();
    }
  });
});
