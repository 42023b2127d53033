import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import type { Web3 } from "web3";
import { auditLogAbi } from "../../gen/contracts/audit-log.js";
import { evidenceRegistryAbi } from "../../gen/contracts/evidence-registry.js";
import { slaRegistryAbi } from "../../gen/contracts/sla-registry.js";
import { readDeployment, type Deployment } from "../../src/chain/deploy.js";
import { hex0x, sha256, ZERO32 } from "../../src/core/bytes.js";
import { connect, type AuditLog } from "../support/audit-log.js";
import type { EvidenceRegistry } from "../support/evidence-registry.js";
import { GANACHE_CHAIN_ID, startGanache, type TestChain } from "../support/ganache.js";
import { repositoryRoot } from "../support/repository.js";
import type { SLARegistry } from "../support/sla-registry.js";

const run = promisify(execFile);

const ADMIN_ROLE = hex0x(ZERO32);
const TRUFFLE = "node_modules/truffle/build/cli.bundled.js";

describe("truffle migrate --network anchord", function () {
  this.timeout(120_000);

  let chain: TestChain;
  let web3: Web3;
  let buildFolder: string;

  /** One for all tests: Truffle compiles once, and meets a chain started afresh again and again. */
  before(async () => {
    buildFolder = await mkdtemp(join(tmpdir(), "anchord-build-"));
  });

  after(() => rm(buildFolder, { recursive: true }));

  beforeEach(async () => {
    chain = await startGanache();
    web3 = connect(chain.url);
  });

  afterEach(() => chain.stop());

  /** Migrates and gives back what Truffle printed. */
  async function output(
    settings: Record<string, string> = {},
    ...options: readonly string[]
  ): Promise<string> {
    const places = { BLOCKCHAIN_RPC_URL: chain.url, TRUFFLE_BUILD_DIR: buildFolder };
    const env = { PATH: process.env["PATH"], HOME: process.env["HOME"], ...places, ...settings };
    const args = [TRUFFLE, "migrate", "--network", "anchord", ...options];
    return (await run(process.execPath, args, { cwd: repositoryRoot, env })).stdout;
  }

  /** Migrates and gives back the addresses, as the settings of the service that were printed. */
  async function migrate(...args: Parameters<typeof output>): Promise<Deployment> {
    const printed = await output(...args);
    return {
      contract: /^BLOCKCHAIN_CONTRACT_ADDRESS=(0x[0-9a-fA-F]{40})$/m.exec(printed)?.[1] ?? printed,
      evidence: /^EVIDENCE_CONTRACT_ADDRESS=(0x[0-9a-fA-F]{40})$/m.exec(printed)?.[1] ?? printed,
      sla: /^SLA_CONTRACT_ADDRESS=(0x[0-9a-fA-F]{40})$/m.exec(printed)?.[1] ?? printed,
    };
  }

  function recorded(): Deployment | undefined {
    return readDeployment(buildFolder, GANACHE_CHAIN_ID);
  }

  const lowerCase = ({ contract, evidence, sla }: Deployment) => ({
    contract: contract.toLowerCase(),
    evidence: evidence.toLowerCase(),
    sla: sla.toLowerCase(),
  });

  function auditLogAt(address: string): AuditLog {
    return new web3.eth.Contract(auditLogAbi, address) as unknown as AuditLog;
  }

  function registryAt(address: string): EvidenceRegistry {
    return new web3.eth.Contract(evidenceRegistryAbi, address) as unknown as EvidenceRegistry;
  }

  function slaRegistryAt(address: string): SLARegistry {
    return new web3.eth.Contract(slaRegistryAbi, address) as unknown as SLARegistry;
  }

  it("deploys once, from the node's first account, and writes the addresses down", async () => {
    const [account] = chain.accounts as [string];
    const deployed = await migrate();
    expect(recorded()).to.deep.equal(lowerCase(deployed));

    const auditLog = auditLogAt(deployed.contract);
    const sealerRole = await auditLog.methods.SEALER_ROLE().call();
    expect(await auditLog.methods.contractName().call()).to.equal("anchord.AuditLog");
    expect(await auditLog.methods.hasRole(ADMIN_ROLE, account).call()).to.equal(true);
    expect(await auditLog.methods.hasRole(sealerRole, account).call()).to.equal(true);
    const registry = registryAt(deployed.evidence);
    const anchorerRole = await registry.methods.ANCHORER_ROLE().call();
    expect(await registry.methods.contractName().call()).to.equal("anchord.EvidenceRegistry");
    expect(await registry.methods.hasRole(ADMIN_ROLE, account).call()).to.equal(true);
    expect(await registry.methods.hasRole(anchorerRole, account).call()).to.equal(true);
    const slaRegistry = slaRegistryAt(deployed.sla);
    const managerRole = await slaRegistry.methods.MANAGER_ROLE().call();
    expect(await slaRegistry.methods.contractName().call()).to.equal("anchord.SLARegistry");
    expect(await slaRegistry.methods.hasRole(ADMIN_ROLE, account).call()).to.equal(true);
    expect(await slaRegistry.methods.hasRole(managerRole, account).call()).to.equal(true);

    const height = await web3.eth.getBlockNumber();
    expect(await migrate()).to.deep.equal(deployed);
    expect(await web3.eth.getBlockNumber()).to.equal(height);
  });

  it("deploys again on a chain of the same id that was started afresh", async () => {
    const [, sealer] = chain.accounts as [string, string];
    const before = recorded();
    expect(await web3.eth.getCode(before?.contract ?? "")).to.equal("0x");
    const { evidence, sla } = await migrate({ SEALER_ADDRESS: sealer });

    // Whoever seals anchors and manages as well, unless it is told otherwise.
    const registry = registryAt(evidence);
    const role = await registry.methods.ANCHORER_ROLE().call();
    expect(await registry.methods.hasRole(role, sealer).call()).to.equal(true);
    const slaRegistry = slaRegistryAt(sla);
    const managerRole = await slaRegistry.methods.MANAGER_ROLE().call();
    expect(await slaRegistry.methods.hasRole(managerRole, sealer).call()).to.equal(true);
  });

  it("adds the registries where there is AuditLog alone", async () => {
    const first = await output({}, "--to", "1");
    expect(first).to.match(/^BLOCKCHAIN_CONTRACT_ADDRESS=0x/m);
    expect(first).not.to.match(/EVIDENCE_CONTRACT_ADDRESS|SLA_CONTRACT_ADDRESS/);
    const { contract, evidence, sla } = await migrate();
    expect(first).to.contain(`BLOCKCHAIN_CONTRACT_ADDRESS=${contract}`);
    expect(await registryAt(evidence).methods.version().call()).to.equal(1n);
    expect(await slaRegistryAt(sla).methods.version().call()).to.equal(1n);
  });

  it("deploys a registry alone, where it is told to", async () => {
    const printed = await output({}, "-f", "3");
    const settings = [...printed.matchAll(/^([A-Z_]+)=0x[0-9a-fA-F]{40}$/gm)];
    expect(settings.map(([, found]) => found)).to.deep.equal(["SLA_CONTRACT_ADDRESS"]);
    expect(await web3.eth.getBlockNumber()).to.equal(1n);
  });

  it("does not take one contract for another, on a chain that was started afresh", async () => {
    const before = lowerCase(await migrate());
    await chain.stop();
    chain = await startGanache();
    web3 = connect(chain.url);
    await output({}, "-f", "2", "--to", "2");
    const there = await registryAt(before.contract).methods.contractName().call();
    expect(there, "stands where AuditLog was").to.equal("anchord.EvidenceRegistry");

    const { contract, evidence, sla } = await migrate();
    expect(evidence.toLowerCase()).to.equal(before.contract);
    expect(await auditLogAt(contract).methods.contractName().call()).to.equal("anchord.AuditLog");
    const name = await slaRegistryAt(sla).methods.contractName().call();
    expect(name).to.equal("anchord.SLARegistry");
  });

  it("signs with a key that the node does not have, and gives the roles away", async () => {
    const [rich, sealer, admin, anchorer, manager] = chain.accounts as [
      string,
      string,
      string,
      string,
      string,
    ];
    const key = hex0x(sha256(Buffer.from("a key of our own")));
    const deployer = web3.eth.accounts.privateKeyToAccount(key).address;
    const value = web3.utils.toWei("1", "ether");
    await web3.eth.sendTransaction({ from: rich, to: deployer, value });

    const settings = {
      SEALER_ADDRESS: sealer,
      ANCHORER_ADDRESS: anchorer,
      MANAGER_ADDRESS: manager,
      ADMIN_ADDRESS: admin,
      MINIMUM_DIFFICULTY: "2",
    };
    const { contract, evidence, sla } = await migrate({ PRIVATE_KEY: key, ...settings });

    const auditLog = auditLogAt(contract);
    const sealerRole = await auditLog.methods.SEALER_ROLE().call();
    expect(await auditLog.methods.minimumDifficulty().call()).to.equal(2n);
    expect(await auditLog.methods.hasRole(sealerRole, sealer).call()).to.equal(true);
    expect(await auditLog.methods.hasRole(sealerRole, deployer).call()).to.equal(false);
    const registry = registryAt(evidence);
    const anchorerRole = await registry.methods.ANCHORER_ROLE().call();
    expect(await registry.methods.hasRole(anchorerRole, anchorer).call()).to.equal(true);
    expect(await registry.methods.hasRole(anchorerRole, sealer).call()).to.equal(false);
    expect(await registry.methods.hasRole(anchorerRole, deployer).call()).to.equal(false);
    const slaRegistry = slaRegistryAt(sla);
    const managerRole = await slaRegistry.methods.MANAGER_ROLE().call();
    expect(await slaRegistry.methods.hasRole(managerRole, manager).call()).to.equal(true);
    expect(await slaRegistry.methods.hasRole(managerRole, sealer).call()).to.equal(false);
    expect(await slaRegistry.methods.hasRole(managerRole, deployer).call()).to.equal(false);
    for (const { methods } of [auditLog, registry, slaRegistry]) {
      expect(await methods.hasRole(ADMIN_ROLE, admin).call()).to.equal(true);
      expect(await methods.hasRole(ADMIN_ROLE, deployer).call()).to.equal(false);
    }
  });

  it("fails, with nothing deployed, on a difficulty that is none", async () => {
    const failure: unknown = await migrate({ MINIMUM_DIFFICULTY: "17" }).catch((error) => error);
    expect((failure as { code: number }).code).to.equal(1);
    const { stdout, stderr } = failure as { stdout: string; stderr: string };
    expect(stdout + stderr).to.contain(
      'MINIMUM_DIFFICULTY must be a number from 0 to 16, not "17"',
    );
    expect(await web3.eth.getBlockNumber()).to.equal(0n);
  });
});
