import { create } from "@bufbuild/protobuf";
import { expect } from "chai";
import { EntrySchema } from "../../gen/ts/anchord/v1/receipt_pb.js";
import type { Entry } from "../../gen/ts/anchord/v1/receipt_pb.js";
import { parsePolicies, policyFor } from "../../src/core/sla-policy.js";

const DEFAULT = "complaint:ASSIGNED=PT48H,complaint:RESOLVED=meet";

const complaint = (eventType: string): Entry =>
  create(EntrySchema, { body: { case: "complaint", value: { eventType } } });
const custom = (type: string): Entry =>
  create(EntrySchema, { body: { case: "custom", value: { type } } });

/** What a policy of a text does with an entry. */
function effect(text: string, entry: Entry): string {
  const policy = policyFor(parsePolicies(text), entry);
  if (policy === undefined) return "nothing";
  return policy.startSeconds === undefined ? "meet" : `start ${policy.startSeconds}`;
}

describe("Policies", () => {
  it("start and meet the deadlines of complaints by default", () => {
    expect(effect(DEFAULT, complaint("ASSIGNED"))).to.equal("start 172800");
    expect(effect(DEFAULT, complaint("RESOLVED"))).to.equal("meet");
    expect(effect(DEFAULT, complaint("CREATED"))).to.equal("nothing");
    expect(effect(DEFAULT, custom("refund"))).to.equal("nothing");
  });

  it("are for records of any type, with spaces around them", () => {
    const text = " refund.asked = P1W , refund.paid=meet,";
    expect(effect(text, custom("refund.asked"))).to.equal("start 604800");
    expect(effect(text, custom("refund.paid"))).to.equal("meet");
    expect(effect("trade=PT1S", custom("trades"))).to.equal("nothing");
  });

  it("count in their order", () => {
    const text = "complaint:RESOLVED=meet,complaint=PT1H";
    expect(effect(text, complaint("RESOLVED"))).to.equal("meet");
    expect(effect(text, complaint("CREATED"))).to.equal("start 3600");
  });

  it("may be none", () => expect(parsePolicies("none")).to.deep.equal([]));

  const refused: Readonly<Record<string, RegExp>> = {
    ",": /"none" stands for none/,
    complaint: /is no policy/,
    "=PT1H": /is no policy/,
    "Complaint=PT1H": /is no policy/,
    "complaint:assigned=PT1H": /is no policy/,
    "complaint:=meet": /is no policy/,
    "complaint=": /is no ISO 8601 duration.*or "meet"/,
    "complaint=MEET": /is no ISO 8601 duration.*or "meet"/,
    "complaint=P1M": /years or months.*or "meet"/,
    "complaint=PT0S": /has passed/,
    "trade:ASSIGNED=meet": /only complaints have those/,
    "deadline_set=meet": /would answer what policies do/,
    "level_raised=PT1H": /would answer what policies do/,
    "complaint=meet,complaint=PT1H": /never counts/,
    "complaint=meet,complaint:RESOLVED=PT1H": /never counts/,
    "none,complaint=meet": /is no policy/,
  };
  for (const [text, why] of Object.entries(refused)) {
    it(`refuse "${text}" with a reason`, () => {
      expect(() => parsePolicies(text)).to.throw(Error, why);
    });
  }
});
