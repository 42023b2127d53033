import { Counter, Gauge } from "prom-client";
import type { Registry } from "prom-client";
import { listSubscriptions } from "../../store/subscriptions.js";
import { WHOLE } from "../../stream/cursor.js";
import type { EventFeed } from "../../stream/feed.js";

/** Subscriptions whose lag is shown: each is a time series of its own. */
const MOST_SHOWN = 1_000;

/** Adds the numbers of the event stream to those that are graphed. */
export function addEventMetrics(registry: Registry, feed: EventFeed): void {
  const registers = [registry];
  new Gauge({
    name: "anchord_subscribers",
    help: "Open event streams of this daemon",
    registers,
    collect() {
      this.set(feed.watch.subscribers);
    },
  });
  new Counter({
    name: "anchord_events_delivered_total",
    help: "Events that this daemon has handed to subscribers",
    registers,
    collect() {
      this.reset();
      this.inc(feed.delivered);
    },
  });
  new Gauge({
    name: "anchord_subscription_lag_seconds",
    help: "Age of the oldest thing that a named subscription has not acknowledged, 0 if there is none",
    labelNames: ["name"],
    registers,
    async collect() {
      // Where the database does not answer, the others are shown all the same.
      const range = { after: undefined, limit: MOST_SHOWN, whole: WHOLE };
      const found = await listSubscriptions(feed.database, range).catch(() => []);
      this.reset();
      const now = Date.now();
      for (const { name, pendingTime } of found) {
        this.set({ name }, Math.max(0, now - (pendingTime ?? now)) / 1_000);
      }
    },
  });
}
