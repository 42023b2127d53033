import type { Entry, Receipt } from "../../gen/ts/anchord/v1/receipt_pb.js";
import { SLAVerdict } from "../../gen/ts/anchord/v1/sla_pb.js";
import type { SLACertificate } from "../../gen/ts/anchord/v1/sla_pb.js";
import { hex, sameBytes, unhex } from "./bytes.js";
import { subjectKey } from "./evidence.js";
import { checkReceipt } from "./receipt.js";
import type { ExpectedLog, ReceiptChain, Step } from "./receipt.js";
import { recordedIntent } from "./sla.js";
import type { Cycle, SlaChange, SlaVerdict } from "./sla.js";

/** What every certificate begins its word with. */
export const CERTIFICATE_FORMAT = "anchord/sla-certificate/v1";

/** What SLARegistry announced of a deadline. */
export interface DeadlineEvent {
  readonly subjectKey: Uint8Array;
  readonly cycle: number;
  readonly change: SlaChange;
  /** Id of the record that tells of it; 32 zero bytes for none. */
  readonly ref: Uint8Array;
}

/** What checking a certificate needs of a chain. Each call may reject when the chain is out of reach. */
export interface CertificateChain extends ReceiptChain {
  /** Whether an SLARegistry contract of a version that we know answers at the address. */
  isSlaRegistry(contract: string): Promise<boolean>;
  /** Undefined where the registry has no such cycle. */
  slaCycle(contract: string, subjectKey: Uint8Array, cycle: number): Promise<Cycle | undefined>;
  /** What the registry announced in a transaction; nothing where no block has the transaction. */
  slaEvents(contract: string, transactionHash: string): Promise<readonly DeadlineEvent[]>;
  /** Undefined where the chain has no such block. Time in seconds. */
  block(number: number): Promise<{ readonly time: number } | undefined>;
}

/** The log and the registry that the one who checks expects, as far as they say. */
export interface ExpectedCertificate extends ExpectedLog {
  /** The SLARegistry: 0x and 40 hex digits. */
  readonly registry?: string | undefined;
}

/** The records of a certificate: the one that set the deadline, and the one that met it. */
type Part = "set" | "meet";

/** The steps of a check, in order; docs/sla-certificates.md says what each one compares. */
export type CertificateStep =
  | "format"
  | "subject"
  | "verdict"
  | "identity"
  | "contract"
  | "cycle"
  | "block"
  | Part
  | `${Part}/${Step}`;

/** What a check found. */
export type CertificateCheck =
  | {
      readonly verdict: "valid";
      readonly outcome: SlaVerdict;
      /** The deadline as the registry has it now: one that was broken may have been met since. */
      readonly cycle: Cycle;
      /** The record that set it; undefined where the certificate has none. */
      readonly setBy: Entry | undefined;
      /** The record that met it; undefined where the certificate has none. */
      readonly metBy: Entry | undefined;
    }
  | { readonly verdict: "invalid"; readonly step: CertificateStep; readonly message: string };

class StepFailed extends Error {
  constructor(
    readonly step: CertificateStep,
    message: string,
  ) {
    super(message);
  }
}

/** Checks a certificate against a chain. Rejects only when the chain cannot be asked. */
export async function checkCertificate(
  certificate: SLACertificate,
  chain: CertificateChain,
  expected: ExpectedCertificate = {},
): Promise<CertificateCheck> {
  try {
    const claim = checkFormat(certificate);
    checkSubject(certificate);
    checkVerdict(claim);
    await checkIdentity(certificate, chain, expected);
    const cycle = await checkCycle(certificate, claim, chain);
    await checkBlock(certificate, claim, chain);
    const records = await checkRecords(certificate, chain, expected);
    return { verdict: "valid", outcome: claim.verdict, cycle, ...records };
  } catch (error) {
    if (error instanceof StepFailed) {
      return { verdict: "invalid", step: error.step, message: error.message };
    }
    throw error;
  }
}

/** What a certificate says of the deadline. Times are in seconds. */
interface Claim {
  readonly verdict: SlaVerdict;
  readonly deadline: number;
  readonly meetTime: number | undefined;
  readonly asOf: number;
}

