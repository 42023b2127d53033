import { expect } from "chai";
import fc from "fast-check";
import { verifyMerkleInclusion } from "@sigstore/verify/dist/tlog/merkle.js";
import { hex0x, sameBytes, sha256, u64, ZERO32 } from "../../src/core/bytes.js";
import { genesisHead } from "../../src/core/head.js";
import {
  inclusionPath,
  leafHash,
  merkleRoot,
  rootFromPath,
  treeLevels,
} from "../../src/core/merkle.js";
import { connect, deployAuditLog, sealOn, type AuditLog } from "../support/audit-log.js";
import { GANACHE_CHAIN_ID, startGanache, type TestChain } from "../support/ganache.js";

const TREES = 10;
const LEAVES_PER_TREE = 2;

/** A claim that a leaf with these contents stands at this place. */
interface Proof {
  readonly body: Buffer;
  readonly index: bigint;
  readonly path: readonly Uint8Array[];
}

/** A sealed tree. */
interface Tree {
  readonly log: Uint8Array;
  readonly root: Uint8Array;
  readonly size: bigint;
}

describe("AuditLog.verify", function () {
  this.timeout(120_000);

  let chain: TestChain;
  let sealer: string;
  let auditLog: AuditLog;

  before(async () => {
    chain = await startGanache();
    sealer = chain.accounts[0] as string;
    auditLog = await deployAuditLog(connect(chain.url), sealer, sealer);
  });

  after(() => chain.stop());

  it("agrees with core and with an independent verifier on true and tampered proofs", async () => {
    const seed = Number(process.env["SEED"] ?? Date.now() % 2 ** 31);
    console.log(`      SEED=${seed}`);
    const salt = fc.uint8Array({ minLength: 32, maxLength: 32 });
    const picks = fc.array(fc.nat(), { minLength: LEAVES_PER_TREE, maxLength: LEAVES_PER_TREE });
    const property = fc.asyncProperty(fc.integer({ min: 1, max: 1000 }), salt, picks, checkTree);
    await fc.assert(property, { seed, numRuns: TREES, examples: smallTrees() });
  });

  /** Every leaf of the smallest trees, where the odd shapes are. */
  function smallTrees(): [number, Uint8Array, number[]][] {
    return [1, 2, 3, 4, 5, 6, 7, 8, 9].map((size) => [
      size,
      Uint8Array.from(ZERO32).fill(size),
      Array.from({ length: size }, (_, i) => i),
    ]);
  }

  async function checkTree(size: number, salt: Uint8Array, picks: number[]): Promise<void> {
    const bodies = Array.from({ length: size }, (_, i) => sha256(salt, u64(i)));
    const leaves = bodies.map((body) => leafHash(body));
    const tree = { log: sha256(salt), root: merkleRoot(leaves), size: BigInt(size) };
    await sealTree(tree);

    const levels = treeLevels(leaves);
    for (const index of new Set([...picks.map((pick) => pick % size), size - 1])) {
      const body = bodies[index] as Buffer;
      const proof = { body, index: BigInt(index), path: inclusionPath(levels, index) };
      await expectEverywhere(true, tree, proof, "the proof");
      const wrongs = tampered(tree, proof);
      await Promise.all(wrongs.map(([what, it]) => expectEverywhere(false, tree, it, what)));
    }
  }

  /** The first batch of the tree's log; fast-check may come back to a log while it shrinks. */
  async function sealTree({ log, root, size }: Tree): Promise<void> {
    const { number } = await auditLog.methods.headOf(hex0x(log)).call();
    if (Number(number) > 0) return;
    const contract = auditLog.options.address?.toLowerCase() ?? "";
    const genesis = genesisHead({ chainId: GANACHE_CHAIN_ID, contract, log });
    const rest = { manifestDigest: ZERO32, trailsRoot: ZERO32, nonce: 0n };
    const seal = sealOn(genesis, { number: 1n, root, size, ...rest });
    await auditLog.methods.sealBatch(hex0x(log), seal).send({ from: sealer, gas: "500000" });
  }

  function tampered({ size }: Tree, proof: Proof): [string, Proof][] {
    const { body, index, path } = proof;
    const changes: [string, Proof][] = [
      ["another leaf", { ...proof, body: flipped(body) }],
      ["a place beyond the end", { ...proof, index: size }],
      ["a place far beyond the end", { ...proof, index: index + (1n << 32n) }],
      ["a node too many", { ...proof, path: [...path, sha256(body)] }],
    ];
    if (path.length === 0) return changes;
    const middle = Math.floor(path.length / 2);
    const changed = path.map((node, i) => (i === middle ? flipped(node) : node));
    return [
      ...changes,
      ["the next place", { ...proof, index: (index + 1n) % size }],
      ["the place across", { ...proof, index: index ^ 1n }],
      ["another node", { ...proof, path: changed }],
      ["no last node", { ...proof, path: path.slice(0, -1) }],
      ["no first node", { ...proof, path: path.slice(1) }],
    ];
  }

  function flipped(bytes: Uint8Array): Buffer {
    const copy = Buffer.from(bytes);
    copy[13] = (copy[13] as number) ^ 0x20;
    return copy;
  }

  async function expectEverywhere(expected: boolean, tree: Tree, proof: Proof, what: string) {
    const where = `${what}, place ${proof.index} of ${tree.size}`;
    expect(acceptedByCore(tree, proof), `core: ${where}`).to.equal(expected);
    expect(acceptedBySigstore(tree, proof), `sigstore: ${where}`).to.equal(expected);
    expect(await acceptedByContract(tree, proof), `contract: ${where}`).to.equal(expected);
  }

  function acceptedByCore({ root, size }: Tree, { body, index, path }: Proof): boolean {
    if (index >= size) return false;
    const reached = rootFromPath(leafHash(body), index, size, path);
    return reached !== undefined && sameBytes(reached, root);
  }

  function acceptedBySigstore({ root, size }: Tree, { body, index, path }: Proof): boolean {
    const inclusionProof = { logIndex: String(index), hashes: path.map((it) => Buffer.from(it)) };
    const entry = { canonicalizedBody: body, inclusionProof };
    const checkpoint = { logSize: size, logHash: Buffer.from(root) };
    try {
      verifyMerkleInclusion(entry as never, checkpoint as never);
      return true;
    } catch (error) {
      if ((error as { code?: string }).code !== "TLOG_INCLUSION_PROOF_ERROR") throw error;
      return false;
    }
  }

  async function acceptedByContract({ log }: Tree, { body, index, path }: Proof): Promise<boolean> {
    const [leaf, nodes] = [hex0x(leafHash(body)), path.map((node) => hex0x(node))];
    return auditLog.methods.verify(hex0x(log), 1n, leaf, index, nodes).call();
  }

  it("accepts nothing where there is no batch", async () => {
    const [log, leaf] = [hex0x(sha256(Buffer.from("nobody's"))), hex0x(ZERO32)];
    for (const number of [0n, 1n]) {
      expect(await auditLog.methods.verify(log, number, leaf, 0n, []).call()).to.equal(false);
    }
  });
});
