import { collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { Health } from "./health.js";

/** The parts of the service that can fail by themselves. */
const PARTS = [
  "blockchain",
  "database",
  "sealing",
  "publication",
  "evidence",
  "sla",
  "integrity",
] as const satisfies readonly (keyof Health)[];

/** The numbers to graph, read when they are asked for. */
export function createMetrics(health: () => Promise<Health>): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  // The registry reads all gauges at once: they share one look, and none is read before it ends.
  let looking: Promise<void> | undefined;
  const collect = () => (looking ??= refresh().finally(() => (looking = undefined)));
  const gauge = (name: string, help: string) =>
    new Gauge({ name, help, registers: [registry], collect });
  const healthy = new Gauge({
    name: "anchord_healthy",
    help: "1 where a part of the service works, else 0",
    labelNames: ["part"],
    registers: [registry],
    collect,
  });
  const pending = gauge("anchord_records_pending", "Records that are not on the chain yet");
  const batches = gauge("anchord_batches_anchored", "Batches on the chain");
  const failed = gauge("anchord_operations_failed", "Transactions that ended without effect");
  const block = gauge("anchord_chain_block_number", "Number of the chain's latest block");
  const unpublished = gauge(
    "anchord_batches_unpublished",
    "Batches that are not in the content store yet",
  );
  const publicationLag = gauge(
    "anchord_publication_lag_seconds",
    "Age of the oldest batch that is not in the content store yet, 0 if there is none",
  );
  const unanchored = gauge("anchord_evidence_unanchored", "Evidence that is not on the chain yet");
  const files = new Gauge({
    name: "anchord_evidence_files",
    help: "Files of evidence, by what has become of them: pending, intact, missing or altered",
    labelNames: ["state"],
    registers: [registry],
    collect,
  });
  const oldestCheck = gauge(
    "anchord_evidence_oldest_check_age_seconds",
    "Time since the file of evidence was looked at that was longest ago, 0 if there is none",
  );
  const audited = gauge(
    "anchord_audit_batches_checked",
    "Batches that the auditor's pass under way, or the last, has found to be right",
  );
  const auditAge = gauge(
    "anchord_audit_last_pass_age_seconds",
    "Time since the auditor's last whole pass ended; before that, since the pass under way began",
  );
  const broken = gauge(
    "anchord_integrity_broken",
    "1 where the database does not agree with the chain, else 0",
  );

  async function refresh(): Promise<void> {
    const found = await health();
    const { status, blockchain, sealing, publication, evidence, integrity } = found;
    healthy.set({ part: "service" }, status === "healthy" ? 1 : 0);
    for (const part of PARTS) healthy.set({ part }, found[part].healthy ? 1 : 0);
    pending.set(sealing.pending);
    batches.set(sealing.lastBatch);
    failed.set(sealing.failedOperations);
    block.set(blockchain.blockNumber ?? 0);
    unpublished.set(publication.pending);
    const { pendingSince } = publication;
    publicationLag.set(pendingSince === undefined ? 0 : ageSeconds(pendingSince));
    unanchored.set(evidence.unanchored);
    for (const state of ["pending", "intact", "missing", "altered"] as const) {
      files.set({ state }, evidence[state]);
    }
    const { oldestCheckTime } = evidence;
    oldestCheck.set(oldestCheckTime === undefined ? 0 : ageSeconds(oldestCheckTime));
    const { batchesChecked, lastPassTime, passStartTime } = integrity;
    if (passStartTime === undefined) return; // what was last known of it still holds
    audited.set(batchesChecked);
    auditAge.set(ageSeconds(lastPassTime ?? passStartTime));
    broken.set(integrity.healthy ? 0 : 1);
  }
  return registry;
}

function ageSeconds(time: string): number {
  return Math.max(0, Date.now() - Date.parse(time)) / 1_000;
}
