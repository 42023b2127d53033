import type { Registry } from "prom-client";
import type { Authenticate } from "../auth.js";
import { serves } from "../health.js";
import type { Health } from "../health.js";
import type { Route } from "./router.js";

const ENDPOINTS = {
  "POST /log-threat": "Record a threat and wait until it is on the chain",
  "GET /threat-count": "Count the threats on the chain",
  "GET /threat/:id": "Show one threat",
  "POST /api/blockchain/reports/{tracking_id}/evidence/": "Hand in a file for a complaint",
  "POST /api/blockchain/reports/{tracking_id}/evidence/verify/":
    "Ask the chain whether a file was handed in",
  "GET /api/blockchain/reports/{tracking_id}/status/": "Show how a complaint stands on the chain",
  "GET /api/blockchain/reports/{tracking_id}/audit-trail/": "Show what happened to a complaint",
  "GET /health": "Show the state of every part",
  "GET /metrics": "Show the numbers to graph, for Prometheus",
  "POST /anchord.v1.AuditService/{method}":
    "The whole API as JSON (Connect); also gRPC on its own port",
  "POST /anchord.v1.EventService/{method}": "What happens, as it happens",
  "POST /anchord.v1.EvidenceService/{method}": "Files and hashes of files, anchored on the chain",
  "POST /anchord.v1.SLAService/{method}": "Deadlines, kept and escalated by the chain",
};

/** What every deployment has: a description, health, and metrics. */
export function serviceRoutes(
  health: () => Promise<Health>,
  metrics: Registry,
  authenticate: Authenticate,
): Route[] {
  return [
    {
      method: "GET",
      path: "/",
      handle: () =>
        Promise.resolve({
          status: 200,
          body: { service: "blockchain-bridge", name: "anchord", endpoints: ENDPOINTS },
        }),
    },
    {
      method: "GET",
      path: "/health",
      handle: async () => {
        const state = await health();
        return { status: serves(state) ? 200 : 503, body: state };
      },
    },
    {
      method: "GET",
      path: "/metrics",
      handle: async ({ headers }) => {
        authenticate(headers.authorization);
        return { status: 200, body: await metrics.metrics(), contentType: metrics.contentType };
      },
    },
  ];
}
