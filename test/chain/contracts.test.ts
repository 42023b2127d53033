import { expect } from "chai";
import { web3Chain } from "../../src/chain/web3.js";
import type { Chain, ContractEvent, Contracts, EvidenceItem } from "../../src/chain/port.js";
import { hex, sha256, ZERO32 } from "../../src/core/bytes.js";
import { messageOf } from "../../src/core/errors.js";
import { subjectKey } from "../../src/core/evidence.js";
import { genesisHead, logIdOf } from "../../src/core/head.js";
import type { SlaIntent } from "../../src/core/sla.js";
import { asArgument, evidenceNamed } from "../support/evidence-registry.js";
import { anvilBinary, startAnvilChain, startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { until } from "../support/until.js";

const NODES = {
  Ganache: () => startExternalChain(),
  anvil: () => startAnvilChain(),
};

for (const [node, start] of Object.entries(NODES)) {
  describe(`The contracts on ${node}`, function () {
    this.timeout(60_000);

    let external: ExternalChain;
    let chain: Chain;
    let contracts: Contracts;

    before(async function () {
      if (node === "anvil" && anvilBinary() === undefined) return this.skip();
      external = await start();
      chain = web3Chain(external.url);
      const { contract, evidence, sla } = external;
      contracts = { chainId: await chain.chainId(), contract, evidence, sla, log: logIdOf("ours") };
    });

    after(() => external?.stop());

    /** Sends a call from an unlocked account, without waiting for its block. */
    async function send(
      { to, data, gas }: ReturnType<Chain["anchorCall"]>,
      from = external.sealer,
    ) {
      const transaction = { from, to, data, gas: `0x${gas.toString(16)}` };
      return external.rpc<string>("eth_sendTransaction", transaction);
    }

    /** The first seal of a log. */
    function sealCall(log: Uint8Array) {
      const id = { ...contracts, log };
      const zero = { manifestDigest: ZERO32, trailsRoot: ZERO32, nonce: 0n };
      const seal = { number: 1n, root: sha256(log), size: 3n, ...zero };
      return chain.sealCall(id, genesisHead(id), seal);
    }

    const anchorCall = (...items: readonly EvidenceItem[]) =>
      chain.anchorCall(external.evidence, items);

    const slaCall = (subject: string, intent: SlaIntent) =>
      chain.slaCall(external.sla, subjectKey(subject), intent, sha256(Buffer.from(intent.kind)));

    it("are told apart", async () => {
      const { contract, evidence, sla, sealer } = external;
      for (const address of [contract, evidence, sla, sealer]) {
        expect(await chain.isAuditLog(address)).to.equal(address === contract);
        expect(await chain.isEvidenceRegistry(address)).to.equal(address === evidence);
        expect(await chain.isSlaRegistry(address)).to.equal(address === sla);
      }
    });

    it("say who may anchor, and who may manage deadlines", async () => {
      const { evidence, sla, sealer, admin } = external;
      expect(await chain.mayAnchor(evidence, sealer)).to.equal(true);
      expect(await chain.mayAnchor(evidence, admin)).to.equal(false);
      expect(await chain.mayManage(sla, sealer)).to.equal(true);
      expect(await chain.mayManage(sla, admin)).to.equal(false);
    });

    it("say where evidence is anchored, and that it is not", async () => {
      const item = evidenceNamed("asked for");
      const asked = () => chain.evidenceAnchor(external.evidence, item.subjectKey, item.digest);
      expect(await asked()).to.equal(undefined);
      await send(anchorCall(item));
      await until("it is anchored", async () => (await asked()) !== undefined);
      const { number: blockNumber, time } = await chain.latestBlock();
      expect(await asked()).to.deep.equal({ submitter: external.sealer, time, blockNumber });
      const other = evidenceNamed("other").subjectKey;
      const elsewhere = await chain.evidenceAnchor(external.evidence, other, item.digest);
      expect(elsewhere).to.equal(undefined);
    });

    it("are not taken for empty where the node does not know the registry", async () => {
      const { subjectKey, digest } = evidenceNamed("not known");
      for (const address of [external.contract, external.sealer]) {
        try {
          await chain.evidenceAnchor(address, subjectKey, digest);
          expect.fail("it answered");
        } catch (error) {
          expect(error).to.include({ reason: "CHAIN_UNAVAILABLE" });
          expect(messageOf(error)).to.include(`does not know the EvidenceRegistry at ${address}`);
        }
      }
    });

    it("are not taken for empty where the node does not know the log's contract", async () => {
      for (const contract of [external.evidence, external.sealer]) {
        try {
          await chain.lastSealed({ ...contracts, contract });
          expect.fail("it answered");
        } catch (error) {
          expect(error).to.include({ reason: "CHAIN_UNAVAILABLE" });
          expect(messageOf(error)).to.match(new RegExp(`^${contract} (reverts|does not answer)`));
        }
      }
    });

    it("name why any refuses a call", async () => {
      const { admin, sealer } = external;
      const empty = evidenceNamed("a", { digest: ZERO32 });
      expect(await chain.preflight(anchorCall(evidenceNamed("a")), sealer)).to.equal(undefined);
      expect(await chain.preflight(anchorCall(empty), sealer)).to.equal("ZeroDigest(0)");
      expect(await chain.preflight(anchorCall(), sealer)).to.equal("EmptyList()");
      expect(await chain.preflight(anchorCall(evidenceNamed("a")), admin)).to.match(
        /^AccessControlUnauthorizedAccount\(0x/,
      );
      const seal = sealCall(logIdOf("refused"));
      const again = chain.sealCall({ ...contracts, log: logIdOf("refused") }, ZERO32, {
        number: 7n,
        root: ZERO32,
        size: 1n,
        manifestDigest: ZERO32,
        trailsRoot: ZERO32,
        nonce: 0n,
      });
      expect(await chain.preflight(seal, sealer)).to.equal(undefined);
      expect(await chain.preflight(again, sealer)).to.equal("UnexpectedNumber(1, 7)");
      const pause = slaCall("refused", { kind: "PAUSED" });
      expect(await chain.preflight(pause, sealer)).to.match(/^UnknownDeadline\(0x[0-9a-f]{64}\)$/);
      expect(await chain.preflight(pause, admin)).to.match(/^AccessControlUnauthorizedAccount\(0x/);
    });

    describe("announce", () => {
      let from: number;
      let blockHash: string;
      const [first, second, third] = ["1", "2", "3"].map((name) =>
        evidenceNamed(`announced ${name}`),
      ) as [EvidenceItem, EvidenceItem, EvidenceItem];

      /** One block with calls of both contracts, one after the other. */
      before(async () => {
        const deadline = (await chain.latestBlock()).time + 100_000;
        await setMining(false);
        await send(anchorCall(first));
        await send(slaCall("announced", { kind: "SET", deadline, ladder: [0] }));
        await send(sealCall(contracts.log));
        await send(sealCall(logIdOf("another's")));
        await send(anchorCall(first, second));
        await send(slaCall("announced", { kind: "MET" }));
        await send(anchorCall(third));
        await setMining(true);
        const { number, hash } = await chain.latestBlock();
        [from, blockHash] = [number, hash];
      });

      /** Anvil is told to mine what has gathered; Ganache does so when it goes on. */
      async function setMining(mines: boolean): Promise<void> {
        if (node === "Ganache") await external.rpc(mines ? "miner_start" : "miner_stop");
        else if (mines) await external.mine(1);
        if (node === "anvil") await external.rpc("evm_setAutomine", mines);
      }

      it("what concerns us, in chain order", async () => {
        const events = await chain.eventsIn(contracts, blockHash);
        expect(events.map(gist)).to.deep.equal([
          `evidence ${hex(first.digest)}`,
          "sla SET",
          `sealed ${hex(sha256(contracts.log))}`,
          `evidence ${hex(second.digest)}`,
          "sla MET",
          `evidence ${hex(third.digest)}`,
        ]);
        expect(await chain.events(contracts, from, from)).to.deep.equal(events);
      });

      function gist(event: ContractEvent): string {
        switch (event.type) {
          case "sealed":
            return `sealed ${hex(event.seal.root)}`;
          case "evidence":
            return `evidence ${hex(event.digest)}`;
          case "sla":
            return `sla ${event.change.kind}`;
        }
      }

      it("evidence with all that was handed in", async () => {
        const events = await chain.eventsIn(contracts, blockHash);
        const evidence = events.filter((event) => event.type === "evidence");
        expect(evidence.map(({ logIndex }) => logIndex)).to.deep.equal([0, 4, 6]);
        const [event] = evidence;
        const mined = await chain.mined(event?.transactionHash ?? "");
        expect(mined).to.include({ succeeded: true, blockHash });
        expect(event && asArgument(event)).to.deep.equal(asArgument(first));
        expect(event).to.include({ submitter: external.sealer, blockNumber: from, blockHash });
      });

      it("a deadline with all that was said of it", async () => {
        const events = await chain.eventsIn(contracts, blockHash);
        const [event, met] = events.filter((each) => each.type === "sla");
        expect(event).to.deep.include({ cycle: 1, account: external.sealer, logIndex: 1 });
        expect(event).to.deep.include({ blockNumber: from, blockHash });
        expect(event?.change).to.deep.include({ kind: "SET", ladder: [0] });
        expect(hex(event?.subjectKey ?? ZERO32)).to.equal(hex(subjectKey("announced")));
        expect(hex(met?.ref ?? ZERO32)).to.equal(hex(sha256(Buffer.from("MET"))));
      });

      it("no more than the registries that there are", async () => {
        for (const there of [[], ["evidence"], ["sla"]] as const) {
          const without = { ...contracts, evidence: undefined, sla: undefined };
          const some = there.map((name) => [name, contracts[name]]);
          const of = { ...without, ...Object.fromEntries(some) } as Contracts;
          const events = await chain.events(of, from, from);
          expect(new Set(events.map(({ type }) => type))).to.have.keys("sealed", ...there);
          expect(events.filter(({ type }) => type === "sealed")).to.have.length(1);
          expect(await chain.eventsIn(of, blockHash)).to.deep.equal(events);
        }
      });

      it("nothing to us that another contract says", async () => {
        const { contract, evidence, sla } = external;
        const elsewhere = { ...contracts, contract: evidence, evidence: sla, sla: contract };
        expect(await chain.eventsIn(elsewhere, blockHash)).to.deep.equal([]);
      });
    });
  });
}
