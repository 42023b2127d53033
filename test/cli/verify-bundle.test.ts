import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import * as dagPb from "@ipld/dag-pb";
import { expect } from "chai";
import fc from "fast-check";
import { CID } from "multiformats/cid";
import * as raw from "multiformats/codecs/raw";
import * as Digest from "multiformats/hashes/digest";
import { checkBundle, requireOriginal } from "../../src/cli/bundle.js";
import { BundleFault, directoryBlock, parseDirectory } from "../../src/core/bundle.js";
import type { BundleChain, BundleLink, ExpectedBundle } from "../../src/core/bundle.js";
import { sha256 } from "../../src/core/bytes.js";
import { carHeader, carSection } from "../../src/core/car.js";
import type { Block } from "../../src/core/car.js";
import { blocksOf, bundleWorld, carOf, joined, membersOf } from "../support/bundle.js";
import { pieces, sectionsOf } from "../support/bundle.js";
import type { BundleParts, BundleWorld } from "../support/bundle.js";
import { seedOfRun } from "../support/random.js";

const OTHER_ADDRESS = `0x${"0f".repeat(20)}`;

const check = (car: Uint8Array, chain: BundleChain, expected: ExpectedBundle = {}) =>
  checkBundle(pieces(car), chain, expected);

/** The step at which a bundle is found to be false, and what is said of it; else that it is valid. */
async function failure(
  car: Uint8Array,
  chain: BundleChain,
  expected: ExpectedBundle = {},
): Promise<{ readonly step: string; readonly message: string }> {
  try {
    await check(car, chain, expected);
  } catch (error) {
    if (error instanceof BundleFault) return error;
    throw error;
  }
  return { step: "valid", message: "" };
}

/** The step at which a bundle of changed parts is found to be false. */
async function failureOf(
  { chain, parts }: BundleWorld,
  change: (parts: BundleParts) => void,
): Promise<string> {
  change(parts);
  return (await failure(await carOf(membersOf(parts)), chain)).step;
}

function blockOf(bytes: Uint8Array, codec: number): Block {
  return { cid: CID.createV1(codec, Digest.create(0x12, sha256(bytes))), bytes };
}

/** A node of a file, of any form. */
function nodeOf(links: readonly (BundleLink & { readonly length: number })[]): Block {
  const data = new BinaryWriter().tag(1, WireType.Varint).uint32(2);
  for (const { length } of links) data.tag(4, WireType.Varint).uint64(length);
  const Links = links.map(({ cid, size }) => ({ Name: "", Hash: cid, Tsize: size }));
  return blockOf(dagPb.encode({ Data: data.finish(), Links }), dagPb.code);
}

