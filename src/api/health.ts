import { fromJsonString } from "@bufbuild/protobuf";
import { LogProblemSchema } from "../../gen/ts/anchord/v1/problem_pb.js";
import type { AuditLog } from "../flow/audit-log.js";
import { storedAudit } from "../store/audit.js";
import { countRecords, logLength } from "../store/records.js";
import { failedOperations } from "../store/operations.js";
import { publicationBacklog } from "../store/publications.js";
import { progress } from "../store/batches.js";
import type { Database } from "../store/database.js";
import { messageOf } from "../core/errors.js";

/** What the flow says of itself. */
export interface FlowState {
  /** Whether this daemon seals and follows. */
  readonly leads: boolean;
  /** Whether any daemon does. */
  readonly isLed: boolean;
  /** What connecting, sealing or following last failed with; undefined if nothing fails. */
  readonly failure: string | undefined;
  /** What publishing last failed with; undefined if it does not fail, or another daemon publishes. */
  readonly publishFailure: string | undefined;
  /** Multiaddrs at which peers can fetch what was published. */
  readonly contentAddresses: readonly string[];
}

/**
 * `healthy`: all is well. `degraded`: records can be stored, but not be sealed or published now, or the
 * database does not agree with the chain. `unhealthy`: they cannot be stored.
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

/** A check that asks every part how it is. It never rejects. */
export function healthCheck(log: AuditLog, flow: () => Promise<FlowState>): () => Promise<Health> {
  const threats = new ThreatCount(log.database);
  return () => checkHealth(log, flow, threats);
}

async function checkHealth(
  log: AuditLog,
  flow: () => Promise<FlowState>,
  threats: ThreatCount,
): Promise<Health> {
  const [database, blockchain] = await Promise.all([databasePart(log), chainPart(log)]);
  const sealing = await sealingPart(log, flow, database.healthy);
  const publication = await publicationPart(log, flow, database.healthy);
  const integrity = await integrityPart(log, sealing.lastBatch, database.healthy);
  const works = [blockchain, sealing, publication, integrity].every(({ healthy }) => healthy);
  return {
    status: !database.healthy ? "unhealthy" : works ? "healthy" : "degraded",
    service: "blockchain-bridge",
    timestamp: new Date().toISOString(),
    blockchain: {
      ...blockchain,
      threatCount: database.healthy ? String(await threats.now()) : "0",
    },
    database,
    sealing,
    publication,
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

async function databasePart({ database }: AuditLog): Promise<Health["database"]> {
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
  databaseAnswers: boolean,
): Promise<Health["sealing"]> {
  const unknown = {
    healthy: false,
    role: "none" as const,
    pending: 0,
    lastBatch: 0,
    failedOperations: 0,
  };
  if (!databaseAnswers) return { ...unknown, error: "the database does not answer" };
  try {
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
  } catch (error) {
    return { ...unknown, error: messageOf(error) };
  }
}

async function publicationPart(
  { database }: AuditLog,
  flow: () => Promise<FlowState>,
  databaseAnswers: boolean,
): Promise<Health["publication"]> {
  const unknown = { healthy: false, pending: 0, addresses: [] };
  if (!databaseAnswers) return { ...unknown, error: "the database does not answer" };
  try {
    const { publishFailure: failure, contentAddresses: addresses } = await flow();
    const { count: pending, since } = await publicationBacklog(database);
    return {
      healthy: failure === undefined,
      ...(failure === undefined ? {} : { error: failure }),
      pending,
      ...(since === undefined ? {} : { pendingSince: new Date(since).toISOString() }),
      addresses,
    };
  } catch (error) {
    return { ...unknown, error: messageOf(error) };
  }
}

async function integrityPart(
  { database }: AuditLog,
  batches: number,
  databaseAnswers: boolean,
): Promise<Health["integrity"]> {
  const unknown = { healthy: false, batchesChecked: 0, batchesTotal: batches };
  if (!databaseAnswers) return { ...unknown, error: "the database does not answer" };
  try {
    const audit = await storedAudit(database);
    if (audit === undefined) return { ...unknown, healthy: true };
    const { nextBatch, passStartTime, passEndTime, problem } = audit;
    return {
      healthy: problem === "",
      ...(problem === "" ? {} : { error: problemText(problem) }),
      batchesChecked: nextBatch - 1,
      batchesTotal: Math.max(batches, nextBatch - 1),
      passStartTime: new Date(passStartTime).toISOString(),
      ...(passEndTime === undefined ? {} : { lastPassTime: new Date(passEndTime).toISOString() }),
    };
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
