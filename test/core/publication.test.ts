import { createCipheriv, createHash, hkdfSync, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect } from "chai";
import { CID } from "multiformats/cid";
import * as Digest from "multiformats/hashes/digest";
import { BatchManifestSchema } from "../../gen/ts/anchord/v1/manifest_pb.js";
import { hex, sha256 } from "../../src/core/bytes.js";
import {
  contentKeyOf,
  piecesOf,
  publicationOf,
  readManifest,
  readPiece,
} from "../../src/core/publication.js";
import type { PieceSecrets, Publication } from "../../src/core/publication.js";

const MIB = 1024 * 1024;
const SECRETS: PieceSecrets = {
  key: contentKeyOf(Buffer.alloc(32, 1)),
  genesisHead: Buffer.alloc(32, 2),
  root: Buffer.alloc(32, 3),
};
const BATCH = { ...SECRETS, createTime: 1_769_903_998_125 };

function readAll({ manifest, digest, pieces }: Publication, secrets = SECRETS): Uint8Array[] {
  const { pieces: digests } = readManifest(manifest, digest);
  expect(digests).to.have.length(pieces.length);
  return digests.flatMap((expected, i) => readPiece(pieces[i]!, expected, i, secrets));
}

/** How many entries each piece has. */
function cut({ pieces }: Publication): number[] {
  return pieces.map((piece, i) => readPiece(piece, sha256(piece), i, SECRETS).length);
}

function expectSame(actual: readonly Uint8Array[], expected: readonly Uint8Array[]): void {
  expect(actual.length).to.equal(expected.length);
  expect(actual.every((entry, i) => Buffer.compare(entry, expected[i]!) === 0)).to.equal(true);
}

/** With one bit changed. */
function flipped(bytes: Uint8Array, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[bit >> 3]! ^= 1 << (bit & 7);
  return copy;
}

