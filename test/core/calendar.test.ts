import { create } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import { expect } from "chai";
import {
  isoSeconds,
  isWellFormedTime,
  knownTime,
  timeOfMs,
  timeOfSeconds,
} from "../../src/core/calendar.js";

/** The first second of the year 1, and the last of the year 9999. */
const FIRST = -62_135_596_800;
const LAST = 253_402_300_799;
const FAR = 9_000_000_000_000_000;

const time = (seconds: number, nanos = 0) =>
  create(TimestampSchema, { seconds: BigInt(seconds), nanos });

describe("the calendar", () => {
  it("has the years 1 to 9999, and nanoseconds of a second", () => {
    for (const [seconds, nanos] of [
      [FIRST, 0],
      [0, 1],
      [LAST, 999_999_999],
    ])
      expect(isWellFormedTime(time(seconds!, nanos)), `${seconds} ${nanos}`).to.equal(true);
    for (const [seconds, nanos] of [
      [FIRST - 1, 999_999_999],
      [LAST + 1, 0],
      [10 ** 15, 0],
      [0, -1],
      [0, 1_000_000_000],
    ])
      expect(isWellFormedTime(time(seconds!, nanos)), `${seconds} ${nanos}`).to.equal(false);
  });

  it("brings stored times within its bounds", () => {
    for (const [stored, bounded] of [
      [-FAR, FIRST],
      [FIRST, FIRST],
      [-1, -1],
      [1_700_000_000, 1_700_000_000],
      [LAST, LAST],
      [LAST + 1, LAST],
      [FAR, LAST],
      [Infinity, LAST],
    ] as const) {
      expect(timeOfSeconds(stored), `${stored}`).to.deep.equal(time(bounded));
      expect(timeOfMs(stored * 1_000)).to.deep.equal(time(bounded));
      expect(isoSeconds(stored)).to.equal(new Date(bounded * 1_000).toISOString());
    }
    expect(timeOfMs(1_234)).to.deep.equal(time(1, 234_000_000));
    expect(timeOfMs(-1)).to.deep.equal(time(-1, 999_000_000));
    expect(isoSeconds(1.5)).to.equal("1970-01-01T00:00:01.500Z");
    expect(isoSeconds(2n ** 64n)).to.equal("9999-12-31T23:59:59.000Z");
    expect(isoSeconds(-(2n ** 64n))).to.equal("0001-01-01T00:00:00.000Z");
  });

  it("leaves a time that it has as it is, and leaves out one that it has not", () => {
    expect(knownTime(time(LAST, 1))).to.deep.equal(time(LAST, 1));
    expect(knownTime(time(10 ** 15))).to.equal(undefined);
    expect(knownTime(undefined)).to.equal(undefined);
  });

  it("has no time where none is stored", () => {
    expect(timeOfMs(undefined)).to.equal(undefined);
    expect(timeOfSeconds(undefined)).to.equal(undefined);
  });
});
