import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import { expect } from "chai";
import fc from "fast-check";
import { EntrySchema } from "../../gen/ts/anchord/v1/receipt_pb.js";
import {
  ContentState,
  CustomSchema,
  EvidenceAddedSchema,
  EvidenceCheckedSchema,
  LoginSchema,
  ThreatScale,
  ThreatSchema,
  ThreatSeverity,
} from "../../gen/ts/anchord/v1/record_pb.js";
import { hex, sha256 } from "../../src/core/bytes.js";
import { AnchordError } from "../../src/core/errors.js";
import {
  bodyOf,
  canonicalHash,
  columnsOf,
  decodeEntry,
  encodeRecord,
  severityOf,
} from "../../src/core/record.js";
import type { Body, RecordDraft } from "../../src/core/record.js";

const OPTIONS = { scale: ThreatScale.HUNDRED } as const;
const NOW = new Date("2026-01-31T23:59:58.125Z");

function draft(body: Body, rest: Partial<RecordDraft> = {}): RecordDraft {
  return {
    caller: "local",
    subject: "user/42",
    actor: "",
    occurTime: undefined,
    request: undefined,
    body,
    ...rest,
  };
}

function threat(score: number, scale = ThreatScale.UNSPECIFIED): Body {
  return { case: "threat", value: create(ThreatSchema, { score, durationMinutes: 18.7, scale }) };
}

function login(details?: JsonObject): Body {
  return {
    case: "login",
    value: create(LoginSchema, { user: "ada", ...(details === undefined ? {} : { details }) }),
  };
}

function custom(type: string, data?: JsonObject): Body {
  return {
    case: "custom",
    value: create(CustomSchema, { type, ...(data === undefined ? {} : { data }) }),
  };
}

/** Evidence with every field, of a size that may be unset. */
function evidenceAdded(size: bigint | undefined, details?: JsonObject): Body {
  const value = create(EvidenceAddedSchema, {
    sha256: "ab".repeat(32),
    cid: "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy",
    ...(size === undefined ? {} : { size }),
    fileName: "scän.pdf",
    mediaType: "application/pdf",
    derivedFrom: "cd".repeat(32),
    contentKept: true,
    ...(details === undefined ? {} : { details }),
  });
  return { case: "evidenceAdded", value };
}

function evidenceChecked(size: bigint): Body {
  const value = create(EvidenceCheckedSchema, {
    evidenceId: "cd".repeat(32),
    sha256: "ab".repeat(32),
    cid: "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy",
    state: ContentState.MISSING,
    previousState: ContentState.INTACT,
    size,
  });
  return { case: "evidenceChecked", value };
}

/** Sizes of files as an entry can have them. */
const anySize = fc.oneof(fc.constant(0n), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }));

/** Objects within objects, so many levels. */
function nested(levels: number): JsonObject {
  let value: JsonObject = {};
  for (let level = 1; level < levels; level++) value = { a: value };
  return value;
}

/** The one field that is refused, with INVALID_FIELD. */
function refusedField(body: Body, options: Parameters<typeof encodeRecord>[1] = OPTIONS): string {
  try {
    encodeRecord(draft(body), options);
  } catch (error) {
    expect(error).to.be.instanceOf(AnchordError);
    const { reason, detail } = error as AnchordError;
    expect(reason).to.equal("INVALID_FIELD");
    expect(detail.violations).to.have.lengthOf(1);
    expect(detail.violations?.[0]?.description).not.to.equal("");
    return detail.violations?.[0]?.field ?? "";
  }
  throw new Error("it was not refused");
}