/** A block as the format asks for it, made with primitives alone. */
function sealed(plain: Uint8Array, index: number): Buffer {
  const info = Buffer.concat([Buffer.from("anchord/batch/v1"), SECRETS.genesisHead]);
  const key = Buffer.from(hkdfSync("sha256", SECRETS.key.bytes, SECRETS.root, info, 32));
  const nonce = Buffer.alloc(12);
  nonce.writeUInt32BE(index, 8);
  const cipher = createCipheriv("aes-256-gcm", key, nonce);
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

describe("a publication", () => {
  const entries = Array.from({ length: 5000 }, (_, i) => randomBytes(1 + ((i * 37) % 900)));

  it("gives back every entry in order", () => {
    const published = publicationOf(entries, BATCH);
    expect(published.pieces.length).to.be.greaterThan(1);
    expectSame(readAll(published), entries);
  });

  it("says when the batch was closed, and with which key to read it", () => {
    const { manifest, digest } = publicationOf([Buffer.from("x")], BATCH);
    const { keyId, createTime } = readManifest(manifest, digest);
    expect(hex(keyId)).to.equal(hex(SECRETS.key.id));
    expect(createTime).to.equal(BATCH.createTime);
    for (const time of [0, 1, 999, -1, 253_402_300_799_999]) {
      const other = publicationOf([Buffer.from("x")], { ...BATCH, createTime: time });
      expect(readManifest(other.manifest, other.digest).createTime).to.equal(time);
    }
  });

  it("has the same bytes whenever it is made", () => {
    const first = publicationOf(entries, BATCH);
    const again = publicationOf(
      entries.map((entry) => Uint8Array.from(entry)),
      { ...BATCH, key: contentKeyOf(Buffer.alloc(32, 1)) },
    );
    expect(hex(again.digest)).to.equal(hex(first.digest));
    expectSame(again.pieces, first.pieces);
  });

  it("has none of its bytes in common with one of another key, log or batch", () => {
    const one = publicationOf([Buffer.alloc(1000)], BATCH);
    const others = [
      { ...BATCH, key: contentKeyOf(Buffer.alloc(32, 9)) },
      { ...BATCH, genesisHead: Buffer.alloc(32, 9) },
      { ...BATCH, root: Buffer.alloc(32, 9) },
    ];
    for (const other of others) {
      const [piece] = publicationOf([Buffer.alloc(1000)], other).pieces;
      expect(hex(piece!.subarray(0, 16))).not.to.equal(hex(one.pieces[0]!.subarray(0, 16)));
    }
  });

  it("is not made of nothing", () => {
    expect(() => publicationOf([], BATCH)).to.throw("without entries");
  });

  it("makes its pieces one at a time", () => {
    let taken = 0;
    const source = (function* () {
      for (; taken < 100; taken++) yield Buffer.alloc(MIB / 4);
    })();
    piecesOf(source, SECRETS).next();
    expect(taken).to.be.lessThan(6);
  });

  it("takes some milliseconds for a batch of 8,192 records", () => {
    const batch = Array.from({ length: 8192 }, () => randomBytes(300));
    const spans = Array.from({ length: 5 }, () => {
      const start = performance.now();
      publicationOf(batch, BATCH);
      return performance.now() - start;
    });
    expect(Math.min(...spans)).to.be.lessThan(200); // some 10 where nothing else runs
  });
});

describe("pieces", () => {
  const overhead = 4; // tag, and a length of three bytes
  const cases: readonly [string, readonly number[], readonly number[]][] = [
    ["one that just fits", [MIB - overhead], [1]],
    ["one byte too many", [MIB - overhead + 1], [1]],
    ["one much larger alone in its piece", [10, 3 * MIB, 10], [1, 1, 1]],
    ["two that just fit", [MIB / 2 - overhead, MIB / 2 - overhead], [2]],
    ["two with one byte too many", [MIB / 2 - overhead, MIB / 2 - overhead + 1], [1, 1]],
    ["a small one that fills up", [MIB - overhead - 10, 8], [2]],
    ["a small one that does not fit any more", [MIB - overhead - 10, 9], [1, 1]],
    ["lengths of two bytes", [MIB - overhead - 131, 128], [2]],
    ["lengths of two bytes that do not fit", [MIB - overhead - 130, 128], [1, 1]],
  ];
  for (const [what, sizes, expected] of cases) {
    it(`hold whole entries of at most 1 MiB: ${what}`, () => {
      const entries = sizes.map((size) => randomBytes(size));
      const published = publicationOf(entries, BATCH);
      expect(cut(published)).to.deep.equal(expected);
      expectSame(readAll(published), entries);
      const mayBeLarger = sizes.some((size) => size + overhead > MIB);
      const largest = Math.max(...published.pieces.map(({ length }) => length));
      if (!mayBeLarger) expect(largest).to.be.at.most(MIB + 16);
    });
  }
});

describe("the content key", () => {
  it("is named by the start of a hash of its own kind", () => {
    const bytes = Buffer.from("00112233445566778899aabbccddeeff".repeat(2), "hex");
    const expected = createHash("sha256").update("anchord/content-key/v1").update(bytes).digest();
    expect(hex(contentKeyOf(bytes).id)).to.equal(hex(expected.subarray(0, 8)));
  });

  it("has 32 bytes", () => {
    expect(() => contentKeyOf(Buffer.alloc(31))).to.throw("32 bytes, not 31");
  });
});

describe("a publication that was tampered with", () => {
  const entries = [Buffer.from("first"), Buffer.from("second")];
  const { manifest, digest, pieces } = publicationOf(entries, BATCH);
  const [block] = pieces as [Uint8Array];

  it("is refused with any bit of its manifest changed", () => {
    for (let bit = 0; bit < manifest.length * 8; bit++) {
      expect(() => readManifest(flipped(manifest, bit), digest)).to.throw(
        "the manifest has SHA-256",
      );
    }
    expect(() => readManifest(manifest.subarray(1), digest)).to.throw("the manifest has SHA-256");
  });

  it("is refused with any bit of a piece changed", () => {
    for (let bit = 0; bit < block.length * 8; bit++) {
      const other = flipped(block, bit);
      expect(() => readPiece(other, sha256(block), 0, SECRETS)).to.throw("piece 0 has SHA-256");
      expect(() => readPiece(other, sha256(other), 0, SECRETS)).to.throw(
        "piece 0 cannot be decrypted",
      );
    }
  });

  it("is refused for another key, log, batch or place", () => {
    const refused = (secrets: PieceSecrets, index = 0) =>
      expect(() => readPiece(block, sha256(block), index, secrets)).to.throw("cannot be decrypted");
    refused({ ...SECRETS, key: contentKeyOf(Buffer.alloc(32, 9)) });
    refused({ ...SECRETS, genesisHead: Buffer.alloc(32, 9) });
    refused({ ...SECRETS, root: Buffer.alloc(32, 9) });
    refused(SECRETS, 1);
  });

  it("never has the key in its message", () => {
    const key = contentKeyOf(Buffer.alloc(32, 0xab));
    expect(() => readPiece(block, sha256(block), 0, { ...SECRETS, key }))
      .to.throw()
      .with.property("message")
      .that.does.not.contain("abababab");
  });

  for (const length of [0, 1, 15, 16]) {
    it(`is refused with a block of ${length} bytes`, () => {
      const short = block.subarray(0, length);
      expect(() => readPiece(short, sha256(short), 0, SECRETS)).to.throw("cannot be decrypted");
    });
  }

  const wrongPieces: readonly [string, string, RegExp][] = [
    ["no entries", "", /has no entries/],
    ["an unknown field", "0a0178120179", /not canonical/],
    ["a length of too many bytes", "0a810078", /not canonical/],
    ["bytes that are no message", "0a05", /piece 0 cannot be decoded/],
  ];
  for (const [what, plain, message] of wrongPieces) {
    it(`is refused with ${what} in a piece, even by the holder of the key`, () => {
      const other = sealed(Buffer.from(plain, "hex"), 0);
      expect(() => readPiece(other, sha256(other), 0, SECRETS)).to.throw(message);
    });
  }

  const right = {
    format: 1,
    keyId: SECRETS.key.id,
    createTime: timestampFromMs(BATCH.createTime),
    pieces: [sha256(block)],
  };
  const time = (seconds: bigint, nanos: number) => ({
    createTime: { $typeName: "google.protobuf.Timestamp" as const, seconds, nanos },
  });
  const wrongManifests: readonly [string, object, RegExp][] = [
    ["another format", { format: 2 }, /has format 2; only format 1/],
    ["no format", { format: 0 }, /has format 0/],
    ["a short key id", { keyId: Buffer.alloc(7) }, /key_id has 7 bytes/],
    ["no time", { createTime: undefined }, /no create_time/],
    ["microseconds", time(1n, 1_001_000), /whole milliseconds/],
    ["negative nanoseconds", time(1n, -1_000_000), /whole milliseconds/],
    ["a second too many", time(1n, 1_000_000_000), /whole milliseconds/],
    ["a time outside of the calendar", time(253_402_300_800n, 0), /whole milliseconds/],
    ["no pieces", { pieces: [] }, /no pieces/],
    ["a short digest", { pieces: [Buffer.alloc(31)] }, /piece 0 has 31 bytes/],
    ["an empty digest", { pieces: [Buffer.alloc(32), Buffer.alloc(0)] }, /piece 1 has 0 bytes/],
  ];
  for (const [what, change, message] of wrongManifests) {
    it(`is refused with a manifest that has ${what}`, () => {
      const other = toBinary(
        BatchManifestSchema,
        create(BatchManifestSchema, { ...right, ...change }),
      );
      expect(() => readManifest(other, sha256(other))).to.throw(message);
    });
  }

  const encodings: readonly [string, (hex: string) => string, RegExp][] = [
    ["an unknown field", (text) => `${text}2a0178`, /not canonical/],
    ["a field twice", (text) => `0801${text}`, /not canonical/],
    ["a number of too many bytes", (text) => text.replace(/^0801/, "088100"), /not canonical/],
    ["bytes that are no message", (text) => `${text}22ff`, /cannot be decoded/],
    ["nothing at all", () => "", /has format 0/],
  ];
  for (const [what, change, message] of encodings) {
    it(`is refused with a manifest that has ${what}`, () => {
      const other = Buffer.from(change(hex(manifest)), "hex");
      expect(() => readManifest(other, sha256(other))).to.throw(message);
    });
  }
});

describe("the format of publications", () => {
  it("is the one that docs/published-batches.md shows", () => {
    const key = contentKeyOf(Buffer.from(Array.from({ length: 32 }, (_, i) => i)));
    const { manifest, digest, pieces } = publicationOf([Buffer.from("one"), Buffer.from("two")], {
      key,
      genesisHead: Buffer.alloc(32, 0x11),
      root: Buffer.alloc(32, 0x22),
      createTime: 1_769_903_998_125,
    });
    expect(hex(key.id)).to.equal("3e4748ef0735d455");
    expect(pieces.map(hex)).to.deep.equal(["471b935cf14c3e1cf42735b9ad75afadc484c568f9e78f74ef21"]);
    expect(hex(manifest)).to.equal(
      "080112083e4748ef0735d4551a0b08feaefacb0610c0b2cd3b222076a9fa6663493ebad5ff827c01cce92fd5fec54cf0462fcc81dbdba166edf28c",
    );
    expect(hex(digest)).to.equal(
      "e4bb07364503595afbb122fc788126f23b31e3713da15e9b8b34ea6b2500d965",
    );
    const document = readFileSync("docs/published-batches.md", "utf8").replace(/\s/g, "");
    for (const bytes of [key.id, ...pieces, sha256(pieces[0]!), digest]) {
      expect(document).to.contain(hex(bytes));
    }
    expect(document).to.contain(CID.createV1(0x55, Digest.create(0x12, digest)).toString());
  });

  it("can be made with primitives alone", () => {
    const { manifest, digest, pieces } = publicationOf(
      [Buffer.from("one"), Buffer.from("two")],
      BATCH,
    );
    const block = sealed(Buffer.from("0a036f6e650a0374776f", "hex"), 0);
    expect(pieces.map(hex)).to.deep.equal([hex(block)]);
    const expected = Buffer.concat([
      Buffer.from("0801" + "1208", "hex"),
      createHash("sha256")
        .update("anchord/content-key/v1")
        .update(SECRETS.key.bytes)
        .digest()
        .subarray(0, 8),
      Buffer.from("1a0b" + "08feaefacb06" + "10c0b2cd3b" + "2220", "hex"),
      createHash("sha256").update(block).digest(),
    ]);
    expect(hex(manifest)).to.equal(hex(expected));
    expect(hex(digest)).to.equal(createHash("sha256").update(expected).digest("hex"));
  });

  it("numbers the nonces by piece", () => {
    const { pieces } = publicationOf([randomBytes(MIB), Buffer.from("one")], BATCH);
    expect(hex(pieces[1]!)).to.equal(hex(sealed(Buffer.from("0a036f6e65", "hex"), 1)));
  });
});
