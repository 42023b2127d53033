import { expect } from "chai";
import type { TransactionCall, Web3 } from "web3";
import { auditLogAbi } from "../../gen/contracts/audit-log.js";
import { hex0x, sha256, unhex, ZERO32 } from "../../src/core/bytes.js";
import {
  findNonce,
  genesisHead,
  logIdOf,
  nextHead,
  workOf,
  type BatchSeal,
} from "../../src/core/head.js";
import { connect, deployAuditLog, revertOf, sealOn, type AuditLog } from "../support/audit-log.js";
import { bytecodeOf } from "../support/compiled.js";
import { GANACHE_CHAIN_ID, startGanache, type TestChain } from "../support/ganache.js";

const GAS = "500000";
const GAS_BOUND = 150_000n;
const ADMIN_ROLE = hex0x(ZERO32);

describe("AuditLog", function () {
  this.timeout(60_000);

  let chain: TestChain;
  let web3: Web3;
  let admin: string;
  let sealer: string;
  let stranger: string;
  let auditLog: AuditLog;

  before(async () => {
    chain = await startGanache();
    web3 = connect(chain.url);
    [admin, sealer, stranger] = chain.accounts as [string, string, string];
  });

  beforeEach(async () => {
    auditLog = await deployAuditLog(web3, admin, sealer);
  });

  after(() => chain.stop());

  const log = logIdOf("main");

  function genesisOf(logId: Uint8Array): Buffer {
    const contract = auditLog.options.address?.toLowerCase() ?? "";
    return genesisHead({ chainId: GANACHE_CHAIN_ID, contract, log: logId });
  }

  function batch(number: bigint, changes: Partial<BatchSeal> = {}): BatchSeal {
    const root = sha256(Buffer.from(`root ${number}`));
    const zero = { manifestDigest: ZERO32, trailsRoot: ZERO32, nonce: 0n };
    return { number, root, size: 3n, ...zero, ...changes };
  }

  function sealing(logId: Uint8Array, head: Uint8Array, seal: BatchSeal) {
    return auditLog.methods.sealBatch(hex0x(logId), sealOn(head, seal));
  }

  /** Seals and gives back the head that must have come of it. */
  async function seal(logId: Uint8Array, head: Uint8Array, next: BatchSeal): Promise<Buffer> {
    await sealing(logId, head, next).send({ from: sealer, gas: GAS });
    return nextHead(head, next);
  }

  async function refusal(logId: Uint8Array, head: Uint8Array, next: BatchSeal, from = sealer) {
    return revertOf(sealing(logId, head, next).call({ from }));
  }

  async function headOf(logId: Uint8Array) {
    const { number, head } = await auditLog.methods.headOf(hex0x(logId)).call();
    return { number, head };
  }

  async function batchOf(logId: Uint8Array, number: bigint) {
    const answer = await auditLog.methods.batchOf(hex0x(logId), number).call();
    const { root, head, size, time } = answer;
    return { root, head, size, time };
  }

  describe("an empty log", () => {
    it("has the genesis head of core", async () => {
      const genesis = hex0x(genesisOf(log));
      expect(await auditLog.methods.genesisHead(hex0x(log)).call()).to.equal(genesis);
      expect(await headOf(log)).to.deep.equal({ number: 0n, head: genesis });
    });

    it("has batch 0 with the genesis head, and no other", async () => {
      const none = { root: hex0x(ZERO32), head: hex0x(ZERO32), size: 0n, time: 0n };
      expect(await batchOf(log, 0n)).to.deep.equal({ ...none, head: hex0x(genesisOf(log)) });
      expect(await batchOf(log, 1n)).to.deep.equal(none);
    });
  });

  describe("sealing", () => {
    it("moves the log to the head of core, batch after batch", async () => {
      let head = genesisOf(log);
      for (let number = 1n; number <= 4n; number += 1n) {
        const next = batch(number, {
          size: number * 2n ** 40n,
          manifestDigest: sha256(Buffer.from(`manifest ${number}`)),
          trailsRoot: sha256(Buffer.from(`trails ${number}`)),
          nonce: 2n ** 64n - number,
        });
        head = await seal(log, head, next);
        expect(await headOf(log)).to.deep.equal({ number, head: hex0x(head) });
      }
    });

    it("keeps root, head, size and block time of every number", async () => {
      const first = await seal(log, genesisOf(log), batch(1n));
      const { timestamp } = await web3.eth.getBlock("latest");
      await seal(log, first, batch(2n, { size: 7n }));
      expect(await batchOf(log, 1n)).to.deep.equal({
        root: hex0x(batch(1n).root),
        head: hex0x(first),
        size: 3n,
        time: timestamp,
      });
      expect((await batchOf(log, 2n)).size).to.equal(7n);
    });

    it("emits everything that the head commits to", async () => {
      const next = batch(1n, {
        manifestDigest: sha256(log),
        trailsRoot: sha256(ZERO32),
        nonce: 9n,
      });
      const head = await seal(log, genesisOf(log), next);
      const events = await auditLog.getPastEvents("BatchSealed", { fromBlock: 0 });
      expect(events).to.have.length(1);
      const values = (events[0] as { returnValues: Record<string, unknown> }).returnValues;
      expect(values).to.deep.include({
        log: hex0x(log),
        number: 1n,
        root: hex0x(next.root),
        head: hex0x(head),
        size: 3n,
        manifestDigest: hex0x(next.manifestDigest),
        trailsRoot: hex0x(next.trailsRoot),
        nonce: 9n,
      });
    });

    it("keeps logs apart", async () => {
      const other = logIdOf("other");
      const head = await seal(log, genesisOf(log), batch(1n));
      expect(await headOf(other)).to.deep.equal({ number: 0n, head: hex0x(genesisOf(other)) });
      expect((await refusal(other, head, batch(1n))).name).to.equal("UnexpectedHead");
      await seal(other, genesisOf(other), batch(1n));
      expect(await headOf(log)).to.deep.equal({ number: 1n, head: hex0x(head) });
    });

    it(`costs less than ${GAS_BOUND} gas`, async () => {
      const costs: bigint[] = [];
      let head = genesisOf(log);
      for (let number = 1n; number <= 3n; number += 1n) {
        const next = batch(number, { manifestDigest: sha256(log), trailsRoot: sha256(ZERO32) });
        const receipt = await sealing(log, head, next).send({ from: sealer, gas: GAS });
        costs.push(receipt.gasUsed);
        head = nextHead(head, next);
      }
      console.log(`      gas per seal: ${costs[0]} for the first of a log, then ${costs[2]}`);
      for (const cost of costs) expect(cost < GAS_BOUND).to.equal(true);
    });
  });

  describe("refuses", () => {
    it("whoever has not the role, the admin included", async () => {
      const role = await auditLog.methods.SEALER_ROLE().call();
      for (const from of [stranger, admin]) {
        expect(await refusal(log, genesisOf(log), batch(1n), from)).to.deep.equal({
          name: "AccessControlUnauthorizedAccount",
          values: [web3.utils.toChecksumAddress(from), String(role)],
        });
      }
    });

    it("a number that is not the next", async () => {
      const head = await seal(log, genesisOf(log), batch(1n));
      for (const number of [0n, 1n, 3n]) {
        expect(await refusal(log, head, batch(number))).to.deep.equal({
          name: "UnexpectedNumber",
          values: ["2", String(number)],
        });
      }
    });

    it("the same batch once more", async () => {
      await seal(log, genesisOf(log), batch(1n));
      const again = await refusal(log, genesisOf(log), batch(1n));
      expect(again).to.deep.equal({ name: "UnexpectedNumber", values: ["2", "1"] });
    });

    it("a head that is not the log's", async () => {
      const head = await seal(log, genesisOf(log), batch(1n));
      expect(await refusal(log, genesisOf(log), batch(2n))).to.deep.equal({
        name: "UnexpectedHead",
        values: [hex0x(head), hex0x(genesisOf(log))],
      });
    });

    it("a batch without records", async () => {
      const empty = await refusal(log, genesisOf(log), batch(1n, { size: 0n }));
      expect(empty).to.deep.equal({ name: "EmptyBatch", values: [] });
    });
  });

  describe("difficulty", () => {
    async function setDifficulty(difficulty: number): Promise<void> {
      await auditLog.methods.setMinimumDifficulty(difficulty).send({ from: admin, gas: GAS });
    }

    for (const difficulty of [1, 2]) {
      it(`${difficulty} takes heads with that many zero digits and no others`, async () => {
        await setDifficulty(difficulty);
        const head = genesisOf(log);
        const nonce = findNonce(head, batch(1n), difficulty, { from: 0, to: 1_000_000 }) ?? 0n;
        const idle = lazyNonce(head, batch(1n), difficulty);
        expect(await refusal(log, head, batch(1n, { nonce: idle }))).to.deep.equal({
          name: "InsufficientWork",
          values: [String(difficulty), String(workOf(nextHead(head, batch(1n, { nonce: idle }))))],
        });
        const next = await seal(log, head, batch(1n, { nonce }));
        expect(await headOf(log)).to.deep.equal({ number: 1n, head: hex0x(next) });
      });
    }

    /** A nonce that falls short by exactly one digit. */
    function lazyNonce(head: Uint8Array, next: BatchSeal, difficulty: number): bigint {
      let nonce = 0n;
      while (workOf(nextHead(head, { ...next, nonce })) !== difficulty - 1) nonce += 1n;
      return nonce;
    }

    it("is set by the admin only, and announced", async () => {
      const setting = auditLog.methods.setMinimumDifficulty(1);
      const refused = await revertOf(setting.call({ from: sealer }));
      expect(refused.name).to.equal("AccessControlUnauthorizedAccount");
      await setDifficulty(3);
      await setDifficulty(1);
      expect(await auditLog.methods.minimumDifficulty().call()).to.equal(1n);
      const events = await auditLog.getPastEvents("DifficultyChanged", { fromBlock: 0 });
      const last = events.at(-1) as { returnValues: Record<string, unknown> };
      expect(last.returnValues).to.deep.include({ previous: 3n, current: 1n });
    });

    it("has a bound", async () => {
      await setDifficulty(16);
      const beyond = auditLog.methods.setMinimumDifficulty(17).call({ from: admin });
      expect(await revertOf(beyond)).to.deep.equal({
        name: "DifficultyTooHigh",
        values: ["16", "17"],
      });
    });
  });

  describe("roles", () => {
    it("rotate: the admin grants a new sealer and revokes the old", async () => {
      const role = await auditLog.methods.SEALER_ROLE().call();
      const head = await seal(log, genesisOf(log), batch(1n));
      await auditLog.methods.grantRole(role, stranger).send({ from: admin, gas: GAS });
      await auditLog.methods.revokeRole(role, sealer).send({ from: admin, gas: GAS });
      const refused = await refusal(log, head, batch(2n));
      expect(refused.name).to.equal("AccessControlUnauthorizedAccount");
      await sealing(log, head, batch(2n)).send({ from: stranger, gas: GAS });
      expect((await headOf(log)).number).to.equal(2n);
    });

    it("hand the admin's own role over", async () => {
      const from = { from: admin, gas: GAS };
      await auditLog.methods.grantRole(ADMIN_ROLE, stranger).send(from);
      await auditLog.methods.renounceRole(ADMIN_ROLE, admin).send(from);
      await auditLog.methods.setMinimumDifficulty(1).send({ from: stranger, gas: GAS });
      const refused = await revertOf(auditLog.methods.setMinimumDifficulty(0).call(from));
      expect(refused.name).to.equal("AccessControlUnauthorizedAccount");
    });

    it("are never given to the zero address", async () => {
      const nobody = hex0x(new Uint8Array(20));
      const sealerRole = String(await auditLog.methods.SEALER_ROLE().call());
      expect(await deploymentRefusal(nobody, sealer)).to.equal(zeroAddress(ADMIN_ROLE));
      expect(await deploymentRefusal(admin, nobody)).to.equal(zeroAddress(sealerRole));
    });
  });

  /** The revert data of a constructor. */
  async function deploymentRefusal(newAdmin: string, newSealer: string): Promise<unknown> {
    const deployment = new web3.eth.Contract(auditLogAbi).deploy({
      data: bytecodeOf("AuditLog"),
      arguments: [newAdmin, newSealer],
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
    expect(await auditLog.methods.contractName().call()).to.equal("anchord.AuditLog");
    expect(await auditLog.methods.version().call()).to.equal(1n);
    const role = await auditLog.methods.SEALER_ROLE().call();
    expect(role).to.equal(web3.utils.keccak256("SEALER_ROLE"));
    expect(unhex(String(role))).to.have.length(32);
  });
});
