import { CarReader as IndependentReader } from "@ipld/car";
import { expect } from "chai";
import { CID } from "multiformats/cid";
import {
  bundleName,
  directoryBlock,
  evidenceText,
  parseDirectory,
  parseEvidence,
  treeSize,
} from "../../src/core/bundle.js";
import { parseReceipt, rememberingChain } from "../../src/core/bundle-trail.js";
import { CarReader, looksLikeCar } from "../../src/core/car.js";
import type { Block } from "../../src/core/car.js";
import { logIdOf } from "../../src/core/head.js";
import { blocksOf, bundleWorld, carOf, joined, membersOf, pieces } from "../support/bundle.js";
import { chainScript, receiptVector } from "../support/vectors.js";
import { chainOf } from "../support/scripted-chain.js";

describe("the parts of a bundle", function () {
  this.timeout(60_000);

  it("are a CAR file as others read it", async () => {
    const { parts } = await bundleWorld({ bytes: Buffer.alloc(700_000, "abc") });
    const car = await carOf(membersOf(parts));
    expect(looksLikeCar(car)).to.equal(true);
    const reader = await IndependentReader.fromBytes(car);
    const [root] = await reader.getRoots();
    const { bytes } = (await reader.get(root as never)) as Block;
    const names = parseDirectory(bytes).map(({ name }) => name);
    expect(names).to.deep.equal(["evidence.json", "receipt.json", "report.pdf", "trail.jsonl"]);
  });

  it("are read from a CAR file block by block, whatever pieces it comes in", async () => {
    const blocks = await blocksOf(Buffer.alloc(1_000_000, "abc"));
    for (const size of [1000, 65_536, 10_000_000]) {
      const reader = await CarReader.open(pieces(joined(blocks), size));
      expect(reader.root.equals(blocks[0]?.cid)).to.equal(true);
      for (const { cid, bytes } of blocks) {
        expect(Buffer.compare(await reader.take(cid), bytes)).to.equal(0);
      }
      await reader.end();
    }
  });

  it("are no CAR file where there is a receipt", () => {
    expect(looksLikeCar(Buffer.from('{"receipt":{"roots":1}}'))).to.equal(false);
    expect(looksLikeCar(Buffer.from(""))).to.equal(false);
  });

  it("have a directory with one form", () => {
    const [name, cid] = [
      "a",
      CID.parse("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
    ];
    const links = ["trail.jsonl", "receipt.json", name, "evidence.json"].map((each) => {
      return { name: each, cid, size: 0 };
    });
    const { bytes } = directoryBlock(links);
    expect(parseDirectory(bytes)).to.deep.equal(
      links.reverse().sort((x) => (x.name === "a" ? -1 : 0)),
    );
    for (const other of [
      directoryBlock([...links, { name: "b", cid, size: 0 }]).bytes,
      directoryBlock(links.slice(1, 3)).bytes,
      directoryBlock([...links.filter((link) => link.name !== "a"), links[1]!]).bytes,
      new Uint8Array(0),
      Buffer.from("hello"),
    ]) {
      expect(() => parseDirectory(other))
        .to.throw(Error)
        .with.property("step", "directory");
    }
  });

  it("have no file that is called as a document is", () => {
    for (const name of ["", "evidence.json", "Receipt.JSON", "TRAIL.jsonl"]) {
      expect(bundleName(name)).to.equal("evidence");
    }
    for (const name of ["evidence", "trail.json", "ä.pdf"]) expect(bundleName(name)).to.equal(name);
  });

  it("have an evidence.json that says the same when it is read", async () => {
    for (const isAnchored of [true, false]) {
      const { document } = (await bundleWorld({ isAnchored, isKept: isAnchored })).parts;
      expect(parseEvidence(evidenceText(document))).to.deep.equal(document);
    }
  });

  it("know how large a file is by its first block, as IPFS counts", async () => {
    for (const length of [0, 262_144, 262_145, 60_000_000]) {
      const blocks = await blocksOf(Buffer.alloc(length));
      const all = blocks.reduce((sum, { bytes }) => sum + bytes.length, 0);
      expect(treeSize(blocks[0] as Block)).to.equal(all);
    }
  });

  it("have receipts of one form, which say how far they have come", async () => {
    const { parts } = await bundleWorld({ sealed: 2 });
    const [sealed, , accepted] = parts.trail as [string, string, string, string];
    expect(parseReceipt(sealed).entry.subject).to.equal(parts.document.subject);
    expect(parseReceipt(accepted).receipt.batch).to.equal(undefined);
    for (const other of [
      sealed.replace("_FINAL", "_ACCEPTED"),
      sealed.replace("_FINAL", "_FINAL "),
      sealed.replace(',"state":"RECORD_STATE_FINAL"', ""),
      accepted.replace("_ACCEPTED", "_FINAL"),
      `${sealed}\n`,
      sealed.replace("{", "{ "),
      JSON.stringify((JSON.parse(sealed) as { receipt: object }).receipt),
    ]) {
      expect(() => parseReceipt(other), other).to.throw(Error);
    }
  });

  it("ask the chain once for what many receipts share", async () => {
    const script = chainScript(receiptVector("valid_complaint_details").chain);
    const real = chainOf(script);
    let asked = 0;
    const counting = {
      ...real,
      batch: (...args: Parameters<typeof real.batch>) => (asked++, real.batch(...args)),
    };
    const chain = rememberingChain(counting);
    const id = { chainId: 31337n, contract: `0x${"0".repeat(40)}`, log: logIdOf("default") };
    await Promise.all([1n, 1n, 2n, 1n].map((number) => chain.batch(id, number)));
    expect(asked).to.equal(2);
  });
});
