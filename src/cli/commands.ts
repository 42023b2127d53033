import type { Command } from "commander";

/** Commands by their names, each to be loaded. */
type CommandGroup = Readonly<Record<string, () => Promise<Command>>>;

/** The commands as the help lists them. Each is loaded only when it is called, or all for the help. */
export const COMMANDS: Readonly<Record<string, CommandGroup>> = {
  "The service:": {
    start: async () => (await import("./start.js")).startCommand(),
    rebuild: async () => (await import("./rebuild.js")).rebuildCommand(),
    sync: async () => (await import("./sync.js")).syncCommand(),
    doctor: async () => (await import("./doctor.js")).doctorCommand(),
    config: async () => (await import("./config.js")).configCommand(),
  },
  "Records and blocks:": {
    "record-event": async () => (await import("./record-event.js")).recordEventCommand(),
    "get-audit-trail": async () => (await import("./get-audit-trail.js")).getAuditTrailCommand(),
    "get-block": async () => (await import("./get-block.js")).getBlockCommand(),
    "get-chain": async () => (await import("./get-chain.js")).getChainCommand(),
    "get-stats": async () => (await import("./get-stats.js")).getStatsCommand(),
    "generate-report": async () => (await import("./generate-report.js")).generateReportCommand(),
    "force-mine": async () => (await import("./force-mine.js")).forceMineCommand(),
    listen: async () => (await import("./listen.js")).listenCommand(),
  },
  "Proof:": {
    verify: async () => (await import("./verify.js")).verifyCommand(),
    "verify-chain": async () => (await import("./verify-chain.js")).verifyChainCommand(),
  },
  "Evidence and deadlines:": {
    evidence: async () => (await import("./evidence.js")).evidenceCommand(),
    sla: async () => (await import("./sla.js")).slaCommand(),
    "check-sla": async () => (await import("./check-sla.js")).checkSlaCommand(),
  },
};
