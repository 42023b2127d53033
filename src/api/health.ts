import { fromJsonString } from "@bufbuild/protobuf";
import { LogProblemSchema } from "../../gen/ts/anchord/v1/problem_pb.js";
import type { AuditLog } from "../flow/audit-log.js";
import { storedAudit } from "../store/audit.js";
import { evidenceTotals } from "../store/evidence.js";
import type { EvidenceTotals } from "../store/evidence.js";
import { slaTotals } from "../store/sla.js";
import type { SlaTotals } from "../store/sla.js";
import { countRecords, logLength } from "../store/records.js";
import { failedOperations } from "../store/operations.js";
import { publicationBacklog } from "../store/publications.js";
import { progress } from "../store/batches.js";
import type { Database } from "../store/database.js";
import { isoSeconds } from "../core/calendar.js";
import { messageOf } from "../core/errors.js";

/** What the flow says of itself. */
export interface FlowState {
  /** Whether this daemon seals and follows. */
  readonly leads: boolean;
  /** Whether any daemon does. */
  readonly isLed: boolean;
  /** What connecting, sealing or following last failed with; undefined if nothing fails. */
  readonly failure: string | undefined;
  /** What writing to the database last failed with; undefined if it did not. */
  readonly storeFailure: string | undefined;
  /** What publishing last failed with; undefined if it does not fail, or another daemon publishes. */
  readonly publishFailure: string | undefined;
  /** Multiaddrs at which peers can fetch what was published. */
  readonly contentAddresses: readonly string[];
  /** What anchoring, keeping or watching over evidence last failed with; undefined if nothing fails. */
  readonly evidenceFailure: string | undefined;
  /** What sending, escalating or policies of deadlines last failed with; undefined if nothing fails. */
  readonly slaFailure: string | undefined;
}

/**
 * `healthy`: all is well. `degraded`: records can be stored, but something else does not work now, the database
 * does not agree with the chain, or files of evidence are damaged. `unhealthy`: they cannot be stored.
 */
export type HealthStatus = "healthy" | "degraded" | "unhealthy";

/** The answer of GET /health. `blockchain` and `service` are as the threat bridge had them. */
export interface Health {
  readonly status: HealthStatus;
  readonly service: "blockchain-bridge";
  readonly timestamp: string;
  readonly blockchain: {
    readonly healthy: boolean;
    readonly error?: string;
    readonly blockNumber?: number;
    readonly chainId?: string;
    readonly threatCount: string;
    readonly contractAddress?: string;
    readonly walletAddress?: string;
  };
  readonly database: { readonly healthy: boolean; readonly error?: string };
  readonly sealing: {
    readonly healthy: boolean;
    readonly error?: string;
    /** "leader" if this daemon seals, "standby" if another does, "none" if nobody does. */
    readonly role: "leader" | "standby" | "none";
    readonly pending: number;
    readonly lastBatch: number;
    readonly failedOperations: number;
  };
  readonly publication: {
    readonly healthy: boolean;
    readonly error?: string;
    /** Batches that are not in the content store yet. */
    readonly pending: number;
    /** When the oldest of them was closed. */
    readonly pendingSince?: string;
    /** Multiaddrs of the embedded IPFS node: what IPFS_PEERS of another takes. */
    readonly addresses: readonly string[];
  };
  readonly evidence: {
    /** Whether evidence can be anchored and kept, and no file is known to be missing or altered. */
    readonly healthy: boolean;
    readonly error?: string;
    /** Address of the EvidenceRegistry contract; absent where there is none, and no evidence is taken. */
    readonly contractAddress?: string;
    /** Evidence that is not on the chain yet. */
    readonly unanchored: number;
    /** Files that are not in the content store yet, are there unaltered, miss something, were altered. */
    readonly pending: number;
    readonly intact: number;
    readonly missing: number;
    readonly altered: number;
    /** When the file that was looked at longest ago was; absent where none has been yet. */
    readonly oldestCheckTime?: string;
  };
  readonly sla: {
    /** Whether deadlines can be changed, and are escalated. */
    readonly healthy: boolean;
    readonly error?: string;
    /** Address of the SLARegistry contract; absent where there is none, and no deadline is taken. */
    readonly contractAddress?: string;
    /** Deadlines whose clock runs, or stands still. */
    readonly open: number;
    readonly paused: number;
    /** Of those that run, the ones whose deadline has passed by the clock of the chain. */
    readonly overdue: number;
    /** Changes that wait for the chain, and those that it has refused for good. */
    readonly waitingChanges: number;
    readonly failedChanges: number;
    /** When the next level of any deadline is due; absent where none is to come. */
    readonly nextLevelTime?: string;
  };
  /** What the auditor says, on whichever replica it runs. */
  readonly integrity: {
    /** Whether no difference between database and chain is known. */
    readonly healthy: boolean;
    /** Names the row and the column that differ. */
    readonly error?: string;
    /** Batches that the pass under way, or the last, has found to be right. */
    readonly batchesChecked: number;
    /** Batches on the chain. */
    readonly batchesTotal: number;
    /** When the pass under way, or the last, began. */
    readonly passStartTime?: string;
    /** When the last whole pass ended, which found nothing. */
    readonly lastPassTime?: string;
  };
}

