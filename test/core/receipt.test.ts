import { expect } from "chai";
import type { ReceiptChain } from "../../src/core/receipt.js";
import { checkReceipt } from "../../src/core/receipt.js";
import { receiptFromJson } from "../../src/core/receipt-json.js";
import { chainOf } from "../support/scripted-chain.js";
import { chainScript, checkText, receiptVector } from "../support/vectors.js";
import type { ReceiptVector } from "../support/vectors.js";

type Json = string | Json[] | { [name: string]: Json };

/** The receipt that is tampered with: it has a trail index, a leaf index, a path, and a nonce. */
const VECTOR = validVector("complaint_details");
const LOG = chainScript("log");
const STEPS = [
  "format",
  "entry",
  "identity",
  "contract",
  "path",
  "root",
  "batch",
  "head",
  "anchor",
];

/** The valid receipt of the entry vector of that name. */
function validVector(name: string): ReceiptVector {
  return receiptVector(`valid_${name}`);
}

/** The places of all strings in a value. */
function places(
  value: Json,
  place: readonly (string | number)[] = [],
): (readonly (string | number)[])[] {
  if (typeof value === "string") return [place];
  return Object.entries(value).flatMap(([key, inner]) => places(inner, [...place, key]));
}

function at(value: Json, place: readonly (string | number)[]): Json {
  return place.reduce<Json>((inner, key) => (inner as Record<string, Json>)[key] as Json, value);
}

/** A copy with another value, or none, at the place. */
function changed(value: Json, place: readonly (string | number)[], other: Json | undefined): Json {
  const copy = structuredClone(value);
  const parent = at(copy, place.slice(0, -1)) as Record<string, Json>;
  const key = place.at(-1) as string;
  if (other !== undefined) parent[key] = other;
  else if (Array.isArray(parent)) parent.splice(Number(key), 1);
  else Reflect.deleteProperty(parent, key);
  return copy;
}

/** Checks, and returns the step that failed. */
async function failedStep(value: Json, chain = LOG): Promise<string> {
  const found = await checkText(JSON.stringify(value), chain);
  return found.verdict === "invalid" ? found.step : found.verdict;
}