function checkFormat(certificate: SLACertificate): Claim {
  const { format, contract, subjectKey: key, deadline, meetTime, asOfTime } = certificate;
  const fail = (message: string) => new StepFailed("format", message);
  if (format !== CERTIFICATE_FORMAT) throw fail(`its format is "${format}"`);
  if (!/^0x[0-9a-f]{40}$/.test(contract)) throw fail("contract is not an address");
  if (!/^[0-9a-f]{64}$/.test(key)) throw fail("subjectKey is not 64 lower-case hex digits");
  if (!certificate.subject.isWellFormed()) throw fail("the subject has unpaired surrogates");
  if (certificate.cycle === 0) throw fail("cycle is missing");
  const verdict = VERDICTS.get(certificate.verdict);
  if (verdict === undefined) throw fail("verdict is missing");
  if (deadline === undefined || asOfTime === undefined) throw fail("a time is missing");
  const isMet = verdict !== "BREACHED";
  if (isMet !== (meetTime !== undefined)) throw fail("meetTime does not go with its verdict");
  checkParts(certificate, isMet);
  return {
    verdict,
    deadline: Number(deadline.seconds),
    meetTime: meetTime && Number(meetTime.seconds),
    asOf: Number(asOfTime.seconds),
  };
}

const VERDICTS = new Map<SLAVerdict, SlaVerdict>([
  [SLAVerdict.SLA_VERDICT_MET_IN_TIME, "MET_IN_TIME"],
  [SLAVerdict.SLA_VERDICT_MET_LATE, "MET_LATE"],
  [SLAVerdict.SLA_VERDICT_BREACHED, "BREACHED"],
]);

function checkParts(certificate: SLACertificate, isMet: boolean): void {
  for (const part of ["set", "meet"] as const) {
    const { receipt, transactionHash } = partOf(certificate, part);
    const fail = (message: string) => new StepFailed("format", `${part}${message}`);
    if ((receipt !== undefined) !== (transactionHash !== "")) {
      throw fail("Receipt and the hash of its transaction do not go together");
    }
    if (transactionHash !== "" && !/^0x[0-9a-f]{64}$/.test(transactionHash)) {
      throw fail("TransactionHash is not 0x and 64 lower-case hex digits");
    }
    if (part === "meet" && receipt !== undefined && !isMet) {
      throw fail("Receipt does not go with its verdict");
    }
  }
}

function partOf(
  certificate: SLACertificate,
  part: Part,
): { readonly receipt: Receipt | undefined; readonly transactionHash: string } {
  const { setReceipt, setTransactionHash, meetReceipt, meetTransactionHash } = certificate;
  return part === "set"
    ? { receipt: setReceipt, transactionHash: setTransactionHash }
    : { receipt: meetReceipt, transactionHash: meetTransactionHash };
}

/** A deadline that was set without the service has no other name than its key. */
function checkSubject({ subject, subjectKey: key }: SLACertificate): void {
  if (subject === key || hex(subjectKey(subject)) === key) return;
  throw new StepFailed("subject", "subjectKey is not the SHA-256 of the subject");
}

function checkVerdict({ verdict, deadline, meetTime, asOf }: Claim): void {
  const fail = (message: string) => new StepFailed("verdict", message);
  if (meetTime === undefined) {
    if (asOf < deadline) throw fail("the deadline had not passed by the time of the certificate");
    return;
  }
  if (meetTime > asOf) throw fail("it was met after the time of the certificate");
  const isInTime = meetTime < deadline;
  if (isInTime === (verdict === "MET_IN_TIME")) return;
  throw fail(`it was met ${isInTime ? "before the deadline" : "when the deadline had passed"}`);
}

async function checkIdentity(
  { chainId, contract }: SLACertificate,
  chain: CertificateChain,
  { chainId: expectedId, registry }: ExpectedCertificate,
): Promise<void> {
  const differs = (what: string, theirs: unknown, ours: unknown) =>
    new StepFailed("identity", `the certificate is for ${what} ${theirs}, not ${ours}`);
  if (expectedId !== undefined && expectedId !== chainId) {
    throw differs("chain", chainId, expectedId);
  }
  if (registry !== undefined && registry.toLowerCase() !== contract) {
    throw differs("registry", contract, registry);
  }
  const actual = await chain.chainId();
  if (actual !== chainId) throw differs("chain", chainId, `${actual}, which the RPC node serves`);
  if (await chain.isSlaRegistry(contract)) return;
  throw new StepFailed("contract", `no SLARegistry contract answers at ${contract}`);
}

