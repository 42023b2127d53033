import { expect } from "chai";
import { join } from "node:path";
import type { Chain } from "../../src/chain/port.js";
import { BLOCK_RANGE } from "../../src/chain/tail.js";
import { web3Chain } from "../../src/chain/web3.js";
import { hex0x, ZERO32 } from "../../src/core/bytes.js";
import { subjectKey } from "../../src/core/evidence.js";
import { genesisHead, logIdOf } from "../../src/core/head.js";
import { Misconfigured } from "../../src/core/errors.js";
import { connectLog } from "../../src/flow/connect.js";
import type { ConfiguredLog } from "../../src/flow/connect.js";
import { followChain } from "../../src/flow/follow.js";
import { storedIdentity } from "../../src/store/chain-position.js";
import { openDatabase } from "../../src/store/database.js";
import type { Database } from "../../src/store/database.js";
import { migrate } from "../../src/store/migrations.js";
import { slaOf } from "../../src/store/sla.js";
import { slaEventsOf } from "../../src/store/sla-events.js";
import { connect } from "../support/audit-log.js";
import { temporaryFolder } from "../support/daemon.js";
import { DATABASES } from "../support/databases.js";
import { deployEvidenceRegistry } from "../support/evidence-registry.js";
import { startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { deploySLARegistry, slaIdOf } from "../support/sla-registry.js";

for (const { name, settings } of DATABASES) {
  describe(`Connecting a database with its contracts, on ${name}`, function () {
    this.timeout(60_000);

    let chain: ExternalChain;
    let other: string;
    let otherSla: string;
    let database: Database;
    let ours: ConfiguredLog;

    before(async () => {
      chain = await startExternalChain();
      const { url, admin, contract, evidence, sla } = chain;
      const second = await deployEvidenceRegistry(connect(url), admin, admin);
      other = second.options.address?.toLowerCase() ?? "";
      const third = await deploySLARegistry(connect(url), admin, admin);
      otherSla = third.options.address?.toLowerCase() ?? "";
      ours = { contract, evidence, sla, log: logIdOf("log") };
    });

    after(() => chain?.stop());

    beforeEach(async function () {
      const found = await settings();
      if (found === undefined) return this.skip();
      const { DATABASE_URL: mysqlUrl } = found;
      const sqlitePath = join(temporaryFolder(), "anchord.db");
      database = openDatabase(mysqlUrl === undefined ? { sqlitePath } : { mysqlUrl });
      await migrate(database);
    });

    afterEach(() => database?.close());

    const connected = (changes: Partial<ConfiguredLog> = {}) =>
      connectLog(database, web3Chain(chain.url), { ...ours, ...changes });

    /** What the operator is told. */
    async function refusal(changes: Partial<ConfiguredLog>): Promise<string> {
      const error: unknown = await connected(changes).catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(Misconfigured);
      return (error as Misconfigured).message;
    }

    /** Has the registry announce a deadline of a subject; or, where it has one, that it was met. */
    async function announce(subject: string, what: "SET" | "MET"): Promise<void> {
      const { setSLADeadline, meet } = chain.slaRegistry.methods;
      const { timestamp } = await chain.rpc<{ timestamp: string }>(
        "eth_getBlockByNumber",
        "latest",
        false,
      );
      const ref = `0x${"77".repeat(32)}`;
      const call =
        what === "MET"
          ? meet(slaIdOf(subject), ref)
          : setSLADeadline(slaIdOf(subject), Number(timestamp) + 10_000, [0, 60], ref);
      await call.send({ from: chain.sealer, gas: "500000" });
    }

    /** Follows the chain to its end, as a daemon that leads does. */
    async function follow(): Promise<void> {
      const options = { confirmations: 2, asksFinalized: false };
      const identity = (await storedIdentity(database))!;
      const tail = { ...options, range: BLOCK_RANGE, trustsShorter: false };
      await followChain(database, web3Chain(chain.url), identity, tail, () => Promise.reject());
    }

    /** What the database has of a subject's first deadline, in order. */
    async function noted(subject: string): Promise<string[]> {
      const of = { subjectKey: subjectKey(subject), cycle: 1 };
      const events = await database.read((db) => slaEventsOf(db, of));
      return events.map(({ change }) => change.kind);
    }

    it("fixes all contracts at the first contact", async () => {
      const { contract, evidence, sla } = ours;
      expect(await connected()).to.include({ contract, evidence, sla });
      expect(await storedIdentity(database)).to.include({ evidence, sla });
      expect(await connected()).to.deep.equal(await storedIdentity(database));
    });

    it("does without registries, and takes each when it comes", async () => {
      const before = await connected({ evidence: undefined, sla: undefined });
      expect(before).to.include({ evidence: undefined, sla: undefined });
      const { evidence, sla } = ours;
      const between = { ...before, evidence };
      expect(await connected({ sla: undefined })).to.deep.equal(between);
      expect(await storedIdentity(database)).to.deep.equal(between);
      expect(await connected()).to.deep.equal({ ...between, sla });
      expect(await storedIdentity(database)).to.deep.equal({ ...between, sla });
    });

    it("refuses another registry than it had, and none, with the address to set", async () => {
      await connected();
      for (const evidence of [other, undefined]) {
        const message = await refusal({ evidence });
        expect(message).to.include(`set EVIDENCE_CONTRACT_ADDRESS to ${ours.evidence}`);
        expect(message).to.include(`not in ${evidence ?? "none"}`);
      }
      for (const sla of [otherSla, undefined]) {
        const message = await refusal({ sla });
        expect(message).to.include(`set SLA_CONTRACT_ADDRESS to ${ours.sla}`);
        expect(message).to.include(`not in ${sla ?? "none"}`);
      }
      const { evidence, sla } = ours;
      expect(await storedIdentity(database)).to.include({ evidence, sla });
    });

    for (const registry of ["evidence", "sla"] as const) {
      it(`lets one of two daemons win that bring different registries (${registry}) at once`, async () => {
        await connected({ [registry]: undefined });
        const brought = [ours[registry], registry === "sla" ? otherSla : other];
        const outcomes = await Promise.allSettled(
          brought.map((address) => connected({ [registry]: address })),
        );
        const fixed = (await storedIdentity(database))![registry];
        expect(brought).to.include(fixed);
        for (const [i, outcome] of outcomes.entries()) {
          expect(outcome.status).to.equal(brought[i] === fixed ? "fulfilled" : "rejected");
        }
      });
    }

    it("takes a registry of deadlines with what it has announced since the log began", async () => {
      await announce(`${name} before`, "SET");
      await connected({ sla: undefined });
      await announce(`${name} taken`, "SET");
      await announce(`${name} taken again`, "SET");
      await chain.mine(5);
      await announce(`${name} taken again`, "MET");
      await follow();
      await announce(`${name} taken`, "MET"); // not followed yet
      expect(await noted(`${name} taken`)).to.deep.equal([]);

      await connected();
      expect(await noted(`${name} taken`)).to.deep.equal(["SET"]);
      expect(await noted(`${name} taken again`)).to.deep.equal(["SET", "MET"]);
      expect(await noted(`${name} before`)).to.deep.equal([]);
      await follow();
      expect(await noted(`${name} taken`)).to.deep.equal(["SET", "MET"]);
      const of = { subjectKey: subjectKey(`${name} taken`) };
      expect(await database.read((db) => slaOf(db, of))).to.include({ cycle: 1, state: "MET" });
    });

    it("misses nothing of what is followed while it reads", async () => {
      await connected({ sla: undefined });
      await announce(`${name} meanwhile`, "SET");
      await follow();
      const real = web3Chain(chain.url);
      let asked = 0;
      const busy: Chain = Object.assign(web3Chain(chain.url), {
        events: async (...args: Parameters<Chain["events"]>) => {
          const events = await real.events(...args);
          if (asked++ === 0) {
            await announce(`${name} meanwhile`, "MET");
            await chain.mine(5);
            await follow();
          }
          return events;
        },
      });
      await connectLog(database, busy, ours);
      expect(await noted(`${name} meanwhile`)).to.deep.equal(["SET", "MET"]);
      await follow();
      expect(await noted(`${name} meanwhile`)).to.deep.equal(["SET", "MET"]);
    });

    it("takes no registry of deadlines from a node that lags, and does later", async () => {
      await connected({ sla: undefined });
      await announce(`${name} lagging`, "SET");
      await follow();
      const real = web3Chain(chain.url);
      const latest = await real.latestBlock();
      const lagging: Chain = Object.assign(web3Chain(chain.url), {
        latestBlock: () => real.block(latest.number - 1),
      });
      const error: unknown = await connectLog(database, lagging, ours).catch(
        (thrown: unknown) => thrown,
      );
      expect(error).to.include({ reason: "CHAIN_UNAVAILABLE" });
      expect(await storedIdentity(database)).to.include({ sla: undefined });
      await connected();
      expect(await noted(`${name} lagging`)).to.deep.equal(["SET"]);
    });

    it("begins a rebuild early enough for what was announced before the first seal", async () => {
      await announce(`${name} long before`, "SET");
      await chain.rpc("evm_increaseTime", 24 * 3_600);
      await chain.mine(1);
      await announce(`${name} just before`, "SET");
      await chain.rpc("evm_increaseTime", 1_800);
      const real = web3Chain(chain.url);
      const log = logIdOf(`rebuilt on ${name}`);
      const id = { chainId: await real.chainId(), contract: ours.contract, log };
      const zero = { manifestDigest: ZERO32, trailsRoot: ZERO32, nonce: 0n };
      const seal = { number: 1n, root: log, size: 1n, ...zero };
      const { to, data } = real.sealCall(id, genesisHead(id), seal);
      await chain.rpc("eth_sendTransaction", { from: chain.sealer, to, data, gas: "0x40000" });

      await connectLog(database, real, { ...ours, log }, { mayHaveBatches: true });
      const identity = (await storedIdentity(database))!;
      const { number } = await real.latestBlock();
      const events = await real.events(identity, identity.deployBlock, number);
      const keys = events.flatMap((event) =>
        event.type === "sla" ? [hex0x(event.subjectKey)] : [],
      );
      expect(keys).to.include(slaIdOf(`${name} just before`));
      expect(keys).not.to.include(slaIdOf(`${name} long before`));
    });

    it("names what stands at an address that is not the registry's", async () => {
      const nothing = await refusal({ evidence: chain.sealer });
      expect(nothing).to.include(`no EvidenceRegistry contract of anchord at ${chain.sealer}`);
      expect(nothing).to.include("npm run migrate").and.to.include("EVIDENCE_CONTRACT_ADDRESS");
      expect(nothing).not.to.include("what stands there");
      const swapped = await refusal({ evidence: ours.contract });
      expect(swapped).to.include("what stands there is AuditLog");
      expect(swapped).to.include("BLOCKCHAIN_CONTRACT_ADDRESS");
      const sla = await refusal({ sla: ours.evidence });
      expect(sla).to.include(`no SLARegistry contract of anchord at ${ours.evidence}`);
      expect(sla).to.include("what stands there is EvidenceRegistry");
      expect(sla).to.include("npm run migrate").and.to.include("set SLA_CONTRACT_ADDRESS");
      expect(await storedIdentity(database)).to.equal(undefined);
    });

    it("names what stands at an address that is not AuditLog's", async () => {
      const swapped = await refusal({ contract: other });
      expect(swapped).to.include(`no AuditLog contract of anchord at ${other}`);
      expect(swapped).to.include("what stands there is EvidenceRegistry");
      expect(swapped).to.include("npm run migrate").and.to.include("BLOCKCHAIN_CONTRACT_ADDRESS");
    });
  });
}
