import { expect } from "chai";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { anvilBinary, startAnvilChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { expectWhole } from "../support/log-checks.js";
import { until } from "../support/until.js";

const GWEI = 1_000_000_000;

/** The transactions that wait at a node, by account and nonce. */
interface Pool {
  readonly pending: Readonly<Record<string, Readonly<Record<string, { readonly hash: string }>>>>;
}

describe("A seal whose fees are outrun", function () {
  this.timeout(120_000);

  let chain: ExternalChain;
  let daemon: Daemon;

  before(async function () {
    if (anvilBinary() === undefined) {
      console.warn("      SKIPPED: anvil is not installed");
      expect(process.env["CI"], "CI must have anvil").to.not.equal("true");
      return this.skip();
    }
    chain = await startAnvilChain();
    daemon = await startDaemon({
      ...chain.environment,
      DATA_DIR: temporaryFolder(),
      CONFIRMATIONS: "0",
      FINALITY: "confirmations",
    });
  });

  after(async () => {
    await daemon?.stop();
    await chain?.stop();
  });

  const record = (subject: string, waitFor: RecordState) =>
    daemon.grpc.recordEvent({
      subject,
      waitFor,
      body: { case: "login", value: { user: subject } },
    });

  it("is offered for more until the chain takes it, and sealed once", async () => {
    await record("cheap", RecordState.FINAL);
    await chain.rpc("evm_setAutomine", false);
    await record("outrun", RecordState.ACCEPTED);
    const pooled = () => chain.rpc<{ pending: string; queued: string }>("txpool_status");
    await until("the seal waits at the node", async () => Number((await pooled()).pending) === 1);
    const { pending } = await chain.rpc<Pool>("txpool_content");
    const [outrun] = Object.values(pending).flatMap((byNonce) => Object.values(byNonce));
    const mineDearly = async () => {
      await chain.rpc("anvil_setNextBlockBaseFeePerGas", `0x${(50 * GWEI).toString(16)}`);
      await chain.rpc("evm_mine");
    };
    await mineDearly(); // takes nothing: the seal offers less
    expect((await daemon.grpc.getStats({})).pending).to.equal(1n);
    await until(
      "the seal is on the chain",
      async () => {
        await mineDearly();
        return (await daemon.grpc.getStats({})).pending === 0n;
      },
      60_000,
    );
    await chain.rpc("evm_setAutomine", true);
    await record("after", RecordState.FINAL);
    const records = await expectWhole(daemon);
    expect(records.map(({ subject }) => subject)).to.deep.equal(["cheap", "outrun", "after"]);
    expect(records[1]?.anchor?.transactionHash).to.match(/^0x/).and.not.equal(outrun?.hash);
  });
});
