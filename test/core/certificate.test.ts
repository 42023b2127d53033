import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { web3Chain } from "../../src/chain/web3.js";
import type { CertificateChain } from "../../src/core/certificate.js";
import { looksLikeCertificate } from "../../src/core/certificate-json.js";
import {
  certificateVector,
  certificateVectors,
  checkCertificateText,
} from "../support/certificates.js";
import { run } from "../support/run.js";
import { serveChain } from "../support/scripted-chain.js";
import { receiptVector } from "../support/vectors.js";

type Json = string | number | { readonly [name: string]: Json };

/** The certificate that is tampered with: it has every member. */
const VECTOR = certificateVector("valid_met_in_time");

/** The places of all texts and numbers of a certificate, those of its receipts left out. */
function places(value: Json, place: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== "object") return [place];
  return Object.entries(value)
    .filter(([name]) => !name.endsWith("Receipt"))
    .flatMap(([name, inner]) => places(inner, [...place, name]));
}

/** A copy with another value, or none, at the place. */
function changed(place: readonly string[], other: Json | undefined): unknown {
  const copy = structuredClone(VECTOR.certificate);
  const parent = innerOf(copy, place.slice(0, -1)) as object;
  const name = place.at(-1)!;
  if (other === undefined) Reflect.deleteProperty(parent, name);
  else Object.assign(parent, { [name]: other });
  return copy;
}

function valueAt(place: readonly string[]): string | number {
  return innerOf(VECTOR.certificate, place) as string | number;
}

function innerOf(value: unknown, place: readonly string[]): unknown {
  return place.reduce((inner, name) => (inner as Record<string, unknown>)[name], value);
}

describe("certificate", function () {
  this.timeout(120_000);
  let node: Awaited<ReturnType<typeof serveChain>>;

  before(async () => {
    node = await serveChain((name) => certificateVectors.chains[name]);
  });
  after(() => node.close());

  const chainOf = (name = "registry") => web3Chain(`${node.url}/${name}`);
  const check = (value: unknown, chain: CertificateChain = chainOf()) =>
    checkCertificateText(JSON.stringify(value), chain);

  it("docs/vectors/sla-certificates.json is what its script writes", async () => {
    const directory = mkdtempSync(join(tmpdir(), "anchord-vectors-"));
    try {
      const file = join(directory, "sla-certificates.json");
      const script = "scripts/gen-certificate-vectors.mjs";
      const { code, stderr } = await run(process.execPath, [script, file]);
      expect(code, stderr).to.equal(0);
      const [written, kept] = [file, "docs/vectors/sla-certificates.json"].map((path) =>
        readFileSync(path, "utf8"),
      );
      expect(written === kept, `run ${script}`).to.equal(true);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it("docs/sla-certificates.md shows the selectors, topics and words of the vectors", () => {
    const document = readFileSync("docs/sla-certificates.md", "utf8");
    const vectors = readFileSync("docs/vectors/sla-certificates.json", "utf8");
    const { selectors, topics } = certificateVectors;
    for (const text of [...Object.values(selectors), ...Object.values(topics)]) {
      expect(document).to.include(text.slice(2));
    }
    const shown = document.match(/\b[0-9a-f]{64}\b/g) ?? [];
    expect(shown).to.have.length.greaterThan(10);
    for (const word of shown) expect(vectors).to.include(word);
  });

  describe("of the vectors", () => {
    for (const vector of certificateVectors.certificates) {
      it(`${vector.name}: ${vector.failedStep ?? vector.verdict}`, async () => {
        const text = JSON.stringify(vector.certificate);
        expect(looksLikeCertificate(text)).to.equal(true);
        const chain = chainOf(vector.chain);
        const found = await checkCertificateText(text, chain, vector.expect);
        const step = "step" in found ? found.step : null;
        const message = "message" in found ? found.message : "";
        expect([found.verdict, step], message).to.deep.equal([vector.verdict, vector.failedStep]);
      });
    }
  });

  it("tells what the registry has, and the records that it proves", async () => {
    const found = await check(VECTOR.certificate);
    if (found.verdict !== "valid") expect.fail(found.message);
    expect(found.outcome).to.equal("MET_IN_TIME");
    expect(found.cycle).to.include({ number: 1, state: "MET", raised: 0, extensions: 1 });
    expect(found.setBy?.actor).to.equal("desk/3");
    expect(found.metBy?.body).to.have.nested.property("value.reason", "paid back");
  });

  it("of a breach holds when it was met since, and says so", async () => {
    const found = await check(certificateVector("valid_met_since").certificate);
    if (found.verdict !== "valid") expect.fail(found.message);
    expect(found.outcome).to.equal("BREACHED");
    expect(found.cycle.state).to.equal("MET");
  });

  describe("with one character changed is refused", () => {
    for (const place of places(VECTOR.certificate as Json)) {
      it(place.join("."), async () => {
        const value = valueAt(place);
        const refuse = async (other: Json | undefined) => {
          const found = await check(changed(place, other));
          expect(found.verdict, JSON.stringify(other)).to.equal("invalid");
        };
        await refuse(undefined);
        if (typeof value === "number") {
          for (const other of [value + 1, -value, value + 0.5, String(value), 0])
            await refuse(other);
          return;
        }
        for (const [i, character] of [...value].entries()) {
          const code = character.charCodeAt(0);
          for (const other of [String.fromCharCode(code ^ 1), "", "ü"]) {
            await refuse(value.slice(0, i) + other + value.slice(i + 1));
          }
        }
        for (const other of [`${value}0`, `0${value}`, ` ${value}`, ""]) await refuse(other);
      });
    }
  });

  it("is refused with a bit of its records changed", async () => {
    for (const part of ["set", "meet"]) {
      const place = ["certificate", `${part}Receipt`, "entry"];
      const entry = Buffer.from(valueAt(place) as string, "base64");
      for (let bit = 0; bit < entry.length * 8; bit += 13) {
        const other = Buffer.from(entry);
        other[bit >> 3]! ^= 1 << (bit & 7);
        const found = await check(changed(place, other.toString("base64")));
        expect("step" in found ? found.step : "", `bit ${bit}`).to.be.oneOf([
          `${part}/entry`,
          `${part}/root`,
        ]);
      }
    }
  });

  it("asks no chain before it has to", async () => {
    const none = new Proxy({} as CertificateChain, {
      get: () => () => {
        throw new Error("the chain was asked");
      },
    });
    for (const name of ["format_other", "subject_other", "verdict_late"]) {
      const { certificate, failedStep } = certificateVector(name);
      expect(await check(certificate, none)).to.include({ verdict: "invalid", step: failedStep });
    }
    const text = JSON.stringify(VECTOR.certificate);
    const found = await checkCertificateText(text, none, { chainId: "1" });
    expect(found).to.include({ verdict: "invalid", step: "identity" });
  });

  it("has no verdict where the chain is out of reach", async () => {
    const calls = ["chainId", "isSlaRegistry", "slaCycle", "block", "batch", "slaEvents"] as const;
    for (const call of calls) {
      const chain = Object.assign(chainOf(), {
        [call]: () => Promise.reject(new Error("out of reach")),
      });
      const error = await check(VECTOR.certificate, chain).catch((reason: unknown) => reason);
      expect(error, call).to.be.instanceOf(Error).with.property("message", "out of reach");
    }
  });

  it("is told from a receipt, and from what is neither", () => {
    const receipt = JSON.stringify(receiptVector("valid_threat").receipt);
    for (const text of [receipt, "", "{", "[]", "null", '"certificate"', "{}"]) {
      expect(looksLikeCertificate(text), text).to.equal(false);
    }
  });
});
