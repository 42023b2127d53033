import { createRequire } from "node:module";
import { expect } from "chai";
import fc from "fast-check";
import { sameBytes } from "../../src/core/bytes.js";
import {
  inclusionPath,
  leafHash,
  merkleRoot,
  nodeHash,
  rootFromPath,
  treeLevels,
} from "../../src/core/merkle.js";

/** An independent implementation of RFC 6962 inclusion, not part of its package's public API. */
const { verifyMerkleInclusion } = createRequire(import.meta.url)(
  "@sigstore/verify/dist/tlog/merkle.js",
) as {
  verifyMerkleInclusion(
    entry: {
      readonly canonicalizedBody: Buffer;
      readonly inclusionProof: { readonly logIndex: string; readonly hashes: readonly Buffer[] };
    },
    checkpoint: { readonly logSize: bigint; readonly logHash: Buffer },
  ): void;
};

/** A claim that a leaf with these contents is at that place of a tree with that root. */
interface Claim {
  readonly contents: Uint8Array;
  readonly index: bigint;
  readonly size: bigint;
  readonly path: readonly Uint8Array[];
  readonly root: Uint8Array;
}

function accepts({ contents, index, size, path, root }: Claim): boolean {
  if (index >= size) return false;
  const found = rootFromPath(leafHash(contents), index, size, path);
  return found !== undefined && sameBytes(found, root);
}

function oracleAccepts({ contents, index, size, path, root }: Claim): boolean {
  try {
    verifyMerkleInclusion(
      {
        canonicalizedBody: Buffer.from(contents),
        inclusionProof: { logIndex: String(index), hashes: path.map((node) => Buffer.from(node)) },
      },
      { logSize: size, logHash: Buffer.from(root) },
    );
    return true;
  } catch {
    return false;
  }
}

function claim(contents: readonly Uint8Array[], index: number): Claim {
  const levels = treeLevels(contents.map((content) => leafHash(content)));
  return {
    contents: contents[index] as Uint8Array,
    index: BigInt(index),
    size: BigInt(contents.length),
    path: inclusionPath(levels, index),
    root: merkleRoot(contents.map((content) => leafHash(content))),
  };
}

function flip(bytes: Uint8Array, at: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  const byte = (at >> 3) % copy.length;
  copy[byte] = (copy[byte] as number) ^ (1 << (at & 7));
  return copy;
}

describe("merkle", function () {
  this.timeout(60_000);
  const seed = Date.now() % 2 ** 31;
  before(() => console.log(`    seed ${seed}`));

  // Leaves differ: among equal ones, another index would be just as true.
  const contents = fc.uniqueArray(fc.uint8Array({ minLength: 1, maxLength: 40 }), {
    minLength: 1,
    maxLength: 70,
    selector: (bytes) => Buffer.from(bytes).toString("hex"),
  });
  const honest = fc.tuple(contents, fc.nat()).map(([list, at]) => claim(list, at % list.length));

  it("accepts every leaf of every tree up to 40, as the oracle does", () => {
    for (let size = 1; size <= 40; size++) {
      const list = Array.from({ length: size }, (_, i) => Uint8Array.of(i));
      for (let index = 0; index < size; index++) {
        expect(accepts(claim(list, index)), `${index} of ${size}`).to.equal(true);
        expect(oracleAccepts(claim(list, index)), `${index} of ${size}`).to.equal(true);
      }
    }
  });

  it("accepts every path of a random tree, as the oracle does", () => {
    fc.assert(
      fc.property(honest, (given) => accepts(given) && oracleAccepts(given)),
      { seed, numRuns: 300 },
    );
  });

  it("refuses every tampered path, as the oracle does", () => {
    const tampered = fc
      .tuple(
        honest,
        fc.constantFrom("contents", "root", "node", "longer", "shorter", "index", "swap"),
        fc.nat(),
      )
      .map(([given, what, at]): Claim => {
        const { path } = given;
        const i = at % Math.max(path.length, 1);
        switch (what) {
          case "contents":
            return { ...given, contents: flip(given.contents, at) };
          case "root":
            return { ...given, root: flip(given.root, at) };
          case "node":
            return path.length === 0
              ? { ...given, root: flip(given.root, at) }
              : { ...given, path: path.with(i, flip(path[i] as Uint8Array, at)) };
          case "longer":
            return { ...given, path: path.toSpliced(i, 0, given.root) };
          case "shorter":
            return path.length === 0
              ? { ...given, path: [given.root] }
              : { ...given, path: path.toSpliced(i, 1) };
          case "index":
            return { ...given, index: given.index === 0n ? given.size : given.index - 1n };
          case "swap":
            return path.length < 2
              ? { ...given, root: flip(given.root, at) }
              : { ...given, path: path.toReversed() };
        }
      });
    fc.assert(
      fc.property(tampered, (given) => {
        expect([accepts(given), oracleAccepts(given)]).to.deep.equal([false, false]);
      }),
      { seed, numRuns: 1000 },
    );
  });

  it("refuses every flipped bit of a leaf, a node or the root", () => {
    const given = claim(
      Array.from({ length: 7 }, (_, i) => Uint8Array.of(i)),
      4,
    );
    const all = [
      ...bits(given.contents).map((contents) => ({ ...given, contents })),
      ...bits(given.root).map((root) => ({ ...given, root })),
      ...given.path.flatMap((node, i) =>
        bits(node).map((other) => ({ ...given, path: given.path.with(i, other) })),
      ),
    ];
    for (const other of all) expect(accepts(other) || oracleAccepts(other)).to.equal(false);
  });

  it("agrees with the oracle on every index, size and length of a path", () => {
    const given = claim(
      Array.from({ length: 9 }, (_, i) => Uint8Array.of(i)),
      5,
    );
    for (let size = 1n; size <= 20n; size++) {
      for (let index = 0n; index <= size; index++) {
        for (let length = 0; length <= 6; length++) {
          const path = Array.from({ length }, (_, i) => given.path[i] ?? given.root);
          const other = { ...given, index, size, path };
          expect(accepts(other), `${index} of ${size}, ${length}`).to.equal(oracleAccepts(other));
        }
      }
    }
  });

  it("holds at sizes beyond 2^53", () => {
    const path = Array.from({ length: 64 }, (_, i) => leafHash(Uint8Array.of(i)));
    const size = 2n ** 64n - 1n;
    const leaf = leafHash(Uint8Array.of(1));
    const root = rootFromPath(leaf, 2n ** 53n + 1n, size, path) as Uint8Array;
    const given = { contents: Uint8Array.of(1), index: 2n ** 53n + 1n, size, path, root };
    expect(oracleAccepts(given)).to.equal(true);
    expect(accepts({ ...given, index: 2n ** 53n })).to.equal(false);
  });

  it("hashes leaves and nodes apart", () => {
    const [a, b] = [leafHash(Uint8Array.of(1)), leafHash(Uint8Array.of(2))];
    expect(nodeHash(a, b)).not.to.deep.equal(leafHash(a, b));
    expect(merkleRoot([a, b])).to.deep.equal(nodeHash(a, b));
    expect(merkleRoot([a])).to.deep.equal(a);
  });
});

/** Every variant of the bytes with one bit flipped. */
function bits(bytes: Uint8Array): Uint8Array[] {
  return Array.from({ length: bytes.length * 8 }, (_, at) => flip(bytes, at));
}
