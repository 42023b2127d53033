import { expect } from "chai";
import fc from "fast-check";
import { hex } from "../../src/core/bytes.js";
import { Level } from "../../src/store/feed.js";
import type { FeedRow } from "../../src/store/feed.js";
import {
  checkOf,
  decodeCursor,
  encodeCursor,
  nextRow,
  NO_TAG,
  standing,
  WHOLE,
} from "../../src/stream/cursor.js";
import type { Cursor } from "../../src/stream/cursor.js";

const EPOCH = "0123456789abcdef";
const TAG = Buffer.of(1, 2, 3, 4);

const sealed = (number: number, changed: Partial<FeedRow> = {}): FeedRow =>
  ({
    number,
    kind: "SEALED",
    level: Level.Provisional,
    batchNumber: number,
    occurrence: 0,
    finalNumber: -1,
    createTime: 0,
    anchor: {
      transactionHash: Buffer.alloc(32, 1),
      blockNumber: number,
      blockHash: Buffer.alloc(32, 2),
      blockTime: 0,
      gasUsed: 0,
    },
    ...changed,
  }) as FeedRow;

const cursorAt = (row: FeedRow, done = WHOLE): Cursor => ({
  logTag: TAG,
  epoch: EPOCH,
  number: row.number,
  done,
  check: checkOf(row),
  finalNumber: row.finalNumber,
});

const feed = (row: FeedRow | undefined, first = 1, next = 100, epoch = EPOCH) => ({
  logTag: TAG,
  bounds: { epoch, first, next },
  row,
});

const cursors = fc.record({
  logTag: fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => Buffer.from(bytes)),
  epoch: fc.uint8Array({ minLength: 8, maxLength: 8 }).map(hex),
  number: fc.maxSafeNat(),
  done: fc.nat(WHOLE),
  check: fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => Buffer.from(bytes)),
  finalNumber: fc.maxSafeNat().map((number) => number - 1),
});

describe("cursor", () => {
  it("comes back as it was given, in at most 256 characters", () => {
    fc.assert(
      fc.property(cursors, (cursor) => {
        const text = encodeCursor(cursor);
        expect(text.length).to.be.at.most(256);
        expect(decodeCursor(text)).to.deep.equal(cursor);
      }),
    );
  });

  it("is refused where a character is missing, added or not of its alphabet", () => {
    const text = encodeCursor(cursorAt(sealed(7)));
    for (let length = 0; length < text.length; length++) {
      expect(decodeCursor(text.slice(0, length)), `cut to ${length}`).to.equal(undefined);
    }
    for (const other of [`${text}A`, `${text}=`, ` ${text}`, text.replace(/.$/, "*"), "ä"]) {
      expect(decodeCursor(other), other).to.equal(undefined);
    }
  });

  it("is refused with another version, or numbers that no database has", () => {
    const bytes = Buffer.from(encodeCursor(cursorAt(sealed(7))), "base64url");
    const changed = (at: number, value: number) => {
      const copy = Buffer.from(bytes);
      copy[at] = value;
      return decodeCursor(copy.toString("base64url"));
    };
    expect(changed(0, 2)).to.equal(undefined);
    expect(changed(13, 255)).to.equal(undefined);
    expect(changed(29, 255)).to.equal(undefined);
  });

  it("has nothing but the next row behind a whole one, and the rest of one that is not", () => {
    expect(nextRow({ number: 7, done: WHOLE })).to.equal(8);
    expect(nextRow({ number: 7, done: 0 })).to.equal(7);
  });
});

describe("check", () => {
  it("tells rows apart by everything that makes a happening", () => {
    const other = { number: 7, kind: "OPERATION_FAILED", batchNumber: 7, detail: "" };
    const checks = [
      sealed(7),
      sealed(7, { kind: "RETRACTED" }),
      sealed(7, { level: Level.Final }),
      sealed(7, { batchNumber: 8 }),
      sealed(7, { occurrence: 1 }),
      sealed(7, { anchor: { ...anchorOf(sealed(7)), blockHash: Buffer.alloc(32, 3) } }),
      { ...other, occurrence: 0, finalNumber: -1, createTime: 0 } as FeedRow,
      undefined,
    ].map((row) => hex(checkOf(row)));
    expect(new Set(checks).size).to.equal(checks.length);
  });

  it("is the same wherever the row stands, and whenever it was written", () => {
    const row = sealed(7);
    expect(checkOf({ ...row, number: 9, createTime: 5, finalNumber: 6 })).to.deep.equal(
      checkOf(row),
    );
  });
});

describe("a cursor's standing", () => {
  const row = sealed(7);

  it("is here where its row is", () => {
    for (const done of [0, 1, WHOLE]) {
      expect(standing(cursorAt(row, done), feed(row))).to.equal("here");
    }
  });

  it("is here before the oldest row, which need not be there, and expired in the row before it", () => {
    const start: Cursor = { ...cursorAt(row), check: NO_TAG };
    expect(standing(start, feed(undefined, 8))).to.equal("here");
    expect(standing({ ...start, number: 0 }, feed(undefined, 1, 1))).to.equal("here");
    expect(standing({ ...start, done: 3 }, feed(undefined, 8))).to.equal("expired");
    expect(standing(start, feed(undefined, 9))).to.equal("expired");
  });

  it("is elsewhere in another numbering, where another row has its number, and behind the end", () => {
    const cursor = cursorAt(row);
    expect(standing(cursor, feed(row, 1, 100, "f".repeat(16)))).to.equal("moved");
    expect(standing(cursor, feed(sealed(7, { occurrence: 1 })))).to.equal("moved");
    expect(standing(cursor, feed(undefined, 1, 7))).to.equal("moved");
  });

  it("is none in another log; before the first contact with the chain, any log is the same", () => {
    const cursor = cursorAt(row);
    expect(standing({ ...cursor, logTag: Buffer.of(1, 2, 3, 5) }, feed(row))).to.equal("foreign");
    expect(standing({ ...cursor, logTag: NO_TAG }, feed(row))).to.equal("here");
    expect(standing(cursor, { ...feed(row), logTag: NO_TAG })).to.equal("here");
  });
});

function anchorOf(row: FeedRow) {
  if (!("anchor" in row)) throw new Error("it stands in no block");
  return row.anchor;
}
