import { Gauge, Histogram } from "prom-client";
import type { Registry } from "prom-client";
import type { SlaRoom } from "../../flow/sla.js";
import { slaTotals } from "../../store/sla.js";

/** Bounds of lateness, in seconds: from a block or two to the outage of a day. */
const LATENESS_BOUNDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 900, 3_600, 14_400, 86_400];

/** Where the numbers of deadlines come from. */
export interface SlaNumbers {
  readonly room: Pick<SlaRoom, "log" | "now">;
  /** Calls back with how late each level is raised, in seconds. */
  onRaised(tell: (lateness: number) => void): void;
}

/** Adds the numbers of deadlines to those that are graphed. */
export function addSlaMetrics(registry: Registry, sla: SlaNumbers): void {
  const { log, now } = sla.room;
  // The registry reads all gauges at once: they share one look, and none is read before it ends.
  let looking: Promise<void> | undefined;
  const collect = () => (looking ??= refresh().finally(() => (looking = undefined)));
  const common = { registers: [registry], collect };
  const deadlines = new Gauge({
    name: "anchord_slas",
    help: "Deadlines that are not met: open, paused, and of the open ones overdue",
    labelNames: ["state"],
    ...common,
  });
  const changes = new Gauge({
    name: "anchord_sla_changes",
    help: "Changes of deadlines that wait for the chain, or that it has refused for good",
    labelNames: ["state"],
    ...common,
  });
  const next = new Gauge({
    name: "anchord_sla_next_level_timestamp_seconds",
    help: "When the next level of any deadline is due, in seconds since 1970, 0 if none is to come",
    ...common,
  });
  const lateness = new Histogram({
    name: "anchord_sla_escalation_lateness_seconds",
    help: "How late levels were raised: the time of their block less when they were due",
    buckets: LATENESS_BOUNDS,
    registers: [registry],
  });
  sla.onRaised((seconds) => lateness.observe(seconds));

  async function refresh(): Promise<void> {
    // Where the database does not answer, what was last known is shown.
    const totals = await slaTotals(log.database, now()).catch(() => undefined);
    if (totals === undefined) return;
    for (const state of ["open", "paused", "overdue"] as const) {
      deadlines.set({ state }, totals[state]);
    }
    changes.set({ state: "waiting" }, totals.waitingChanges);
    changes.set({ state: "failed" }, totals.failedChanges);
    next.set(totals.nextTime ?? 0);
  }
}