describe("record", () => {
  describe("encodeRecord", () => {
    it("encodes what was given, and what the server derives", () => {
      const occurTime = create(TimestampSchema, { seconds: 7n, nanos: 123_456_789 });
      const request = { id: "r-1", hash: sha256(Buffer.from("request")) };
      const given = draft(threat(92.5), { caller: "abc", actor: "detector", occurTime, request });
      const record = encodeRecord(given, { ...OPTIONS, now: NOW });
      const entry = decodeEntry(record.entry);
      expect(hex(record.id)).to.equal(hex(sha256(record.entry)));
      expect(entry.salt).to.have.lengthOf(16);
      expect(entry).to.include({
        caller: "abc",
        requestId: "r-1",
        subject: "user/42",
        actor: "detector",
        details: "",
      });
      expect(hex(entry.requestHash)).to.equal(hex(request.hash));
      expect(entry.occurTime).to.deep.equal(occurTime);
      expect(entry.acceptTime?.nanos).to.equal(125_000_000);
      expect(bodyOf(entry)).to.deep.equal({
        case: "threat",
        value: {
          $typeName: "anchord.v1.Threat",
          score: 92.5,
          durationMinutes: 18.7,
          scale: ThreatScale.HUNDRED,
          severity: ThreatSeverity.CRITICAL,
        },
      });
      expect(record.columns).to.deep.equal({
        subject: "user/42",
        type: "threat",
        actor: "detector",
        occurTime: 7_123_456,
      });
      expect(columnsOf(entry)).to.deep.equal(record.columns);
    });

    it("takes the time of acceptance where none is given", () => {
      const entry = decodeEntry(encodeRecord(draft(login()), { ...OPTIONS, now: NOW }).entry);
      expect(entry.occurTime).to.deep.equal(entry.acceptTime);
    });

    it("never gives the same entry twice", () => {
      const ids = Array.from({ length: 1000 }, () =>
        hex(encodeRecord(draft(login()), { ...OPTIONS, now: NOW }).id),
      );
      expect(new Set(ids)).to.have.lengthOf(1000);
    });

    it("leaves the draft alone", () => {
      const body = threat(50);
      encodeRecord(draft(body), OPTIONS);
      expect(body).to.deep.equal(threat(50));
    });

    it("keeps details as canonical JSON, and apart from the body", () => {
      const details = JSON.parse('{"b":[1e21,-0],"a":{"__proto__":1},"10":2}') as JsonObject;
      for (const body of [
        login(details),
        evidenceAdded(undefined, details),
        custom("x", details),
      ]) {
        const entry = decodeEntry(encodeRecord(draft(body), OPTIONS).entry);
        expect(entry.details).to.equal('{"10":2,"a":{"__proto__":1},"b":[1e+21,0]}');
        expect(entry.body.value).not.to.have.any.keys("details", "data");
      }
    });

    it("keeps empty details apart from none", () => {
      expect(decodeEntry(encodeRecord(draft(login({})), OPTIONS).entry).details).to.equal("{}");
      expect(decodeEntry(encodeRecord(draft(login()), OPTIONS).entry).details).to.equal("");
    });

    it("gives evidence back as it was, a size of 0 apart from none", () => {
      const seed = Date.now() % 2 ** 31;
      console.log(`        seed ${seed}`);
      fc.assert(
        fc.property(fc.option(anySize, { nil: undefined }), anySize, (size, checkedSize) => {
          for (const body of [
            evidenceAdded(size),
            evidenceAdded(size, { pages: 12 }),
            evidenceChecked(checkedSize),
          ]) {
            const record = encodeRecord(draft(body));
            expect(bodyOf(decodeEntry(record.entry))).to.deep.equal(body);
          }
        }),
        { seed },
      );
    });

    it("names the types of evidence", () => {
      const type = (body: Body) => encodeRecord(draft(body)).columns.type;
      expect(type(evidenceAdded(1n))).to.equal("evidence_added");
      expect(type(evidenceChecked(1n))).to.equal("evidence_checked");
    });

    it("encodes so that decoding gives the same back, for random details", () => {
      const seed = Date.now() % 2 ** 31;
      console.log(`        seed ${seed}`);
      const object = fc.dictionary(
        fc.string({ unit: "binary" }),
        fc.jsonValue({ stringUnit: "binary" }),
      );
      fc.assert(
        fc.property(object, (value) => {
          const details = JSON.parse(JSON.stringify(value)) as JsonObject;
          const body = bodyOf(decodeEntry(encodeRecord(draft(login(details)), OPTIONS).entry));
          expect(body.case === "login" && body.value.details).to.deep.equal(details);
        }),
        { seed },
      );
    });
  });

  describe("severity", () => {
    const { LOW, MEDIUM, HIGH, CRITICAL } = ThreatSeverity;
    for (const [scale, full] of [
      [ThreatScale.HUNDRED, 100],
      [ThreatScale.UNIT, 1],
    ] as const) {
      it(`has its bounds at 40, 60 and 80 % of ${full}`, () => {
        const below = (value: number) => value - full * 2 ** -50;
        const at = (percent: number) => (percent * full) / 100;
        expect(
          [0, below(at(40)), at(40), below(at(60)), at(60), below(at(80)), at(80), full].map(
            (score) => severityOf(score, scale),
          ),
        ).to.deep.equal([LOW, LOW, MEDIUM, MEDIUM, HIGH, HIGH, CRITICAL, CRITICAL]);
      });
    }
  });

  describe("the scale of a threat", () => {
    it("is the server's where the caller names none", () => {
      const record = encodeRecord(draft(threat(0.9)), { scale: ThreatScale.UNIT });
      const body = decodeEntry(record.entry).body.value;
      expect(body).to.include({ scale: ThreatScale.UNIT, severity: ThreatSeverity.CRITICAL });
    });

    it("is never guessed from the score", () => {
      const body = decodeEntry(encodeRecord(draft(threat(0.9)), OPTIONS).entry).body.value;
      expect(body).to.include({ scale: ThreatScale.HUNDRED, severity: ThreatSeverity.LOW });
    });

    it("bounds the score at 1 on the unit scale", () => {
      expect(refusedField(threat(1.01, ThreatScale.UNIT))).to.equal("threat.score");
      expect(refusedField(threat(1.01), { scale: ThreatScale.UNIT })).to.equal("threat.score");
      encodeRecord(draft(threat(1, ThreatScale.UNIT)), OPTIONS);
      encodeRecord(draft(threat(92.5, ThreatScale.HUNDRED)), { scale: ThreatScale.UNIT });
    });
  });

  it("refuses a custom type that is built in", () => {
    for (const type of [
      "threat",
      "trade",
      "order",
      "system_change",
      "login",
      "config_change",
      "complaint",
      "evidence_added",
      "evidence_checked",
      "custom",
    ]) {
      expect(refusedField(custom(type)), type).to.equal("custom.type");
    }
    expect(encodeRecord(draft(custom("threat.v2")), OPTIONS).columns.type).to.equal("threat.v2");
  });

  describe("details", () => {
    const text = (length: number): JsonObject => ({ a: "x".repeat(length - '{"a":""}'.length) });
    const refused: Record<string, JsonObject> = {
      "not a number": { a: NaN },
      "infinite, deep inside": { a: [{ b: -Infinity }] },
      "33 levels deep": nested(33),
      "100 levels deep": nested(100),
      "10000 levels deep": nested(10_000),
      "an unpaired high surrogate": { a: "\ud800" },
      "an unpaired low surrogate in a list": { a: ["x\udc00"] },
      "an unpaired surrogate in a name": { b: { "\ud83d": 1 } },
      "one byte over 64 KiB": text(65_537),
      "65 KiB": text(65 * 1024),
      "over 64 KiB in bytes, not in characters": { a: "€".repeat(30_000) },
    };
    for (const [what, details] of Object.entries(refused)) {
      it(`are refused where they are ${what}`, () => {
        expect(refusedField(login(details))).to.equal("login.details");
        expect(refusedField(evidenceAdded(1n, details))).to.equal("evidence_added.details");
        expect(refusedField(custom("x", details))).to.equal("custom.data");
      });
    }

    it("may be 64 KiB, 32 levels deep, and have pairs of surrogates", () => {
      for (const details of [text(65_536), nested(32), { "\u{1f600}": "\u{1f600}" }]) {
        decodeEntry(encodeRecord(draft(login(details)), OPTIONS).entry);
      }
    });

    it("name the field as the proto files do", () => {
      const body: Body = {
        case: "systemChange",
        value: {
          $typeName: "anchord.v1.SystemChange",
          component: "a",
          changeType: "b",
          details: { a: NaN },
        },
      };
      expect(refusedField(body)).to.equal("system_change.details");
    });
  });

  describe("decodeEntry", () => {
    for (const body of [login({ a: 1 }), evidenceAdded(0n, { a: 1 }), evidenceChecked(12n)]) {
      describe(`of a body ${body.case}`, () => {
        const { entry } = encodeRecord(draft(body), OPTIONS);

        it("refuses every cut, and every byte more", () => {
          for (let length = 0; length < entry.length; length++) {
            expect(() => decodeEntry(entry.subarray(0, length)), String(length)).to.throw();
          }
          for (let byte = 0; byte < 256; byte++) {
            const more = Buffer.concat([entry, Buffer.of(byte)]);
            expect(() => decodeEntry(more), String(byte)).to.throw();
          }
        });

        it("reads no two facts out of different bytes: what it accepts, it encodes to the same bytes", () => {
          const seed = Date.now() % 2 ** 31;
          console.log(`          seed ${seed}`);
          const change = fc.tuple(fc.nat(entry.length - 1), fc.nat(255));
          fc.assert(
            fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
              const other = Uint8Array.from(entry);
              for (const [at, byte] of changes) other[at] = byte;
              let decoded;
              try {
                decoded = decodeEntry(other);
              } catch {
                return;
              }
              expect(hex(toBinary(EntrySchema, decoded))).to.equal(hex(other));
            }),
            { seed, numRuns: 3000 },
          );
        });
      });
    }

    it("refuses details where the body has no room for them", () => {
      const message = fromBinary(EntrySchema, encodeRecord(draft(evidenceChecked(1n))).entry);
      message.details = '{"a":1}';
      expect(() => decodeEntry(toBinary(EntrySchema, message))).to.throw("has no details");
    });

    it("refuses numbers that are not finite", () => {
      for (const score of [NaN, Infinity, -Infinity]) {
        const { entry: good } = encodeRecord(draft(threat(1)), OPTIONS);
        const message = fromBinary(EntrySchema, good);
        if (message.body.case === "threat") message.body.value.score = score;
        expect(() => decodeEntry(toBinary(EntrySchema, message)), String(score)).to.throw(
          "not finite",
        );
      }
    });
  });

  it("hashes JSON in its canonical form", () => {
    const hash = (value: JsonValue) => hex(canonicalHash(value));
    expect(hash({ b: 1, a: [0.1, "€"] })).to.equal(
      hex(sha256(Buffer.from('{"a":[0.1,"€"],"b":1}'))),
    );
    expect(hash({ a: 1, b: 2 })).to.equal(hash({ b: 2, a: 1 }));
  });
});
