import type { AuditLog } from "../flow/audit-log.js";
import { countRecords, logLength } from "../store/records.js";
import { failedOperations } from "../store/operations.js";
import { progress } from "../store/batches.js";
import { messageOf } from "../core/errors.js";

/** What the flow says of itself. */
export interface FlowState {
  /** Whether this daemon seals and follows. */
  readonly leads: boolean;
  /** Whether any daemon does. */
  readonly isLed: boolean;
  /** What connecting, sealing or following last failed with; undefined if nothing fails. */
  readonly failure: string | undefined;
}

/**
 * `healthy`: a record can be stored and sealed. `degraded`: it can be stored, but not sealed now.
 * `unhealthy`: it cannot be stored.
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
}

/** Asks every part how it is. Never rejects. */
export async function checkHealth(log: AuditLog, flow: () => Promise<FlowState>): Promise<Health> {
  const [database, blockchain] = await Promise.all([databasePart(log), chainPart(log)]);
  const sealing = await sealingPart(log, flow, database.healthy);
  const seals = blockchain.healthy && sealing.healthy;
  return {
    status: !database.healthy ? "unhealthy" : seals ? "healthy" : "degraded",
    service: "blockchain-bridge",
    timestamp: new Date().toISOString(),
    blockchain: {
      ...blockchain,
      threatCount: database.healthy ? String(await threatCount(log)) : "0",
    },
    database,
    sealing,
  };
}

async function threatCount({ database }: AuditLog): Promise<number> {
  return countRecords(database, { type: "threat" }).catch(() => 0);
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
