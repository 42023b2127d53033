import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { expect } from "chai";
import { pino } from "pino";
import type { Call, Chain, Contracts } from "../../src/chain/port.js";
import { createSigner } from "../../src/chain/signer.js";
import type { Signer } from "../../src/chain/signer.js";
import { web3Chain } from "../../src/chain/web3.js";
import { hex0x, unhex, ZERO32 } from "../../src/core/bytes.js";
import { genesisHead, nextHead } from "../../src/core/head.js";
import type { OperationKind } from "../../src/core/operation.js";
import { Submitter } from "../../src/flow/submit.js";
import type { Errand } from "../../src/flow/submit.js";
import { storeIdentity } from "../../src/store/chain-position.js";
import { openDatabase } from "../../src/store/database.js";
import type { Database } from "../../src/store/database.js";
import { feedRows } from "../../src/store/feed.js";
import { migrate } from "../../src/store/migrations.js";
import {
  freeNonce,
  insertOperation,
  mineOperation,
  waitingOperation,
} from "../../src/store/operations.js";
import { temporaryFolder } from "../support/daemon.js";
import { anvilBinary, startAnvilChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";

const ETHER = 10n ** 18n;
const GWEI = 10n ** 9n;

/** More rounds than anything here needs. */
const MOST_ROUNDS = 12;

const ORDERS: readonly (readonly [OperationKind, OperationKind])[] = [
  ["SEAL", "EVIDENCE"],
  ["EVIDENCE", "SEAL"],
];

/** An errand that seals a batch of a log of its own, whatever its kind. */
type LogErrand = Errand & { readonly of: Contracts; followed: boolean };

describe("Calls of two kinds from one account", function () {
  this.timeout(60_000);

  let node: ExternalChain;
  let chain: Chain;
  let signer: Signer;
  let identity: Parameters<typeof storeIdentity>[1];
  let database: Database;
  let submitter: Submitter;

  before(async function () {
    if (anvilBinary() === undefined) {
      console.warn("      SKIPPED: anvil is not installed");
      expect(process.env["CI"], "CI must have anvil").to.not.equal("true");
      return this.skip();
    }
    node = await startAnvilChain();
    await node.rpc("evm_setAutomine", false);
    chain = web3Chain(node.url);
    signer = createSigner(node.environment["PRIVATE_KEY"]!);
    const { contract } = node;
    const genesisHash = await chain.genesisHash();
    const chainId = await chain.chainId();
    identity = {
      ...{ chainId, contract, evidence: undefined, sla: undefined, log: randomBytes(32) },
      ...{ genesisHash, deployBlock: 1 },
    };
  });

  after(() => node?.stop());

  beforeEach(async () => {
    database = openDatabase({ sqlitePath: join(temporaryFolder(), "log.db") });
    await migrate(database);
    await storeIdentity(database, identity);
    const log = pino({ level: "silent" });
    submitter = new Submitter({
      ...{ database, chain, signer, identity, log, tipMultiplier: 1 },
      onBroadcast: () => undefined,
    });
  });

  afterEach(async () => {
    await node?.rpc("anvil_dropAllTransactions");
    await database?.close();
  });

  /** Batches of one log, each to be sealed by an errand. */
  function errands(kind: OperationKind, count = 1, gas?: number): LogErrand[] {
    const of: Contracts = { ...identity, log: randomBytes(32) };
    let previousHead: Uint8Array = genesisHead(of);
    return Array.from({ length: count }, (_, i) => {
      const zero = { manifestDigest: ZERO32, trailsRoot: ZERO32, nonce: 0n };
      const seal = { number: BigInt(i + 1), root: randomBytes(32), size: 1n, ...zero };
      const call = chain.sealCall(of, previousHead, seal);
      previousHead = nextHead(previousHead, seal);
      const errand: LogErrand = {
        ...{ kind, number: i + 1, of, followed: false },
        call: { ...call, gas: gas ?? call.gas },
        isDone: async () => (await chain.lastSealed(of)).number >= seal.number,
        isFollowed: () => Promise.resolve(errand.followed),
        requireRole: () => Promise.resolve(),
      };
      return errand;
    });
  }

  const errand = (kind: OperationKind, gas?: number) => errands(kind, 1, gas)[0]!;

  /** Notes what the chain has done. */
  async function follow(all: readonly LogErrand[]): Promise<void> {
    const { number: latest } = await chain.latestBlock();
    for (const each of all) {
      const seals = await chain.events(each.of, 1, latest);
      const seal = seals.find(
        (event) => event.type === "sealed" && Number(event.seal.number) === each.number,
      );
      if (seal === undefined || each.followed) continue;
      const hash = unhex(seal.transactionHash);
      await database.transact((trx) => mineOperation(trx, each, hash));
      each.followed = true;
    }
  }

  /** Gives each kind its turns, one errand after the other, until everything is done. */
  async function finish(all: readonly LogErrand[]): Promise<void> {
    for (let round = 0; round < MOST_ROUNDS; round++) {
      await node.mine(1);
      await follow(all);
      const waiting = (["SEAL", "EVIDENCE"] as const).flatMap((kind) =>
        all.filter((each) => each.kind === kind && !each.followed).slice(0, 1),
      );
      if (waiting.length === 0) return;
      submitter.reset(); // does not wait before it looks again
      await Promise.all(waiting.map((each) => submitter.submit(each).catch(() => undefined)));
    }
    throw new Error(`not done in ${MOST_ROUNDS} rounds`);
  }

  const rows = () =>
    database.read((db) =>
      db.selectFrom("operations").select(["kind", "number", "nonce", "state"]).execute(),
    );
  const nonceOf = async (of: Errand) => (await waitingOperation(database, of))?.nonce;
  const hashOf = async (of: Errand) =>
    hex0x((await waitingOperation(database, of))!.transactionHash);
  const failures = async () =>
    (await feedRows(database, 1, 100)).map((row) =>
      "detail" in row ? `${row.kind} ${row.batchNumber} ${row.detail}` : row.kind,
    );

  async function submitEach(all: readonly Errand[]): Promise<void> {
    for (const each of all) expect(await submitter.submit(each)).to.equal("idle");
  }

  /** Signs and stores a call, and ends before it is broadcast. */
  async function signOnly(each: Errand): Promise<void> {
    const used = await chain.nonce(signer.address);
    const nonce = await freeNonce(database, unhex(signer.address), used);
    const signed = await signer.sign(each.call, identity.chainId, nonce, await chain.fees());
    await database.transact((trx) => insertOperation(trx, each, signed, 0));
  }

  /** Another transaction of the account, offered for more than any of ours. */
  async function spend(nonce: number): Promise<void> {
    const call: Call = { to: node.admin, data: "0x", gas: 21_000 };
    const fees = { maxFeePerGas: 100n * GWEI, maxPriorityFeePerGas: 50n * GWEI };
    const signed = await signer.sign(call, identity.chainId, nonce, fees);
    await chain.broadcast(signed.transaction);
  }

  it("have one nonce each, however many are signed at once", async () => {
    const all = [errands("SEAL", 3), errands("EVIDENCE", 3)].flat();
    const next = await chain.nonce(signer.address);
    for (let i = 0; i < 3; i++) {
      const [seal, evidence] = [all[i]!, all[i + 3]!];
      await Promise.all([submitter.submit(seal), submitter.submit(evidence)]);
      const nonces = [await nonceOf(seal), await nonceOf(evidence)].sort();
      expect(nonces).to.deep.equal([next + 2 * i, next + 2 * i + 1]);
      await node.mine(1);
      await follow(all);
    }
    expect((await rows()).map(({ state }) => state)).to.deep.equal(Array(6).fill("MINED"));
  });

  for (const [one, other] of ORDERS) {
    describe(`${one} before ${other}`, () => {
      let first: LogErrand;
      let second: LogErrand;
      let next: number;

      beforeEach(async () => {
        [first, second] = [errand(one), errand(other)];
        next = await chain.nonce(signer.address);
      });

      it("are both done where the node loses the first", async () => {
        await submitEach([first, second]);
        await node.rpc("anvil_dropTransaction", await hashOf(first));
        await finish([first, second]);
        expect(await failures()).to.deep.equal([]);
      });

      it("the second is done where nobody cares for the first any more", async () => {
        await submitEach([first, second]);
        await node.rpc("anvil_dropTransaction", await hashOf(first));
        await finish([second]);
        expect(await first.isDone()).to.equal(true);
        expect(await failures()).to.deep.equal([]);
      });

      it("are both done where another transaction takes the nonce of the first", async () => {
        await submitEach([first, second]);
        await spend(next);
        await finish([first, second]);
        const [failure, ...more] = await failures();
        expect(more).to.deep.equal([]);
        expect(failure).to.match(new RegExp(`^OPERATION_FAILED ${one === "SEAL" ? 1 : 0} `));
        expect(failure).to.contain(`"kind":"${one}","number":1`).and.contain("was used by another");
      });

      for (const sooner of ["first", "second", "neither"] as const) {
        it(`are both done where a nonce before them is freed, ${sooner} looking sooner`, async () => {
          const snapshot = await node.rpc("evm_snapshot");
          await spend(next);
          await node.mine(1);
          await submitEach([first, second]);
          expect(await nonceOf(second)).to.equal(next + 2);
          await node.rpc("evm_revert", snapshot);
          await node.rpc("anvil_dropAllTransactions");
          submitter.reset();
          if (sooner !== "neither") {
            const soon = sooner === "first" ? first : second;
            expect(await submitter.submit(soon)).to.equal("again");
            await submitter.submit(soon);
            expect(await nonceOf(soon)).to.equal(next);
          }
          await finish([first, second]);
          expect(await chain.nonce(signer.address)).to.equal(next + 2);
          expect((await failures()).length).to.be.within(1, 2);
        });
      }

      it("the second is done while the node refuses the first, which is done when it does not", async () => {
        const dear = errand(one, 20_000_000);
        const balance = await node.rpc<string>("eth_getBalance", signer.address, "latest");
        await node.rpc("anvil_setBalance", signer.address, hex(ETHER / 200n));
        try {
          const refused = await submitter.submit(dear).catch((error: Error) => error.message);
          expect(refused).to.match(/^the node refuses a transaction of 0x/);
          await submitEach([second]);
          expect(await nonceOf(second)).to.equal(next);
          await finish([second]);
        } finally {
          await node.rpc("anvil_setBalance", signer.address, balance);
        }
        await finish([dear]);
      });

      it("the second is done where the node refuses the first only after both were signed", async () => {
        const dear = errand(one, 20_000_000);
        const balance = await node.rpc<string>("eth_getBalance", signer.address, "latest");
        await node.rpc("anvil_setBalance", signer.address, hex(ETHER / 200n));
        try {
          // It ended before it was broadcast.
          await signOnly(dear);
          await submitEach([second]);
          expect(await nonceOf(second)).to.equal(next + 1);
          await finish([second]);
          expect(await dear.isDone()).to.equal(false);
        } finally {
          await node.rpc("anvil_setBalance", signer.address, balance);
        }
        await finish([dear]);
      });

      it("the second is done where the contract refuses the first", async () => {
        const tooSoon = errands(one, 2)[1]!;
        const refused = await submitter.submit(tooSoon).catch((error: Error) => error.message);
        const name = one === "SEAL" ? "batch 2" : "evidence group 2";
        expect(refused).to.match(new RegExp(`^the contract refuses ${name}: `));
        await finish([second]);
        expect(await nonceOf(tooSoon)).to.equal(undefined);
      });

      it("are done where one that is signed anew stands behind a later one of its kind", async () => {
        // As after a reorganisation: several wait, and their nonces are in their order.
        const [early, late] = errands(one, 2) as [LogErrand, LogErrand];
        for (const each of [early, second, late]) {
          await signOnly(each);
        }
        await spend(next);
        await finish([early, second, late]);
        expect((await failures()).length).to.be.within(1, 2);
      });
    });
  }
});

const hex = (value: bigint) => `0x${value.toString(16)}`;
