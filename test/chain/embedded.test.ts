import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import { readDeployment } from "../../src/chain/deploy.js";
import { createSigner } from "../../src/chain/signer.js";
import { web3Chain } from "../../src/chain/web3.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { expectWhole } from "../support/log-checks.js";
import { withDatabase } from "../support/tables.js";

describe("The embedded chain", () => {
  let daemon: Daemon;
  before(async () => {
    daemon = await startDaemon();
  });
  after(() => daemon.stop());

  const ask = (method: string, headers: Record<string, string> = {}) =>
    fetch(daemon.rpcUrl, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: [] }),
    });

  it("answers what a verifier asks", async () => {
    expect(await (await ask("eth_chainId")).json()).to.include({ result: "0x539" });
  });

  for (const method of [
    "evm_snapshot",
    "miner_stop",
    "personal_listAccounts",
    "eth_sendTransaction",
  ]) {
    it(`does not offer ${method}, with which anyone could rewrite it or use its key`, async () => {
      const answer = (await (await ask(method)).json()) as { error?: { code: number } };
      expect(answer.error?.code).to.equal(-32601);
    });
  }

  it("does not talk to pages of other origins", async () => {
    const answer = await ask("eth_chainId", { origin: "http://elsewhere.example" });
    expect(answer.status).to.equal(403);
    expect(answer.headers.get("access-control-allow-origin")).to.equal(null);
  });
});

describe("An embedded chain whose folder is relative to where the service runs", function () {
  this.timeout(120_000);

  it("gets its contracts there, and has records anchored", async () => {
    const cwd = temporaryFolder();
    const daemon = await startDaemon({ DATA_DIR: "data" }, { cwd });
    try {
      const { state } = await daemon.grpc.recordEvent({
        subject: "a",
        body: { case: "custom", value: { type: "test" } },
        waitFor: RecordState.ANCHORED,
      });
      expect(state).to.be.at.least(RecordState.ANCHORED);
      expect(readDeployment(join(cwd, "data/chain/contracts"), 1337n)).to.include.keys("contract");
    } finally {
      await daemon.stop();
    }
  });
});

/** What has come since the first release: the contract, its key in a deployment, the column of its address. */
const LATER = [
  { name: "EvidenceRegistry", key: "evidence", column: "evidence_contract" },
  { name: "SLARegistry", key: "sla", column: "sla_contract" },
] as const;

describe("An embedded chain from before there were registries", function () {
  this.timeout(120_000);

  const CHAIN_ID = 1337n;
  const EVENT = {
    subject: "a",
    body: { case: "custom" as const, value: { type: "test" } },
    waitFor: RecordState.ANCHORED,
  };

  const contractsOf = ({ dataDir }: Daemon) => join(dataDir, "chain", "contracts");

  /** Leaves of the deployment what Truffle recorded before there were the contracts. */
  async function downgrade(daemon: Daemon, gone: readonly (typeof LATER)[number][]): Promise<void> {
    for (const { name, column } of gone) {
      for (const file of [name, `I${name}`]) rmSync(join(contractsOf(daemon), `${file}.json`));
      await withDatabase({ DATA_DIR: daemon.dataDir }, (sql) =>
        sql(`update identity set ${column} = null`),
      );
    }
    expect(readDeployment(contractsOf(daemon), CHAIN_ID)).to.equal(undefined);
  }

  for (const gone of [LATER, LATER.slice(1)]) {
    const names = gone.map(({ name }) => name).join(" and ");

    it(`gets ${names} at the next start, and keeps the rest and its log`, async () => {
      const before = await startDaemon();
      await before.grpc.recordEvent(EVENT);
      await before.stop();
      const old = readDeployment(contractsOf(before), CHAIN_ID)!;
      await downgrade(before, gone);

      const daemon = await startDaemon({ DATA_DIR: before.dataDir });
      try {
        const now = readDeployment(contractsOf(daemon), CHAIN_ID)!;
        expect(now.contract).to.equal(old.contract);
        const [identity] = await withDatabase({ DATA_DIR: daemon.dataDir }, (sql) =>
          sql("select * from identity"),
        );
        for (const later of LATER) {
          const { key, column } = later;
          expect(now[key]).to.match(/^0x[0-9a-f]{40}$/);
          expect(now[key] === old[key]).to.equal(!gone.includes(later));
          expect(identity?.[column]).to.equal(now[key].slice(2));
        }
        const chain = web3Chain(daemon.rpcUrl);
        expect(await chain.isEvidenceRegistry(now.evidence)).to.equal(true);
        expect(await chain.mayAnchor(now.evidence, sealerIn(daemon))).to.equal(true);
        expect(await chain.isSlaRegistry(now.sla)).to.equal(true);
        expect(await chain.mayManage(now.sla, sealerIn(daemon))).to.equal(true);
        await daemon.grpc.recordEvent(EVENT);
        expect(await expectWhole(daemon)).to.have.length(2);
      } finally {
        await daemon.stop();
      }
    });
  }

  /** The one account of the embedded chain. */
  function sealerIn({ dataDir }: Daemon): string {
    return createSigner(readFileSync(join(dataDir, "chain", "key"), "utf8").trim()).address;
  }
});
