import { expect } from "chai";
import fc from "fast-check";
import { AnchordError } from "../../src/core/errors.js";
import {
  pageSize,
  pageToken,
  parsePageToken,
  parseValuePageToken,
  valuePageToken,
} from "../../src/api/page-token.js";

const QUESTION = { filter: { subject: "user/42" }, newestFirst: true };

/** The reason of the refusal of a token. */
function refused(question: Parameters<typeof pageToken>[0], token: string): string {
  try {
    parsePageToken(question, token);
  } catch (error) {
    expect(error).to.be.instanceOf(AnchordError);
    return (error as AnchordError).reason;
  }
  return "";
}

describe("page token", () => {
  it("carries any position to the next call with the same question", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (position) => {
        expect(parsePageToken(QUESTION, pageToken(QUESTION, position))).to.equal(position);
      }),
    );
  });

  it("carries any value and position, and is not taken for one of a position alone", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.maxSafeNat(), (value, position) => {
        const token = valuePageToken(QUESTION, value, position);
        expect(parseValuePageToken(QUESTION, token)).to.deep.equal({ value, position });
        expect(refused(QUESTION, token)).to.equal("INVALID_PAGE_TOKEN");
        const other = pageToken(QUESTION, position);
        expect(() => parseValuePageToken(QUESTION, other)).to.throw("page_token is not one");
      }),
    );
    expect(parseValuePageToken(QUESTION, "")).to.equal(undefined);
  });

  it("is the same question however its fields are ordered", () => {
    const token = pageToken({ a: 1, b: [2, null] }, 7);
    expect(parsePageToken({ b: [2, null], a: 1 }, token)).to.equal(7);
  });

  it("stands for the first page where it is empty", () => {
    expect(parsePageToken(QUESTION, "")).to.equal(undefined);
  });

  it("is refused with another question", () => {
    const token = pageToken(QUESTION, 7);
    for (const other of [
      { ...QUESTION, newestFirst: false },
      { ...QUESTION, filter: { subject: "user/43" } },
      { ...QUESTION, filter: null },
    ]) {
      expect(refused(other, token), JSON.stringify(other)).to.equal("INVALID_PAGE_TOKEN");
    }
  });

  it("is refused where a character of it is changed, cut or added", () => {
    const token = pageToken(QUESTION, 7);
    for (let length = 1; length < token.length; length++) {
      expect(refused(QUESTION, token.slice(0, length)), `cut to ${length}`).to.equal(
        "INVALID_PAGE_TOKEN",
      );
    }
    for (const other of [`${token}A`, `${token}=`, ` ${token}`, token.replace(/.$/, "*"), "ä"]) {
      expect(refused(QUESTION, other), other).to.equal("INVALID_PAGE_TOKEN");
    }
  });
});

describe("page size", () => {
  it("is 100 where none is asked for, and never over 1000", () => {
    expect([0, 1, 100, 1000, 1001, 2 ** 31 - 1].map(pageSize)).to.deep.equal([
      100, 1, 100, 1000, 1000, 1000,
    ]);
  });
});