describe("a bundle", function () {
  this.timeout(300_000);

  describe("that is as it was made", () => {
    for (const [name, length] of [
      ["an empty file", 0],
      ["a file of one block", 1000],
      ["a file of two blocks", 262_145],
      ["a file whose blocks are all the same", 2_000_000],
    ] as const) {
      it(`is valid with ${name}`, async () => {
        const { chain, parts } = await bundleWorld({ bytes: Buffer.alloc(length, 7) });
        const bundle = await check(await carOf(membersOf(parts)), chain);
        expect(bundle.file).to.deep.include({ name: "report.pdf", size: length });
        expect(bundle.file?.cid).to.equal(parts.document.cid);
        expect(bundle.trail).to.deep.equal({ sealed: 4, accepted: 0 });
        expect(bundle.anchor?.blockNumber).to.equal(40);
        expect(bundle.batch?.time).to.equal(1_800_000_001n);
      });
    }

    it("is valid whatever pieces it is read in, and with any file", async () => {
      const seed = seedOfRun();
      console.log(`      seed ${seed}`);
      const files = fc.uint8Array({ maxLength: 2000 });
      const names = fc.constantFrom("a", "evidence.txt", "r", "trail", "z€", "");
      const property = fc.asyncProperty(
        files,
        names,
        fc.integer({ min: 1, max: 999 }),
        async (bytes, fileName, size) => {
          const { chain, parts } = await bundleWorld({ bytes, fileName });
          const car = await carOf(membersOf(parts));
          const { file } = await checkBundle(pieces(car, size), chain, {});
          expect(file?.size).to.equal(bytes.length);
        },
      );
      await fc.assert(property, { seed, numRuns: 50 });
    });

    it("proves of a trail what was sealed, and says what was not", async () => {
      const { chain, parts } = await bundleWorld({ sealed: 2 });
      const { trail, batch } = await check(await carOf(membersOf(parts)), chain);
      expect(trail).to.deep.equal({ sealed: 2, accepted: 2 });
      expect(batch).not.to.equal(undefined);
    });

    it("is not anchored while neither its record nor itself is on the chain", async () => {
      const { chain, parts } = await bundleWorld({ sealed: 0, isAnchored: false });
      const { trail, batch, anchor } = await check(await carOf(membersOf(parts)), chain);
      expect(trail).to.deep.equal({ sealed: 0, accepted: 4 });
      expect([batch, anchor]).to.deep.equal([undefined, undefined]);
    });

    it("takes the anchor of a chain that has come further than the bundle", async () => {
      const { chain, parts } = await bundleWorld();
      delete (parts.document as { anchor?: unknown }).anchor;
      const { anchor } = await check(await carOf(membersOf(parts)), chain);
      expect(anchor?.blockNumber).to.equal(40);
    });

    it("is compared with the chain, log and registry that are expected", async () => {
      const { chain, parts } = await bundleWorld();
      const car = await carOf(membersOf(parts));
      const step = async (expected: ExpectedBundle) => (await failure(car, chain, expected)).step;
      expect(await step({ chainId: 1337n, registry: parts.document.contract })).to.equal("valid");
      expect(await step({ chainId: 1n })).to.equal("receipt/identity");
      expect(await step({ contract: OTHER_ADDRESS })).to.equal("receipt/identity");
      expect(await step({ log: new Uint8Array(32) })).to.equal("receipt/identity");
      expect(await step({ registry: OTHER_ADDRESS })).to.equal("registry");
    });
  });

  describe("of a hash", () => {
    const original = Buffer.from("it was me\n");

    it("is valid without the file, and tells the file from others", async () => {
      const { chain, parts } = await bundleWorld({ isKept: false, bytes: original });
      const { file, document } = await check(await carOf(membersOf(parts)), chain);
      expect(file).to.equal(undefined);
      expect((await requireOriginal(document, pieces(original))).size).to.equal(original.length);
      const other = requireOriginal(document, pieces(Buffer.from("it was you\n")));
      expect(await other.catch((error: unknown) => error)).to.be.instanceOf(BundleFault);
    });

    it("is valid with a file that came later", async () => {
      const { chain, parts } = await bundleWorld({ isKept: false, bytes: original });
      const [{ cid }] = (await blocksOf(original)) as [Block];
      parts.file = { name: "report.pdf", bytes: original };
      parts.document = { ...parts.document, cid: cid.toString(), size: String(original.length) };
      expect((await check(await carOf(membersOf(parts)), chain)).file?.name).to.equal("report.pdf");
    });
  });

  it("is false with any bit changed", async () => {
    const { chain, parts } = await bundleWorld({ fileName: "zuletzt.txt", records: 1 });
    const car = await carOf(membersOf(parts));
    expect((await failure(car, chain)).step).to.equal("valid");
    for (let bit = 0; bit < car.length * 8; bit++) {
      car[bit >> 3]! ^= 1 << (bit & 7);
      const { step, message } = await failure(car, chain);
      expect(["blocks", "directory"], `bit ${bit}`).to.include(step);
      expect(message).not.to.equal("");
      car[bit >> 3]! ^= 1 << (bit & 7);
    }
  });

  it("is false when it is cut anywhere, or goes on", async () => {
    const { chain, parts } = await bundleWorld({ records: 1 });
    const car = await carOf(membersOf(parts));
    for (let length = 0; length < car.length; length++) {
      const { step, message } = await failure(car.subarray(0, length), chain);
      expect(step, `${length} bytes`).to.equal("blocks");
      expect(message).to.include("cut short");
    }
    const { step, message } = await failure(Buffer.concat([car, Buffer.of(0)]), chain);
    expect([step, message]).to.deep.equal(["blocks", "it goes on behind its last block"]);
  });

  it("is false with any piece of it left out, doubled, or put elsewhere", async () => {
    const { chain, parts } = await bundleWorld({ bytes: Buffer.alloc(600_000, "abc") });
    const blocks = await sectionsOf(membersOf(parts));
    expect(blocks.length).to.be.greaterThan(6);
    for (const [i, block] of blocks.entries()) {
      const without = blocks.filter((_, j) => j !== i);
      for (const changed of [without, [...without, block], [...blocks, block]]) {
        if (i === blocks.length - 1 && changed.length === blocks.length) continue; // as it was
        const car = Buffer.concat([carHeader(blocks[0]!.cid), ...changed.map(carSection)]);
        expect((await failure(car, chain)).step, `block ${i}`).to.equal("blocks");
      }
      if (i === 0) continue;
      const { step } = await failure(joined(blocks.slice(i)), chain);
      expect(step, `root ${i}`).to.be.oneOf(["blocks", "directory"]);
    }
  });

  describe("with blocks that are what they say, and lie", () => {
    let world: BundleWorld;

    beforeEach(async () => {
      world = await bundleWorld();
    });

    const fails = (name: string, step: string, change: (parts: BundleParts) => void) =>
      it(`is false at step ${step}: ${name}`, async () => {
        expect(await failureOf(world, change)).to.equal(step);
      });

    for (const [name, value] of [
      ["format", "anchord/evidence/v2"],
      ["subject", "complaint/ABC12346"],
      ["subjectKey", "0".repeat(64)],
      ["sha256", "0".repeat(64)],
      ["sha256", "A".repeat(64)],
      ["cid", "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"],
      ["cid", undefined],
      ["size", "11"],
      ["size", "010"],
      ["size", undefined],
      ["evidenceId", "0".repeat(64)],
      ["more", "than that"],
    ] as const) {
      fails(`${name} is ${value}`, "evidence", ({ document }) => {
        Object.assign(document, { [name]: value });
        if (value === undefined) Reflect.deleteProperty(document, name);
      });
    }
    fails("another chain", "receipt/identity", ({ document }) => {
      document.chainId = "1338";
    });
    fails("another registry", "registry", ({ document }) => {
      document.contract = OTHER_ADDRESS;
    });
    for (const [name, value] of [
      ["submitter", OTHER_ADDRESS],
      ["blockTime", "2027-01-15T08:01:39Z"],
      ["blockNumber", "41"],
      ["blockHash", `0x${"0".repeat(64)}`],
      ["transactionHash", `0x${"0".repeat(64)}`],
      ["transactionHash", `0xe${"28".padStart(63, "0")}`], // another of its block
    ] as const) {
      fails(`${name} of the anchor is ${value}`, "registry", ({ document }) => {
        Object.assign(document.anchor as object, { [name]: value });
      });
    }

    fails("a record of the trail is left out", "trail", ({ trail }) => trail.splice(2, 1));
    fails("the first one is left out", "trail", ({ trail }) => trail.shift());
    fails("its own record is left out", "trail", ({ trail }) => trail.splice(1));
    fails("two records are swapped", "trail", ({ trail }) => trail.push(trail.splice(2, 1)[0]!));
    fails("a record comes twice", "trail", ({ trail }) => trail.push(trail[3]!));
    fails("a line is empty", "trail", ({ trail }) => trail.push(""));
    fails("a line has space", "trail", ({ trail }) => (trail[0] = ` ${trail[0]}`));
    fails("a state is another", "trail", ({ trail }) => {
      trail[0] = (trail[0] as string).replace("FINAL", "ACCEPTED");
    });
    fails("its own record is told otherwise", "trail", ({ trail }) => {
      trail[1] = (trail[1] as string).replace("FINAL", "ANCHORED");
    });
    fails("a record has another transaction", "trail/anchor", ({ trail }) => {
      trail[3] = (trail[3] as string).replace(/("transactionHash":"0x)c/, "$1d");
    });
    fails("a record has another transaction of its block", "trail/anchor", ({ trail }) => {
      trail[3] = (trail[3] as string).replace(/("transactionHash":"0x)c/, "$1e");
    });
    fails("receipt.json is another's", "evidence", (parts) => (parts.own = parts.trail[0]!));
    fails("receipt.json is no JSON", "receipt/format", (parts) => (parts.own = "{"));
    fails("receipt.json is deep", "receipt/format", (parts) => (parts.own = "[".repeat(900_000)));
    fails("receipt.json has space", "receipt/format", (parts) => (parts.own += " "));
    fails("receipt.json is long", "file", (parts) => (parts.own += " ".repeat(2_000_000)));
    fails("a line is long", "file", ({ trail }) => trail.push("x".repeat(2_000_000)));
    fails("a trail without end of line", "trail", (parts) => (parts.trail[4] = "x\ny\n\nz"));

    fails("the file is another", "file", ({ file }) => (file!.bytes = Buffer.from("it was you")));
    fails("the file is longer", "file", ({ file }) => (file!.bytes = Buffer.alloc(400_000)));
    fails("the file is missing", "file", (parts) => (parts.file = undefined));
    fails("the file has another name", "directory", ({ file }) => (file!.name = "other.pdf"));

    it("is false with a sealed record behind one that is not", async () => {
      const { chain, parts } = await bundleWorld({ sealed: 2 });
      parts.trail = [parts.trail[0]!, parts.trail[2]!, parts.trail[1]!];
      const { step, message } = await failure(await carOf(membersOf(parts)), chain);
      expect(step).to.equal("trail");
      expect(message).to.equal("record 2: it is sealed, and the one before it is not");
    });

    it("is false with a record of another subject, sealed or not", async () => {
      const other = await bundleWorld({ sealed: 0, subject: "complaint/other" });
      const mine = await bundleWorld({ sealed: 2 });
      const change = ({ trail }: BundleParts) => trail.push(other.parts.trail[0]!);
      expect(await failureOf(mine, change)).to.equal("trail");
    });
  });

  describe("with another form than bundles have", () => {
    let world: BundleWorld;
    let members: Map<string, Uint8Array>;

    beforeEach(async () => {
      world = await bundleWorld({ fileName: "zuletzt" });
      members = membersOf(world.parts);
    });

    const expectFalse = async (car: Uint8Array, step: string, message: RegExp) => {
      const found = await failure(car, world.chain);
      expect(found.step).to.equal(step);
      expect(found.message).to.match(message);
    };

    /** A bundle whose last member is made of these blocks. */
    const withFile = async (blocks: readonly Block[], size: number) => {
      const sections = await sectionsOf(members);
      const links = parseDirectory(sections[0]!.bytes);
      const link = { name: "zuletzt", cid: blocks[0]!.cid, size };
      return joined([
        directoryBlock([...links.slice(0, 3), link]),
        ...sections.slice(1, 4),
        ...blocks,
      ]);
    };

    it("is false with a document missing, or a file more", async () => {
      members.set("a", Buffer.from("a"));
      await expectFalse(await carOf(members), "directory", /more than its documents and one file/);
      members.delete("a");
      members.delete("trail.jsonl");
      await expectFalse(await carOf(members), "directory", /has no trail\.jsonl/);
    });

    it("is false with an evidence.json of any other form", async () => {
      const text = Buffer.from(members.get("evidence.json")!).toString();
      const { sha256: digest } = world.parts.document;
      for (const other of [
        ` ${text}`,
        text.trimEnd(),
        `${text}\n`,
        `\ufeff${text}`,
        text.replace("{", '{"sha256":"",'),
        text
          .replace(`"sha256":"${digest}",`, "") // and at the end of it
          .replace("}\n", `,"sha256":"${digest}"}\n`),
        "null\n",
        "[]\n",
        "",
      ]) {
        members.set("evidence.json", Buffer.from(other));
        expect((await failure(await carOf(members), world.chain)).step, other).to.equal("evidence");
      }
      members.set("evidence.json", Buffer.of(0xff));
      await expectFalse(await carOf(members), "file", /evidence\.json is not UTF-8/);
    });

    it("is false with a length that is huge, not the shortest, or none", async () => {
      const [root, ...others] = (await sectionsOf(members)) as [Block, ...Block[]];
      const rest = others.map(carSection);
      const section = Buffer.from(carSection(root)).subarray(2);
      const first = (...length: number[]) =>
        Buffer.concat([carHeader(root.cid), Buffer.of(...length), section, ...rest]);
      const length = root.bytes.length + 36;
      expect((await failure(first((length & 127) | 128, length >> 7), world.chain)).step).to.equal(
        "valid",
      );
      const huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
      await expectFalse(first(...huge), "blocks", /too large/);
      await expectFalse(first(0xff, 0xff, 0xff, 0x7f), "blocks", /too large/);
      await expectFalse(
        first((length & 127) | 128, (length >> 7) | 128, 0),
        "blocks",
        /shortest form/,
      );
      await expectFalse(first(0), "blocks", /no block/);
    });

    it("is false with a header that has more than one root, none, or another version", async () => {
      const car = await carOf(members);
      const header = car.subarray(0, 59);
      const text = (find: string, by: string) =>
        Buffer.concat([
          Buffer.from(header.toString("latin1").replace(find, by), "latin1"),
          car.subarray(59),
        ]);
      for (const other of [
        text("\x67version\x01", "\x67version\x02"),
        text("\x81\xd8", "\x82\xd8"),
        text("\xd8\x2a", "\xd8\x2b"),
        Buffer.concat([Buffer.of(0x80 | 0x3a, 0), car.subarray(1)]),
      ]) {
        await expectFalse(other, "blocks", /header/);
      }
    });

    it("is false with a file that is imported in another way", async () => {
      const bytes = Buffer.from("it was me\n");
      const leaf = blockOf(bytes, raw.code);
      const link = { name: "", cid: leaf.cid, size: bytes.length, length: bytes.length };
      const wrapped = nodeOf([link]);
      const size = wrapped.bytes.length + bytes.length;
      await expectFalse(await withFile([wrapped, leaf], size), "file", /its bytes have/);
      await expectFalse(await withFile([leaf], size), "directory", /in blocks, not/);
    });

    it("is false with deep and with wide trees of links, however many bytes they stand for", async () => {
      const leaf = blockOf(Buffer.from("a"), raw.code);
      let below = [leaf];
      let link = { name: "", cid: leaf.cid, size: 1, length: 1 };
      for (let depth = 0; depth < 2000; depth++) {
        const node = nodeOf([link]);
        below = [node, ...below];
        link = { ...link, cid: node.cid, size: link.size + node.bytes.length };
      }
      await expectFalse(await withFile(below, link.size), "file", /its bytes have/);

      const wide = nodeOf(Array.from({ length: 10_000 }, () => ({ ...link, cid: leaf.cid })));
      await expectFalse(await withFile([wide], 1), "file", /more blocks at once/);

      // Twice itself, fifty times over: 2^50 bytes, if anybody went through it.
      let double = { name: "", cid: leaf.cid, size: 1, length: 1 };
      const nodes: Block[] = [leaf];
      for (let depth = 0; depth < 50; depth++) {
        const node = nodeOf([double, double]);
        nodes.unshift(node);
        double = { ...double, cid: node.cid, length: double.length * 2 };
      }
      await expectFalse(await withFile(nodes, 1), "blocks", /cut short/);
    });

    it("is false with a directory in place of the file, or a block of no known kind", async () => {
      const folder = directoryBlock([]);
      await expectFalse(await withFile([folder], 4), "blocks", /not part of a file/);
      const strange = blockOf(Buffer.from("x"), 0x71);
      await expectFalse(await withFile([strange], 1), "blocks", /not of version 1, raw or dag-pb/);
    });
  });
});