async function checkCycle(
  { contract, subjectKey: key, cycle: number, extensions, level }: SLACertificate,
  claim: Claim,
  chain: CertificateChain,
): Promise<Cycle> {
  const fail = (message: string) => new StepFailed("cycle", message);
  const cycle = await chain.slaCycle(contract, unhex(key), number);
  if (cycle === undefined) throw fail(`the registry has no deadline ${number} of this subject`);
  const compare = (what: string, theirs: unknown, ours: unknown) => {
    if (theirs !== ours) throw fail(`on chain, its ${what} is ${theirs ?? "missing"}, not ${ours}`);
  };
  compare("deadline", cycle.deadline, claim.deadline);
  compare("count of extensions", cycle.extensions, extensions);
  if (claim.meetTime !== undefined) {
    compare("time of meeting", cycle.meetTime, claim.meetTime);
    compare("level", cycle.raised, level);
    return cycle;
  }
  if (cycle.pauseTime !== undefined) throw fail("on chain, its clock stands still");
  if (cycle.raised < level) throw fail(`on chain, its level is ${cycle.raised}, not ${level}`);
  if ((cycle.meetTime ?? Infinity) >= claim.asOf) return cycle;
  throw fail("on chain, it was met before the time of the certificate");
}

async function checkBlock(
  { asOfBlock }: SLACertificate,
  { asOf }: Claim,
  chain: CertificateChain,
): Promise<void> {
  const time = (await chain.block(Number(asOfBlock)))?.time;
  if (time === asOf) return;
  const found = time === undefined ? `no block ${asOfBlock}` : `block ${asOfBlock} of time ${time}`;
  throw new StepFailed("block", `the chain has ${found}; fetch the certificate again`);
}

async function checkRecords(
  certificate: SLACertificate,
  chain: CertificateChain,
  { contract, log, difficulty }: ExpectedCertificate,
): Promise<{ readonly setBy: Entry | undefined; readonly metBy: Entry | undefined }> {
  const { chainId, setReceipt } = certificate;
  const expected = { chainId, contract, log, difficulty };
  const setBy = await checkRecord(certificate, "set", chain, expected);
  const sameLog = { ...(setReceipt?.identity ?? expected), difficulty };
  const metBy = await checkRecord(certificate, "meet", chain, sameLog);
  return { setBy, metBy };
}

/** The record that a part of the certificate proves; undefined where it has none. */
async function checkRecord(
  certificate: SLACertificate,
  part: Part,
  chain: CertificateChain,
  expected: ExpectedLog,
): Promise<Entry | undefined> {
  const { receipt, transactionHash } = partOf(certificate, part);
  if (receipt === undefined) return undefined;
  const found = await checkReceipt(receipt, chain, expected);
  if (found.verdict === "invalid") throw new StepFailed(`${part}/${found.step}`, found.message);
  if (found.verdict === "not-anchored") {
    throw new StepFailed(`${part}/format`, "the receipt has its entry, but no proof");
  }
  const kind = part === "set" ? "SET" : "MET";
  const events = await chain.slaEvents(certificate.contract, transactionHash);
  const event = events.find(
    ({ subjectKey: key, cycle, change, ref }) =>
      hex(key) === certificate.subjectKey &&
      cycle === certificate.cycle &&
      change.kind === kind &&
      hex(ref) === found.id,
  );
  if (event !== undefined && isAskedFor(found.entry, event)) return found.entry;
  const fault = event === undefined ? `did not name record ${found.id}` : "did another thing";
  throw new StepFailed(part, `transaction ${transactionHash} ${fault}`);
}

/** Whether the registry did what a record asks for, whose id it was given with the call. */
function isAskedFor(entry: Entry, { subjectKey: key, change }: DeadlineEvent): boolean {
  const recorded = recordedIntent(entry);
  if (recorded === undefined || !sameBytes(recorded.subjectKey, key)) return false;
  const { intent } = recorded;
  if (intent.kind !== "SET" || change.kind !== "SET") return intent.kind === change.kind;
  const isSameLadder = intent.ladder.join() === change.ladder.join();
  return intent.deadline === change.deadline && isSameLadder;
}
