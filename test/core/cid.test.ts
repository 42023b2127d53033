import { randomBytes } from "node:crypto";
import { expect } from "chai";
import fc from "fast-check";
import { base2 } from "multiformats/bases/base2";
import { base10 } from "multiformats/bases/base10";
import { base16upper } from "multiformats/bases/base16";
import { base32upper } from "multiformats/bases/base32";
import { base36 } from "multiformats/bases/base36";
import { base58btc } from "multiformats/bases/base58";
import { base64url } from "multiformats/bases/base64";
import { base256emoji } from "multiformats/bases/base256emoji";
import { CID } from "multiformats/cid";
import * as Digest from "multiformats/hashes/digest";
import { hex, sha256 } from "../../src/core/bytes.js";
import { cidOfBytes, parseCid, rawSha256Of } from "../../src/core/cid.js";

const HELLO = "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4";
const EMPTY_FOLDER = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";

describe("CIDs as text", () => {
  it("are taken in version 0 and 1", () => {
    expect(parseCid(HELLO)?.text).to.equal(HELLO);
    expect(parseCid(HELLO)?.bytes).to.have.length(36);
    expect(parseCid(EMPTY_FOLDER)?.text).to.equal(EMPTY_FOLDER);
    expect(parseCid(EMPTY_FOLDER)?.bytes).to.have.length(34);
  });

  it("are taken in any multibase, and told in base32", () => {
    const cid = CID.parse(HELLO);
    const bases = [base2, base10, base16upper, base32upper, base36, base58btc, base64url];
    for (const base of [...bases, base256emoji]) {
      const parsed = parseCid(base.encode(cid.bytes));
      expect(parsed?.text, base.name).to.equal(HELLO);
      expect(hex(parsed!.bytes), base.name).to.equal(hex(cid.bytes));
    }
  });

  const short = CID.createV1(0x55, Digest.create(0x12, randomBytes(20)));
  const long = CID.createV1(0x55, Digest.create(0, randomBytes(61)));
  const most = CID.createV1(0x55, Digest.create(0, randomBytes(60)));
  const { bytes } = CID.parse(HELLO);
  const refused: Readonly<Record<string, string>> = {
    nothing: "",
    "a base alone": "b",
    "no multibase": HELLO.slice(1),
    "a base that there is not": `!${HELLO.slice(1)}`,
    "a changed alphabet": HELLO.replace("a", "0"),
    "a lost end": HELLO.slice(0, -1),
    "a space at its end": `${HELLO} `,
    "a path": `/ipfs/${HELLO}`,
    "too much": `${HELLO}aa`,
    "version 0 without its end": EMPTY_FOLDER.slice(0, -1),
    "version 0 in a multibase": base58btc.encode(CID.parse(EMPTY_FOLDER).bytes),
    "version 2": base58btc.encode(Uint8Array.of(2, ...bytes.subarray(1))),
    "a SHA-256 of 20 bytes": short.toString(),
    "more than 64 bytes": long.toString(),
    "a number that is longer than it need be": base58btc.encode(
      Uint8Array.of(1, 0xd5, 0, ...bytes.subarray(2)),
    ),
    "a megabyte": `z${"1".repeat(1024 * 1024)}`,
  };
  for (const [what, text] of Object.entries(refused)) {
    it(`are refused: ${what}`, () => {
      expect(parseCid(text)).to.equal(undefined);
    });
  }

  it("may have 64 bytes", () => {
    expect(parseCid(most.toString())?.bytes).to.have.length(64);
    expect(cidOfBytes(most.bytes)?.text).to.equal(most.toString());
    expect(cidOfBytes(long.bytes)).to.equal(undefined);
  });

  it("never make anything throw", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        parseCid(text);
        parseCid(`b${text}`);
        parseCid(`Qm${text}`);
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70 }), (some) => {
        const cid = cidOfBytes(some);
        if (cid !== undefined) expect(parseCid(cid.text)).to.deep.equal(cid);
      }),
    );
  });

  it("have the hash of a file of one block, and of no other", () => {
    const content = Buffer.from("hello world\n");
    expect(hex(rawSha256Of(parseCid(HELLO)!)!)).to.equal(hex(sha256(content)));
    expect(rawSha256Of(parseCid(EMPTY_FOLDER)!)).to.equal(undefined);
    expect(rawSha256Of(parseCid(most.toString())!)).to.equal(undefined);
    const node = CID.createV1(0x70, Digest.create(0x12, randomBytes(32)));
    expect(rawSha256Of(parseCid(node.toString())!)).to.equal(undefined);
  });
});
