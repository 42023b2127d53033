import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, toBinary, toJson } from "@bufbuild/protobuf";
import { expect } from "chai";
import { EntrySchema } from "../../gen/ts/anchord/v1/receipt_pb.js";
import { hex, sha256, unhex } from "../../src/core/bytes.js";
import { genesisHead, logIdOf, nextHead } from "../../src/core/head.js";
import { inclusionPath, merkleRoot, rootFromPath, treeLevels } from "../../src/core/merkle.js";
import { bodyOf, decodeEntry } from "../../src/core/record.js";
import { trailLeaf } from "../../src/core/trail.js";
import { run } from "../support/run.js";
import { chainScript, checkText, vectors } from "../support/vectors.js";

describe("docs/vectors/receipts.json", () => {
  it("is what scripts/gen-vectors.mjs writes", async function () {
    this.timeout(30_000);
    const directory = mkdtempSync(join(tmpdir(), "anchord-vectors-"));
    try {
      const file = join(directory, "receipts.json");
      const { code, stderr } = await run(process.execPath, ["scripts/gen-vectors.mjs", file]);
      expect(code, stderr).to.equal(0);
      const [written, kept] = [file, "docs/vectors/receipts.json"].map((path) =>
        readFileSync(path, "utf8"),
      );
      expect(written === kept, "run scripts/gen-vectors.mjs").to.equal(true);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it("has every digest that docs/receipts.md shows", () => {
    const all = readFileSync("docs/vectors/receipts.json", "utf8");
    const shown = readFileSync("docs/receipts.md", "utf8").match(/\b[0-9a-f]{64}\b/g) ?? [];
    expect(shown).to.have.length.greaterThan(15);
    for (const digest of shown) expect(all).to.include(digest);
  });

  describe("entries", () => {
    for (const { name, hex: text, id, fields } of vectors.entries) {
      it(name, () => {
        const entry = decodeEntry(unhex(text));
        expect(hex(sha256(unhex(text)))).to.equal(id);
        expect(hex(toBinary(EntrySchema, entry))).to.equal(text);
        if (fields !== null) expect(toJson(EntrySchema, entry)).to.deep.equal(fields);
      });
    }

    it("have every body, with and without details and request_id", () => {
      const entries = vectors.entries.map(({ hex: text }) => decodeEntry(unhex(text)));
      for (const { localName: body, message } of EntrySchema.oneofs[0]?.fields ?? []) {
        const details = entries
          .filter((entry) => entry.body.case === body)
          .map((entry) => entry.details !== "");
        const hasFreePart = message?.fields.some(({ name }) => /^(details|data)$/.test(name));
        const expected = hasFreePart ? [false, true] : [false];
        expect([...new Set(details)].sort(), body).to.deep.equal(expected);
      }
      expect(new Set(entries.map((entry) => entry.requestId !== ""))).to.have.lengthOf(2);
    });

    it("put details back in place, whatever their members are called", () => {
      const vector = vectors.entries.find(({ name }) => name === "custom_keys");
      const body = bodyOf(decodeEntry(unhex(vector?.hex ?? "")));
      const data = body.case === "custom" ? body.value.data : undefined;
      expect(Object.keys(data ?? {})).to.include.members(["__proto__", "constructor", "10", "9"]);
      expect(Object.getPrototypeOf(data)).to.equal(Object.prototype);
    });

    it("have evidence of every size that there is: none, 0, and up to 64 bits", () => {
      const sizes = vectors.entries.flatMap(({ hex: text }) => {
        const { body } = decodeEntry(unhex(text));
        return body.case === "evidenceAdded" ? [body.value.size] : [];
      });
      expect(sizes).to.include.members([undefined, 0n, 2n ** 64n - 1n]);
    });

    it("keep -0.0 apart from the default", () => {
      const value = { scale: 1, severity: 1, durationMinutes: -0 };
      const bytes = toBinary(EntrySchema, create(EntrySchema, { body: { case: "threat", value } }));
      expect(hex(bytes)).to.include("110000000000000080");
    });
  });

  describe("refused entries", () => {
    for (const { name, why, hex: text } of vectors.refusedEntries) {
      it(`${name}: ${why}`, () => {
        expect(() => decodeEntry(unhex(text))).to.throw();
      });
    }
  });

  it("trail leaves", () => {
    for (const { entryHash, index, previousLeaf, leaf } of vectors.trailLeaves) {
      expect(hex(trailLeaf(unhex(entryHash), BigInt(index), unhex(previousLeaf)))).to.equal(leaf);
    }
  });

  for (const { leaves, root, paths } of vectors.trees) {
    it(`tree of ${leaves.length}`, () => {
      const levels = treeLevels(leaves.map(unhex));
      expect(hex(merkleRoot(leaves.map(unhex)))).to.equal(root);
      for (const [i, leaf] of leaves.entries()) {
        expect(inclusionPath(levels, i).map(hex)).to.deep.equal(paths[i]);
        const found = rootFromPath(
          unhex(leaf),
          BigInt(i),
          BigInt(leaves.length),
          (paths[i] ?? []).map(unhex),
        );
        expect(hex(found ?? new Uint8Array())).to.equal(root);
      }
    });
  }

  it("log ids", () => {
    for (const { name, log } of vectors.logIds) expect(hex(logIdOf(name))).to.equal(log);
  });

  it("genesis heads", () => {
    for (const { chainId, contract, log, head } of vectors.genesisHeads) {
      expect(hex(genesisHead({ chainId: BigInt(chainId), contract, log: unhex(log) }))).to.equal(
        head,
      );
    }
  });

  it("next heads", () => {
    for (const {
      head,
      number,
      root,
      size,
      manifestDigest,
      trailsRoot,
      nonce,
      next,
    } of vectors.nextHeads) {
      const seal = {
        number: BigInt(number),
        root: unhex(root),
        size: BigInt(size),
        manifestDigest: unhex(manifestDigest),
        trailsRoot: unhex(trailsRoot),
        nonce: BigInt(nonce),
      };
      expect(hex(nextHead(unhex(head), seal))).to.equal(next);
    }
  });

  describe("receipts", () => {
    for (const vector of vectors.receipts) {
      it(vector.name, async () => {
        const text = JSON.stringify(vector.receipt);
        const found = await checkText(text, chainScript(vector.chain), vector.expect);
        expect([found.verdict, "step" in found ? found.step : null]).to.deep.equal([
          vector.verdict,
          vector.failedStep,
        ]);
      });
    }
  });
});