/** What is counted, and not at every look. */
interface Counts {
  readonly threats: ThreatCount;
  readonly evidence: Count<EvidenceTotals>;
  readonly slas: Count<SlaTotals>;
}

/** A check that asks every part how it is. It never rejects. `now` is the clock of the chain, in seconds. */
export function healthCheck(
  log: AuditLog,
  now: () => number,
  flow: () => Promise<FlowState>,
): () => Promise<Health> {
  const { database } = log;
  const counts = {
    threats: new ThreatCount(database),
    evidence: new Count(() => evidenceTotals(database)),
    slas: new Count(() => slaTotals(database, now())),
  };
  return () => checkHealth(log, flow, counts);
}

async function checkHealth(
  log: AuditLog,
  flow: () => Promise<FlowState>,
  counts: Counts,
): Promise<Health> {
  const [answers, blockchain] = await Promise.all([databaseAnswers(log), chainPart(log)]);
  const database = await databasePart(answers, flow);
  const sealing = await sealingPart(log, flow, answers.healthy);
  const publication = await publicationPart(log, flow, answers.healthy);
  const evidence = await evidencePart(log, flow, counts.evidence, answers.healthy);
  const sla = await slaPart(log, flow, counts.slas, answers.healthy);
  const integrity = await integrityPart(log, sealing.lastBatch, answers.healthy);
  const parts = [blockchain, sealing, publication, evidence, sla, integrity];
  const works = parts.every(({ healthy }) => healthy);
  return {
    status: !database.healthy ? "unhealthy" : works ? "healthy" : "degraded",
    service: "blockchain-bridge",
    timestamp: new Date().toISOString(),
    blockchain: {
      ...blockchain,
      threatCount: database.healthy ? String(await counts.threats.now()) : "0",
    },
    database,
    sealing,
    publication,
    evidence,
    sla,
    integrity,
  };
}

/** Whether records are stored and sealed, which is what a load balancer asks. */
export function serves({ database, blockchain, sealing }: Health): boolean {
  return database.healthy && blockchain.healthy && sealing.healthy;
}

/** How many threats there are. Only those that came since it last looked are counted. */
class ThreatCount {
  #known = { length: 0, threats: 0 };

  constructor(private readonly database: Database) {}

  /** What was last known, where the database does not answer. */
  async now(): Promise<number> {
    const { length: fromSeq, threats } = this.#known;
    try {
      const toSeq = await logLength(this.database);
      const query = { type: "threat", fromSeq, toSeq };
      const more = fromSeq < toSeq ? await countRecords(this.database, query) : 0;
      this.#known = { length: toSeq, threats: threats + more };
      return threats + more;
    } catch {
      return threats;
    }
  }
}

/** How long a count stands, in milliseconds: making one reads an index from end to end. */
const COUNT_STANDS_MS = 5_000;

/** How much there is of something, or was some seconds ago. */
class Count<Totals> {
  #known: { readonly totals: Promise<Totals>; readonly until: number } | undefined;

  constructor(private readonly count: () => Promise<Totals>) {}

