import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import type { Web3 } from "web3";
import { auditLogAbi } from "../../gen/contracts/audit-log.js";
import { hex0x, sha256, ZERO32 } from "../../src/core/bytes.js";
import { connect, type AuditLog } from "../support/audit-log.js";
import { GANACHE_CHAIN_ID, startGanache, type TestChain } from "../support/ganache.js";
import { repositoryRoot } from "../support/repository.js";

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

  /** Migrates and gives back the address that Truffle printed. */
  async function migrate(settings: Record<string, string> = {}): Promise<string> {
    const places = { BLOCKCHAIN_RPC_URL: chain.url, TRUFFLE_BUILD_DIR: buildFolder };
    const env = { PATH: process.env["PATH"], HOME: process.env["HOME"], ...places, ...settings };
    const args = [TRUFFLE, "migrate", "--network", "anchord"];
    const { stdout } = await run(process.execPath, args, { cwd: repositoryRoot, env });
    return /^AuditLog is at (0x[0-9a-fA-F]{40})$/m.exec(stdout)?.[1] ?? stdout;
  }

  async function addressInArtifact(): Promise<string | undefined> {
    const text = await readFile(join(buildFolder, "AuditLog.json"), "utf8");
    const { networks } = JSON.parse(text) as { networks: Record<string, { address: string }> };
    return networks[String(GANACHE_CHAIN_ID)]?.address;
  }

  function auditLogAt(address: string): AuditLog {
    return new web3.eth.Contract(auditLogAbi, address) as unknown as AuditLog;
  }

  it("deploys once, from the node's first account, and writes the address down", async () => {
    const [account] = chain.accounts as [string];
    const address = await migrate();
    expect(await addressInArtifact()).to.equal(address);

    const auditLog = auditLogAt(address);
    const sealerRole = await auditLog.methods.SEALER_ROLE().call();
    expect(await auditLog.methods.contractName().call()).to.equal("anchord.AuditLog");
    expect(await auditLog.methods.hasRole(ADMIN_ROLE, account).call()).to.equal(true);
    expect(await auditLog.methods.hasRole(sealerRole, account).call()).to.equal(true);

    const height = await web3.eth.getBlockNumber();
    expect(await migrate()).to.equal(address);
    expect(await web3.eth.getBlockNumber()).to.equal(height);
  });

  it("deploys again on a chain of the same id that was started afresh", async () => {
    const artifact = await addressInArtifact();
    expect(await web3.eth.getCode(artifact ?? "")).to.equal("0x");
    expect(await web3.eth.getCode(await migrate())).to.not.equal("0x");
  });

  it("signs with a key that the node does not have, and gives the roles away", async () => {
    const [rich, sealer, admin] = chain.accounts as [string, string, string];
    const key = hex0x(sha256(Buffer.from("a key of our own")));
    const deployer = web3.eth.accounts.privateKeyToAccount(key).address;
    const value = web3.utils.toWei("1", "ether");
    await web3.eth.sendTransaction({ from: rich, to: deployer, value });

    const settings = { SEALER_ADDRESS: sealer, ADMIN_ADDRESS: admin, MINIMUM_DIFFICULTY: "2" };
    const auditLog = auditLogAt(await migrate({ PRIVATE_KEY: key, ...settings }));

    const sealerRole = await auditLog.methods.SEALER_ROLE().call();
    expect(await auditLog.methods.minimumDifficulty().call()).to.equal(2n);
    expect(await auditLog.methods.hasRole(sealerRole, sealer).call()).to.equal(true);
    expect(await auditLog.methods.hasRole(sealerRole, deployer).call()).to.equal(false);
    expect(await auditLog.methods.hasRole(ADMIN_ROLE, admin).call()).to.equal(true);
    expect(await auditLog.methods.hasRole(ADMIN_ROLE, deployer).call()).to.equal(false);
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
