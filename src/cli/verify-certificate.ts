import type { SLACertificate } from "../../gen/ts/anchord/v1/sla_pb.js";
import { checkCertificate } from "../core/certificate.js";
import type { CertificateCheck, CertificateStep } from "../core/certificate.js";
import { certificateFromJson } from "../core/certificate-json.js";
import { timeText } from "../core/bundle.js";
import { messageOf } from "../core/errors.js";
import { logIdOf } from "../core/head.js";
import { chainAt } from "./chain.js";
import { entryText } from "./entry-text.js";
import { ExitCode } from "./exit-code.js";
import { printable } from "./printable.js";
import { trustText } from "./trust.js";
import type { VerifyOptions } from "./trust.js";

/**
 * Checks the JSON of a certificate. Prints what was found, and resolves to the exit code; rejects when the
 * chain is out of reach.
 */
export async function verifyCertificate(text: string, options: VerifyOptions): Promise<number> {
  let certificate;
  try {
    certificate = certificateFromJson(text);
  } catch (error) {
    return failed("format", messageOf(error));
  }
  const { rpc, chainId, contract, registry, log } = options;
  const expected = { chainId, contract, registry, log: log === undefined ? log : logIdOf(log) };
  const found = await checkCertificate(certificate, await chainAt(rpc), expected);
  if (found.verdict === "invalid") return failed(found.step, found.message);
  return report(certificate, found, options);
}

function failed(step: CertificateStep, message: string): number {
  print(`FALSE at step ${step}: ${printable(message)}`);
  return ExitCode.failed;
}

function report(
  { subject, level, extensions, asOfBlock, asOfTime }: SLACertificate,
  found: Extract<CertificateCheck, { verdict: "valid" }>,
  options: VerifyOptions,
): number {
  const { cycle, setBy, metBy } = found;
  print(`subject: ${printable(subject)}`);
  print(`cycle: ${cycle.number}`);
  print(`deadline: ${timeText(cycle.deadline)}`);
  print(`level: ${level}`);
  print(`extensions: ${extensions}`);
  print(`as of: block ${asOfBlock} of ${timeText(Number(asOfTime?.seconds))}`);
  for (const [name, entry] of Object.entries({ "set by": setBy, "met by": metBy })) {
    if (entry !== undefined) print(`${name}:\n${indented(entryText(entry))}`);
  }
  print(`VALID: the deadline for ${printable(subject)} ${outcomeText(found)}`);
  const hasReceipts = setBy !== undefined || metBy !== undefined;
  print(trustText(options, hasReceipts ? "certificate" : "certificate without receipts"));
  return ExitCode.ok;
}

function outcomeText({
  outcome,
  cycle: { deadline, meetTime },
}: Extract<CertificateCheck, { verdict: "valid" }>): string {
  const met = meetTime === undefined ? "" : timeText(meetTime);
  switch (outcome) {
    case "MET_IN_TIME":
      return `was met in time, at ${met}`;
    case "MET_LATE":
      return `was met late, at ${met}`;
    case "BREACHED":
      return `was broken, at ${timeText(deadline)}${met === "" ? "" : `; it was met late since, at ${met}`}`;
  }
}

function indented(text: string): string {
  return text.replace(/^/gm, "  ");
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