  /** Whoever asks meanwhile gets the same count; one that fails is not kept. */
  now(): Promise<Totals> {
    if (this.#known !== undefined && Date.now() < this.#known.until) return this.#known.totals;
    const totals = this.count();
    const known = { totals, until: Date.now() + COUNT_STANDS_MS };
    this.#known = known;
    totals.catch(() => {
      if (this.#known === known) this.#known = undefined;
    });
    return totals;
  }
}

/** Whether it can be written to as well: one on a full disk still answers. */
async function databasePart(
  answers: Health["database"],
  flow: () => Promise<FlowState>,
): Promise<Health["database"]> {
  if (!answers.healthy) return answers;
  try {
    const { storeFailure: error } = await flow();
    return error === undefined ? answers : { healthy: false, error };
  } catch (error) {
    return { healthy: false, error: messageOf(error) };
  }
}

async function databaseAnswers({ database }: AuditLog): Promise<Health["database"]> {
  try {
    await logLength(database);
    return { healthy: true };
  } catch (error) {
    return { healthy: false, error: messageOf(error) };
  }
}

async function chainPart({
  connection,
}: AuditLog): Promise<Omit<Health["blockchain"], "threatCount">> {
  const connected = connection();
  if (connected === undefined) return { healthy: false, error: "the chain was not reached yet" };
  const { chain, identity, sealer } = connected;
  const known = {
    chainId: identity.chainId.toString(),
    contractAddress: identity.contract,
    walletAddress: sealer,
  };
  try {
    const { number } = await chain.latestBlock();
    return { healthy: true, blockNumber: number, ...known };
  } catch (error) {
    return { healthy: false, error: messageOf(error), ...known };
  }
}

async function sealingPart(
  { database }: AuditLog,
  flow: () => Promise<FlowState>,
  canBeAsked: boolean,
): Promise<Health["sealing"]> {
  const unknown: Health["sealing"] = {
    healthy: false,
    role: "none",
    pending: 0,
    lastBatch: 0,
    failedOperations: 0,
  };
  return partOf(unknown, canBeAsked, async () => {
    const { leads, isLed, failure } = await flow();
    const [length, now, failed] = await Promise.all([
      logLength(database),
      progress(database),
      failedOperations(database),
    ]);
    return {
      healthy: failure === undefined && (leads || isLed),
      ...(failure === undefined ? {} : { error: failure }),
      role: leads ? "leader" : isLed ? "standby" : "none",
      pending: length - now.anchored,
      lastBatch: now.lastBatch,
      failedOperations: failed.count,
    };
  });
}

async function publicationPart(
  { database }: AuditLog,
  flow: () => Promise<FlowState>,
  canBeAsked: boolean,
): Promise<Health["publication"]> {
  const unknown: Health["publication"] = { healthy: false, pending: 0, addresses: [] };
  return partOf(unknown, canBeAsked, async () => {
    const { publishFailure: failure, contentAddresses: addresses } = await flow();
    const { count: pending, since } = await publicationBacklog(database);
    return {
      healthy: failure === undefined,
      ...(failure === undefined ? {} : { error: failure }),
      pending,
      ...(since === undefined ? {} : { pendingSince: isoSeconds(since / 1_000) }),
      addresses,
    };
  });
}

async function evidencePart(
  { connection }: AuditLog,
  flow: () => Promise<FlowState>,
  totals: Count<EvidenceTotals>,
  canBeAsked: boolean,
): Promise<Health["evidence"]> {
  const counts = { unanchored: 0, pending: 0, intact: 0, missing: 0, altered: 0 };
  const contract = connection()?.identity.evidence;
  const address = contract === undefined ? {} : { contractAddress: contract };
  return partOf({ healthy: false, ...address, ...counts }, canBeAsked, async () => {
    const { evidenceFailure: failure } = await flow();
    const { content, unanchored, oldestCheck } = await totals.now();
    const { PENDING: pending, INTACT: intact, MISSING: missing, ALTERED: altered } = content;
    const damage = `${missing} files are missing and ${altered} altered in the content store: ListEvidence names them`;
    const error = failure ?? (missing + altered > 0 ? damage : undefined);
    return {
      healthy: error === undefined,
      ...(error === undefined ? {} : { error }),
      ...address,
      ...{ unanchored, pending, intact, missing, altered },
      ...(oldestCheck === undefined ? {} : { oldestCheckTime: isoSeconds(oldestCheck / 1_000) }),
    };
  });
}

async function slaPart(
  { connection }: AuditLog,
  flow: () => Promise<FlowState>,
  totals: Count<SlaTotals>,
  canBeAsked: boolean,
): Promise<Health["sla"]> {
  const counts = { open: 0, paused: 0, overdue: 0, waitingChanges: 0, failedChanges: 0 };
  const contract = connection()?.identity.sla;
  const address = contract === undefined ? {} : { contractAddress: contract };
  return partOf({ healthy: false, ...address, ...counts }, canBeAsked, async () => {
    const { slaFailure: failure } = await flow();
    const { nextTime, ...counted } = await totals.now();
    return {
      healthy: failure === undefined,
      ...(failure === undefined ? {} : { error: failure }),
      ...address,
      ...counted,
      ...(nextTime === undefined ? {} : { nextLevelTime: isoSeconds(nextTime) }),
    };
  });
}

async function integrityPart(
  { database }: AuditLog,
  batches: number,
  canBeAsked: boolean,
): Promise<Health["integrity"]> {
  const unknown: Health["integrity"] = {
    healthy: false,
    batchesChecked: 0,
    batchesTotal: batches,
  };
  return partOf(unknown, canBeAsked, async () => {
    const audit = await storedAudit(database);
    if (audit === undefined) return { ...unknown, healthy: true };
    const { nextBatch, passStartTime, passEndTime, problem } = audit;
    return {
      healthy: problem === "",
      ...(problem === "" ? {} : { error: problemText(problem) }),
      batchesChecked: nextBatch - 1,
      batchesTotal: Math.max(batches, nextBatch - 1),
      passStartTime: isoSeconds(passStartTime / 1_000),
      ...(passEndTime === undefined ? {} : { lastPassTime: isoSeconds(passEndTime / 1_000) }),
    };
  });
}

/** A part as the database shows it, or what is said of it where that cannot be known. */
async function partOf<Part>(
  unknown: Part,
  canBeAsked: boolean,
  look: () => Promise<Part>,
): Promise<Part> {
  if (!canBeAsked) return { ...unknown, error: "the database does not answer" };
  try {
    return await look();
  } catch (error) {
    return { ...unknown, error: messageOf(error) };
  }
}

/** Names the row of a noted difference. What it holds is for callers with a token alone. */
function problemText(json: string): string {
  const { batchNumber, sequence, recordId, column } = fromJsonString(LogProblemSchema, json);
  const record = sequence === undefined ? "" : `, record ${sequence}`;
  const id = recordId === "" ? "" : ` (${recordId})`;
  return `batch ${batchNumber}${record}${id}: ${column} does not agree with the chain`;
}
