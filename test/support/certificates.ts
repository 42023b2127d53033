import { readFileSync } from "node:fs";
import type { CertificateChain, CertificateCheck } from "../../src/core/certificate.js";
import { checkCertificate } from "../../src/core/certificate.js";
import { certificateFromJson } from "../../src/core/certificate-json.js";
import { messageOf } from "../../src/core/errors.js";
import { logIdOf } from "../../src/core/head.js";
import type { ChainScript } from "./scripted-chain.js";
import type { Expectation } from "./vectors.js";

/** What the one who checks a certificate says that they expect. */
export interface CertificateExpectation extends Expectation {
  /** The SLARegistry. */
  readonly registry?: string;
}

/** A certificate with the verdict that every verifier must give. */
export interface CertificateVector {
  readonly name: string;
  readonly verdict: CertificateCheck["verdict"];
  readonly failedStep: string | null;
  readonly exitCode: number;
  readonly chain: string;
  readonly expect: CertificateExpectation;
  readonly certificate: unknown;
}

/** docs/vectors/sla-certificates.json. */
export const certificateVectors = JSON.parse(
  readFileSync("docs/vectors/sla-certificates.json", "utf8"),
) as {
  readonly selectors: Readonly<Record<string, string>>;
  readonly topics: Readonly<Record<string, string>>;
  readonly chains: Readonly<Record<string, ChainScript>>;
  readonly certificates: readonly CertificateVector[];
};

/** The certificate vector of that name. */
export function certificateVector(name: string): CertificateVector {
  const found = certificateVectors.certificates.find((vector) => vector.name === name);
  if (found === undefined) throw new Error(`there is no certificate vector ${name}`);
  return found;
}

/** Checks a certificate's JSON text, as a verifier does. */
export async function checkCertificateText(
  text: string,
  chain: CertificateChain,
  { chainId, registry, contract, log, difficulty }: CertificateExpectation = {},
): Promise<CertificateCheck> {
  let certificate;
  try {
    certificate = certificateFromJson(text);
  } catch (error) {
    return { verdict: "invalid", step: "format", message: messageOf(error) };
  }
  return checkCertificate(certificate, chain, {
    chainId: chainId === undefined ? undefined : BigInt(chainId),
    registry,
    contract,
    log: log === undefined ? undefined : logIdOf(log),
    difficulty,
  });
}

/** The options by which verifiers are told of what is expected. */
export function expectationArgs(expect: CertificateExpectation): string[] {
  const options = {
    "--chain-id": expect.chainId,
    "--registry": expect.registry,
    "--contract": expect.contract,
    "--log": expect.log,
    "--difficulty": expect.difficulty?.toString(),
  };
  return Object.entries(options).flatMap(([name, value]) =>
    value === undefined ? [] : [name, value],
  );
}
