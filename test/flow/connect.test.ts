import { expect } from "chai";
import { join } from "node:path";
import { web3Chain } from "../../src/chain/web3.js";
import { logIdOf } from "../../src/core/head.js";
import { connectLog, Misconfigured } from "../../src/flow/connect.js";
import type { ConfiguredLog } from "../../src/flow/connect.js";
import { storedIdentity } from "../../src/store/chain-position.js";
import { openDatabase } from "../../src/store/database.js";
import type { Database } from "../../src/store/database.js";
import { migrate } from "../../src/store/migrations.js";
import { connect } from "../support/audit-log.js";
import { temporaryFolder } from "../support/daemon.js";
import { DATABASES } from "../support/databases.js";
import { deployEvidenceRegistry } from "../support/evidence-registry.js";
import { startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";

for (const { name, settings } of DATABASES) {
  describe(`Connecting a database with its contracts, on ${name}`, function () {
    this.timeout(60_000);

    let chain: ExternalChain;
    let other: string;
    let database: Database;
    let ours: ConfiguredLog;

    before(async () => {
      chain = await startExternalChain();
      const { url, admin, contract, evidence } = chain;
      const second = await deployEvidenceRegistry(connect(url), admin, admin);
      other = second.options.address?.toLowerCase() ?? "";
      ours = { contract, evidence, log: logIdOf("log") };
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

    it("fixes both contracts at the first contact", async () => {
      expect(await connected()).to.include({ contract: ours.contract, evidence: ours.evidence });
      expect(await storedIdentity(database)).to.include({ evidence: ours.evidence });
      expect(await connected()).to.deep.equal(await storedIdentity(database));
    });

    it("does without a registry, and takes one when it comes", async () => {
      const before = await connected({ evidence: undefined });
      expect(before.evidence).to.equal(undefined);
      expect(await connected()).to.deep.equal({ ...before, evidence: ours.evidence });
      expect(await storedIdentity(database)).to.deep.equal({ ...before, evidence: ours.evidence });
    });

    it("refuses another registry than it had, and none, with the address to set", async () => {
      await connected();
      for (const evidence of [other, undefined]) {
        const message = await refusal({ evidence });
        expect(message).to.include(`set EVIDENCE_CONTRACT_ADDRESS to ${ours.evidence}`);
        expect(message).to.include(`not in ${evidence ?? "none"}`);
      }
      expect(await storedIdentity(database)).to.include({ evidence: ours.evidence });
    });

    it("lets one of two daemons win that bring different registries at once", async () => {
      await connected({ evidence: undefined });
      const outcomes = await Promise.allSettled([connected(), connected({ evidence: other })]);
      const { evidence } = (await storedIdentity(database))!;
      expect([ours.evidence, other]).to.include(evidence);
      for (const [i, outcome] of outcomes.entries()) {
        const isWinner = evidence === [ours.evidence, other][i];
        expect(outcome.status).to.equal(isWinner ? "fulfilled" : "rejected");
      }
    });

    it("names what stands at an address that is not the registry's", async () => {
      const nothing = await refusal({ evidence: chain.sealer });
      expect(nothing).to.include(`no EvidenceRegistry contract of anchord at ${chain.sealer}`);
      expect(nothing).to.include("npm run migrate").and.to.include("EVIDENCE_CONTRACT_ADDRESS");
      expect(nothing).not.to.include("what stands there");
      const swapped = await refusal({ evidence: ours.contract });
      expect(swapped).to.include("what stands there is AuditLog");
      expect(swapped).to.include("BLOCKCHAIN_CONTRACT_ADDRESS");
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
