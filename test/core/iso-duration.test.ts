import { expect } from "chai";
import fc from "fast-check";
import { durationSeconds, LONGEST_DURATION } from "../../src/core/iso-duration.js";

describe("ISO 8601 durations", () => {
  const taken: Readonly<Record<string, number>> = {
    PT0S: 0,
    PT48H: 172_800,
    P3D: 259_200,
    P2W: 1_209_600,
    PT90M: 5_400,
    P1DT12H: 129_600,
    P1W2DT3H4M5S: 604_800 + 2 * 86_400 + 3 * 3_600 + 4 * 60 + 5,
    PT007S: 7,
  };
  for (const [text, seconds] of Object.entries(taken)) {
    it(`take ${text}`, () => expect(durationSeconds(text)).to.equal(seconds));
  }

  const refused: Readonly<Record<string, RegExp>> = {
    "": /is no ISO 8601 duration/,
    P: /is no ISO 8601 duration/,
    PT: /is no ISO 8601 duration/,
    P1DT: /is no ISO 8601 duration/,
    "48H": /is no ISO 8601 duration/,
    P48H: /is no ISO 8601 duration/,
    PT3D: /is no ISO 8601 duration/,
    PT5S1H: /is no ISO 8601 duration/,
    pt48h: /is no ISO 8601 duration/,
    "PT48H ": /is no ISO 8601 duration/,
    "-PT1H": /is no ISO 8601 duration/,
    "PT-1H": /is no ISO 8601 duration/,
    P1Y: /years or months, which have no fixed length/,
    P6M: /years or months, which have no fixed length/,
    P1Y2DT3H: /years or months, which have no fixed length/,
    "PT1.5H": /has a fraction/,
    "PT0,5S": /has a fraction/,
    P36526D: /longer than 100 years/,
    PT999999999999999999999999S: /longer than 100 years/,
  };
  for (const [text, why] of Object.entries(refused)) {
    it(`refuse "${text}" with a reason`, () => {
      expect(() => durationSeconds(text)).to.throw(Error, why);
    });
  }

  it("are the sum of their parts", () => {
    const parts = fc.tuple(fc.nat(99), fc.nat(99), fc.nat(99), fc.nat(99), fc.nat(99));
    const property = fc.property(parts, ([w, d, h, m, s]) => {
      const text = `P${w}W${d}DT${h}H${m}M${s}S`;
      expect(durationSeconds(text)).to.equal((((w * 7 + d) * 24 + h) * 60 + m) * 60 + s);
    });
    fc.assert(property);
  });

  it("are as long as 100 years at the most", () => {
    expect(durationSeconds(`PT${LONGEST_DURATION}S`)).to.equal(LONGEST_DURATION);
    expect(() => durationSeconds(`PT${LONGEST_DURATION + 1}S`)).to.throw(Error, /100 years/);
  });
});
