import { expect } from "chai";
import type { TransactionCall, Web3 } from "web3";
import { evidenceRegistryAbi } from "../../gen/contracts/evidence-registry.js";
import { ANCHOR_GAS } from "../../src/chain/evidence-registry.js";
import type { EvidenceItem } from "../../src/chain/port.js";
import { hex0x, ZERO32 } from "../../src/core/bytes.js";
import { connect, revertOf } from "../support/audit-log.js";
import { bytecodeOf } from "../support/compiled.js";
import {
  asArgument,
  deployEvidenceRegistry,
  evidenceNamed,
  type EvidenceRegistry,
} from "../support/evidence-registry.js";
import { startGanache, type TestChain } from "../support/ganache.js";

const GAS = "5000000";
const ADMIN_ROLE = hex0x(ZERO32);
const MOST_ITEMS = 32;

describe("EvidenceRegistry", function () {
  this.timeout(60_000);

  let chain: TestChain;
  let web3: Web3;
  let admin: string;
  let anchorer: string;
  let stranger: string;
  let registry: EvidenceRegistry;

  before(async () => {
    chain = await startGanache();
    web3 = connect(chain.url);
    [admin, anchorer, stranger] = chain.accounts as [string, string, string];
  });

  beforeEach(async () => {
    registry = await deployEvidenceRegistry(web3, admin, anchorer);
  });

  after(() => chain.stop());

  function anchoring(...items: readonly EvidenceItem[]) {
    return registry.methods.anchorEvidence(items.map(asArgument));
  }

  async function anchor(...items: readonly EvidenceItem[]) {
    return anchoring(...items).send({ from: anchorer, gas: GAS });
  }

  async function anchorOf({ subjectKey, digest }: EvidenceItem) {
    const found = await registry.methods.evidenceOf(hex0x(subjectKey), hex0x(digest)).call();
    const { submitter, time, blockNumber } = found as unknown as Record<string, unknown>;
    return { submitter: String(submitter).toLowerCase(), time, blockNumber };
  }

  /** Everything that was ever announced. */
  async function announced(): Promise<Record<string, unknown>[]> {
    const events = await registry.getPastEvents("EvidenceAnchored", { fromBlock: 0 });
    return events.map((event) => (event as { returnValues: Record<string, unknown> }).returnValues);
  }

  it("says who anchored a file, when and in which block, and announces all of it", async () => {
    const item = evidenceNamed("a");
    await anchor(item);
    const { timestamp, number } = await web3.eth.getBlock("latest");
    expect(await anchorOf(item)).to.deep.equal({
      submitter: anchorer.toLowerCase(),
      time: timestamp,
      blockNumber: number,
    });
    const [event, ...others] = await announced();
    expect(others).to.deep.equal([]);
    expect(event).to.deep.include({
      ...asArgument(item),
      submitter: web3.utils.toChecksumAddress(anchorer),
    });
  });

  it("keeps the first anchor: a repeat is neither an error nor announced", async () => {
    const item = evidenceNamed("a");
    await anchor(item);
    const first = await anchorOf(item);
    await anchor({ ...item, ref: ZERO32, cid: new Uint8Array() }, evidenceNamed("b"));
    expect(await anchorOf(item)).to.deep.equal(first);
    expect((await announced()).map(({ digest }) => digest)).to.deep.equal(
      ["a", "b"].map((name) => hex0x(evidenceNamed(name).digest)),
    );
  });

  it("has no anchor for another subject, nor for another file", async () => {
    const [item, other] = [evidenceNamed("a"), evidenceNamed("b")];
    await anchor(item);
    for (const missing of [
      { ...item, subjectKey: other.subjectKey },
      { ...item, digest: other.digest },
    ]) {
      expect(await revertOf(anchorOf(missing))).to.deep.equal({
        name: "NoEvidence",
        values: [hex0x(missing.subjectKey), hex0x(missing.digest)],
      });
    }
  });

  describe("takes a CID of", () => {
    for (const length of [0, 36, 64]) {
      it(`${length} bytes`, async () => {
        const item = evidenceNamed("a", { cid: Buffer.alloc(length, 7) });
        await anchor(item);
        expect((await announced())[0]?.["cid"]).to.equal(hex0x(item.cid));
      });
    }
  });

  describe("refuses", () => {
    const refusal = (items: readonly EvidenceItem[], from = anchorer) =>
      revertOf(anchoring(...items).call({ from, gas: GAS }));

    it("whoever has not the role, the admin included", async () => {
      const role = await registry.methods.ANCHORER_ROLE().call();
      for (const from of [stranger, admin]) {
        expect(await refusal([evidenceNamed("a")], from)).to.deep.equal({
          name: "AccessControlUnauthorizedAccount",
          values: [web3.utils.toChecksumAddress(from), String(role)],
        });
      }
    });

    it("a file without digest, a CID that is too long, and an empty list", async () => {
      const good = evidenceNamed("a");
      const without = evidenceNamed("b", { digest: ZERO32 });
      expect(await refusal([good, without])).to.deep.equal({ name: "ZeroDigest", values: ["1"] });
      const long = evidenceNamed("b", { cid: Buffer.alloc(65) });
      expect(await refusal([good, good, long])).to.deep.equal({
        name: "CidTooLong",
        values: ["2", "65"],
      });
      expect(await refusal([])).to.deep.equal({ name: "EmptyList", values: [] });
    });
  });

  it("costs so little that the gas limit is half as much again", async () => {
    for (const count of [1, 2, MOST_ITEMS]) {
      const items = Array.from({ length: count }, (_, i) => evidenceNamed(`${count}/${i}`));
      const { gasUsed } = await anchor(...items);
      console.log(`      gas for ${count}: ${gasUsed}`);
      const limit = ANCHOR_GAS.call + count * ANCHOR_GAS.each;
      expect(limit / Number(gasUsed)).to.be.within(1.45, 1.55);
    }
  });

  describe("roles", () => {
    it("rotate: the admin grants a new anchorer and revokes the old, and the anchors stay", async () => {
      const role = await registry.methods.ANCHORER_ROLE().call();
      const item = evidenceNamed("a");
      await anchor(item);
      const first = await anchorOf(item);
      await registry.methods.grantRole(role, stranger).send({ from: admin, gas: GAS });
      await registry.methods.revokeRole(role, anchorer).send({ from: admin, gas: GAS });
      const refused = await revertOf(anchoring(item).call({ from: anchorer }));
      expect(refused.name).to.equal("AccessControlUnauthorizedAccount");
      await anchoring(item, evidenceNamed("b")).send({ from: stranger, gas: GAS });
      expect(await anchorOf(item)).to.deep.equal(first);
      expect((await anchorOf(evidenceNamed("b"))).submitter).to.equal(stranger.toLowerCase());
    });

    it("are never given to the zero address", async () => {
      const nobody = hex0x(new Uint8Array(20));
      const role = String(await registry.methods.ANCHORER_ROLE().call());
      expect(await deploymentRefusal(nobody, anchorer)).to.equal(zeroAddress(ADMIN_ROLE));
      expect(await deploymentRefusal(admin, nobody)).to.equal(zeroAddress(role));
    });
  });

  /** The revert data of a constructor. */
  async function deploymentRefusal(newAdmin: string, newAnchorer: string): Promise<unknown> {
    const deployment = new web3.eth.Contract(evidenceRegistryAbi).deploy({
      data: bytecodeOf("EvidenceRegistry"),
      arguments: [newAdmin, newAnchorer],
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
    expect(await registry.methods.contractName().call()).to.equal("anchord.EvidenceRegistry");
    expect(await registry.methods.version().call()).to.equal(1n);
    const role = await registry.methods.ANCHORER_ROLE().call();
    expect(role).to.equal(web3.utils.keccak256("ANCHORER_ROLE"));
  });
});
