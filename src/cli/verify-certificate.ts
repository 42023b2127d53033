import type { JsonObject } from "@bufbuild/protobuf";
import type { Entry } from "../../gen/ts/anchord/v1/receipt_pb.js";
import type { SLACertificate } from "../../gen/ts/anchord/v1/sla_pb.js";
import { checkCertificate } from "../core/certificate.js";
import type { CertificateCheck } from "../core/certificate.js";
import { certificateFromJson } from "../core/certificate-json.js";
import { timeText } from "../core/bundle.js";
import { messageOf } from "../core/errors.js";
import { logIdOf } from "../core/head.js";
import { chainAt } from "./chain.js";
import { entryFields, entryText } from "./entry-text.js";
import { printable } from "./printable.js";
import { trustedWords } from "./trust.js";
import type { VerifyOptions } from "./trust.js";
import type { VerifyResult } from "./verify-result.js";

/** Checks the JSON of a certificate. Rejects when the chain is out of reach. */
export async function verifyCertificate(
  text: string,
  options: VerifyOptions,
): Promise<VerifyResult> {
  let certificate;
  try {
    certificate = certificateFromJson(text);
  } catch (error) {
    return { verdict: "FALSE", failedStep: "format", message: messageOf(error) };
  }
  const { rpc, chainId, contract, registry, log: name, difficulty } = options;
  const log = name === undefined ? name : logIdOf(name);
  const expected = { chainId, contract, registry, log, difficulty };
  const check = await checkCertificate(certificate, await chainAt(rpc), expected);
  if (check.verdict === "invalid") {
    return { verdict: "FALSE", failedStep: check.step, message: check.message };
  }
  const hasReceipts = check.setBy !== undefined || check.metBy !== undefined;
  return {
    verdict: "VALID",
    lines: linesOf(certificate, check),
    found: { record: recordOf(certificate, check) },
    message: `the deadline for ${certificate.subject} ${outcomeText(check)}`,
    trusted: trustedWords(options, hasReceipts ? "certificate" : "certificate without receipts"),
  };
}

type ValidCertificate = Extract<CertificateCheck, { verdict: "valid" }>;

function linesOf(
  { subject, level, extensions, asOfBlock, asOfTime }: SLACertificate,
  { cycle, setBy, metBy }: ValidCertificate,
): string[] {
  return [
    `subject: ${printable(subject)}`,
    `cycle: ${cycle.number}`,
    `deadline: ${timeText(cycle.deadline)}`,
    `level: ${level}`,
    `extensions: ${extensions}`,
    `as of: block ${asOfBlock} of ${timeText(Number(asOfTime?.seconds))}`,
    ...(setBy === undefined ? [] : [`set by:\n${indented(entryText(setBy))}`]),
    ...(metBy === undefined ? [] : [`met by:\n${indented(entryText(metBy))}`]),
  ];
}

function recordOf(
  { subject, level, extensions, asOfBlock, asOfTime }: SLACertificate,
  { outcome, cycle, setBy, metBy }: ValidCertificate,
): JsonObject {
  return {
    subject,
    cycle: cycle.number,
    verdict: `SLA_VERDICT_${outcome}`,
    deadline: timeText(cycle.deadline),
    meet_time: cycle.meetTime === undefined ? null : timeText(cycle.meetTime),
    level,
    extensions,
    as_of_block: Number(asOfBlock),
    as_of_time: timeText(Number(asOfTime?.seconds)),
    ...fieldsOf("set", setBy),
    ...fieldsOf("meet", metBy),
  };
}

function fieldsOf(part: "set" | "meet", entry: Entry | undefined): JsonObject {
  const fields = entry === undefined ? [] : Object.entries(entryFields(entry));
  return Object.fromEntries(fields.map(([name, value]) => [`${part}.${name}`, value]));
}

function outcomeText({ outcome, cycle: { deadline, meetTime } }: ValidCertificate): string {
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