describe("receipt", function () {
  this.timeout(60_000);
  const receipt = VECTOR.receipt as Json;

  it("is valid as it stands, and tells the batch as the chain has it", async () => {
    const found = await checkText(JSON.stringify(receipt), LOG);
    expect(found.verdict).to.equal("valid");
    if (found.verdict !== "valid") return;
    expect(found.entry.subject).to.equal("complaint/ABC12345");
    expect(found.id).to.match(/^[0-9a-f]{64}$/);
    expect(found.batch.size).to.equal(8n);
  });

  describe("with one character changed", () => {
    for (const place of places(receipt)) {
      it(place.join("."), async () => {
        const text = at(receipt, place) as string;
        for (let i = 0; i < text.length; i++) {
          const code = text.charCodeAt(i);
          const others = [code ^ 1, code ^ 2, code ^ 32, code + 1].map((other) =>
            String.fromCharCode(other),
          );
          for (const other of [...others, "", "0", "f", "=", "_", "\u0000", "ü"]) {
            if (other === text[i]) continue;
            const tampered = changed(receipt, place, text.slice(0, i) + other + text.slice(i + 1));
            expect(STEPS, `${i}: ${JSON.stringify(other)}`).to.include(await failedStep(tampered));
          }
        }
        for (const other of [`${text}0`, `0${text}`, `${text} `, `${text}=`, "", "0"]) {
          expect(STEPS, other).to.include(await failedStep(changed(receipt, place, other)));
        }
        if (place.at(-1) !== "state")
          expect(STEPS).to.include(await failedStep(changed(receipt, place, undefined)));
      });
    }
  });

  for (const vector of [VECTOR, ...["evidence_added", "evidence_checked"].map(validVector)]) {
    it(`is refused with any bit of its entry changed: ${vector.name}`, async () => {
      const given = vector.receipt as Json;
      const chain = chainScript(vector.chain);
      expect(await failedStep(given, chain)).to.equal("valid");
      const place = ["receipt", "entry"];
      const entry = Buffer.from(at(given, place) as string, "base64");
      for (let bit = 0; bit < entry.length * 8; bit++) {
        const other = Buffer.from(entry);
        other[bit >> 3] = (other[bit >> 3] as number) ^ (1 << (bit & 7));
        const step = await failedStep(changed(given, place, other.toString("base64")), chain);
        expect(["entry", "root"], `bit ${bit}`).to.include(step);
      }
    });
  }

  it("is refused with any bit of a digest changed", async () => {
    const digests = places(receipt).filter((place) => {
      const text = at(receipt, place) as string;
      return place.at(-1) !== "entry" && text.length === 44;
    });
    expect(digests.length).to.be.greaterThan(6);
    for (const place of digests) {
      const digest = Buffer.from(at(receipt, place) as string, "base64");
      for (let bit = 0; bit < 256; bit++) {
        const other = Buffer.from(digest);
        other[bit >> 3] = (other[bit >> 3] as number) ^ (1 << (bit & 7));
        const step = await failedStep(changed(receipt, place, other.toString("base64")));
        expect(["batch", "root", "head"], `${place.join(".")} bit ${bit}`).to.include(step);
      }
    }
  });

  it("is refused without any one of its parts, and with a part that it does not know", async () => {
    for (const part of ["identity", "trail", "inclusion", "batch", "anchor"]) {
      expect(await failedStep(changed(receipt, ["receipt", part], undefined))).to.equal("format");
    }
    expect(await failedStep(changed(receipt, ["receipt", "other"], "x"))).to.equal("format");
  });

  it("has no proof yet where it has the entry alone", async () => {
    const bare = {
      receipt: { entry: at(receipt, ["receipt", "entry"]) },
      state: "RECORD_STATE_ACCEPTED",
    };
    const found = await checkText(JSON.stringify(bare), LOG);
    expect(found.verdict).to.equal("not-anchored");
    expect(found)
      .to.have.property("id")
      .that.matches(/^[0-9a-f]{64}$/);
  });

  it("asks no chain before it has to", async () => {
    const none = new Proxy({} as ReceiptChain, {
      get: () => () => {
        throw new Error("the chain was asked");
      },
    });
    for (const name of ["bare", "format_no_batch", "entry_two_bodies"]) {
      const given = receiptFromJson(JSON.stringify(receiptVector(name).receipt));
      expect((await checkReceipt(given, none)).verdict).to.equal(receiptVector(name).verdict);
    }
    const given = receiptFromJson(JSON.stringify(receipt));
    const found = await checkReceipt(given, none, { chainId: 1n });
    expect(found).to.include({ verdict: "invalid", step: "identity" });
  });

  it("rejects, and gives no verdict, where the chain is out of reach", async () => {
    const calls = [
      ...(["chainId", "isAuditLog", "batch", "transaction"] as const),
      ...(["minimumDifficulty", "difficultyChanges"] as const),
    ];
    for (const call of calls) {
      const chain = {
        ...chainOf(chainScript("work_raised_after")),
        [call]: () => Promise.reject(new Error("out of reach")),
      };
      let error: unknown;
      await checkReceipt(receiptFromJson(JSON.stringify(receipt)), chain).catch(
        (reason: unknown) => (error = reason),
      );
      expect(error, call).to.be.instanceOf(Error).with.property("message", "out of reach");
    }
  });

  it("is not taken in by a contract that only looks alike", async () => {
    const vector = receiptVector("contract_look_alike");
    const found = await checkText(JSON.stringify(vector.receipt), chainScript(vector.chain));
    expect(found).to.include({ verdict: "invalid", step: "contract" });
  });

  it("is refused for a log that was not expected, in whatever case the address is written", async () => {
    const contract = at(receipt, ["receipt", "identity", "contract"]) as string;
    const same = await checkText(JSON.stringify(receipt), LOG, {
      contract: `0x${contract.slice(2).toUpperCase()}`,
    });
    expect(same.verdict).to.equal("valid");
    const other = await checkText(JSON.stringify(receipt), LOG, { log: "other" });
    expect(other).to.include({ verdict: "invalid", step: "identity" });
  });
});
