import { join } from "node:path";
import { createClient, createRouterTransport } from "@connectrpc/connect";
import type { Logger } from "pino";
import { AuditService } from "../gen/ts/anchord/v1/audit_service_pb.js";
import { EventService } from "../gen/ts/anchord/v1/event_service_pb.js";
import { EvidenceService } from "../gen/ts/anchord/v1/evidence_service_pb.js";
import { SLAService } from "../gen/ts/anchord/v1/sla_service_pb.js";
import { ThreatScale } from "../gen/ts/anchord/v1/record_pb.js";
import { reportLinks } from "./api/audit/report-links.js";
import { auditService } from "./api/audit/service.js";
import { authenticator, authInterceptor } from "./api/auth.js";
import { errorInterceptor } from "./api/errors.js";
import { addEventMetrics } from "./api/events/metrics.js";
import { eventService } from "./api/events/service.js";
import { evidenceService } from "./api/evidence/service.js";
import { served } from "./api/grpc-adapter.js";
import { openGrpc } from "./api/grpc-server.js";
import { healthCheck } from "./api/health.js";
import { complaintRoutes } from "./api/http/complaint-routes.js";
import { toRestError } from "./api/http/errors.js";
import { restListener } from "./api/http/router.js";
import { serviceRoutes } from "./api/http/service-routes.js";
import { threatBridge } from "./api/http/threat-bridge.js";
import { openHttp } from "./api/http-server.js";
import { createMetrics } from "./api/metrics.js";
import { addSlaMetrics } from "./api/sla/metrics.js";
import { slaService } from "./api/sla/service.js";
import { validationInterceptor } from "./api/validate.js";
import type { EmbeddedChain } from "./chain/embedded.js";
import { watchHeads } from "./chain/push.js";
import type { Config } from "./config.js";
import { publicUrl } from "./config/derived.js";
import { openEvidenceFiles } from "./content/evidence-files.js";
import type { ContentStore } from "./content/port.js";
import { Misconfigured } from "./core/errors.js";
import { logIdOf } from "./core/head.js";
import { Acceptor } from "./flow/accept.js";
import type { AuditLog } from "./flow/audit-log.js";
import { ChainClock } from "./flow/chain-clock.js";
import { ChainLink } from "./flow/chain-link.js";
import { EvidenceFlow } from "./flow/evidence-flow.js";
import { armFault } from "./flow/faults.js";
import { Leader } from "./flow/lead.js";
import { ProgressWatch } from "./flow/progress.js";
import { SlaFlow } from "./flow/sla-flow.js";
import { rebuildDatabase } from "./flow/rebuild.js";
import type { RebuildProgress } from "./flow/rebuild.js";
import { ProofMaker } from "./flow/receipts.js";
import { openLogger } from "./logging.js";
import {
  chainAccess,
  embeddedAccess,
  externalChain,
  finalityOf,
  hasRegistry,
  openArchive,
  preparedDatabase,
} from "./parts.js";
import { EventFeed } from "./stream/feed.js";

export type { RebuildProgress } from "./flow/rebuild.js";

/** A service that runs. */
export interface RunningService {
  readonly grpcPort: number;
  readonly httpPort: number;
  /** Address of the chain's RPC. */
  readonly rpcUrl: string;
  /** Lets running calls finish, then stops everything that was started. */
  stop(): Promise<void>;
}

const HOUR_MS = 60 * 60 * 1_000;

/** Starts the whole service: the composition root, the only place that knows every room. */
export async function startService(
  config: Config,
  embedded?: Promise<EmbeddedChain>,
): Promise<RunningService> {
  armFault(config.ANCHORD_FAULT);
  const logger = openLogger(config);
  const database = await preparedDatabase(config, logger);
  const archive = openArchive(config);
  const access = chainAccess(config, logger, embedded);
  const watch = new ProgressWatch(database, () => link.hurry());
  const events = new EventFeed(database);
  const clock = new ChainClock();
  const link: ChainLink = new ChainLink({
    database,
    clock,
    watch,
    onFollowed: () => {
      events.watch.wake();
      sla.followed();
    },
    archive,
    log: logIdOf(config.LOG_NAME),
    open: access.open,
    finality: finalityOf(config),
    pollMs: config.POLL_INTERVAL_MS,
    ...sealingOf(config),
    auditPercent: config.AUDIT_PERCENT,
    eventRetentionDays: config.EVENT_RETENTION_DAYS,
    logger,
  });
  const log: AuditLog = {
    database,
    acceptor: new Acceptor(database, () => link.wake()),
    watch,
    proofs: new ProofMaker(database),
    scale: config.THREAT_SCALE === "1" ? ThreatScale.UNIT : ThreatScale.HUNDRED,
    recordTypes: config.RECORD_TYPES,
    connection: () => link.connection,
    sealNow: () => link.hurry(),
  };
  const evidence = openEvidence(config, { log, link, content: archive.content }, logger);
  const sla: SlaFlow = openSla(config, { log, link, clock }, logger);
  const doors = await openDoors(config, { log, link, events, evidence, sla }, logger);
  try {
    await link.connect();
  } catch (error) {
    if (error instanceof Misconfigured) throw error;
    logger.warn({ err: error }, "the chain cannot be reached yet: records are accepted and wait");
  }
  link.start();
  evidence.start();
  sla.start();
  const stopPush =
    config.BLOCKCHAIN_WS_URL === undefined
      ? () => undefined
      : watchHeads(config.BLOCKCHAIN_WS_URL, () => link.look());
  listen(archive, logger);
  doors.setServing(true);
  return {
    grpcPort: doors.grpcPort,
    httpPort: doors.httpPort,
    rpcUrl: access.url(),
    stop: async () => {
      doors.setServing(false);
      stopPush();
      events.watch.close();
      await doors.close(config.SHUTDOWN_GRACE_MS);
      await log.acceptor.drained();
      await Promise.all([evidence.stop(), sla.stop()]);
      await link.stop();
      await archive.content.stop();
      await database.close();
      await access.close();
    },
  };
}

/**
 * Fills an empty database from chain, content store and key. Throws Misconfigured where it is not empty
 * or a service runs on it, NotAdoptable where a batch cannot be brought back.
 */
export async function rebuildService(
  config: Config,
  embedded: Promise<EmbeddedChain> | undefined,
  report: (progress: RebuildProgress) => void,
): Promise<RebuildProgress> {
  armFault(config.ANCHORD_FAULT);
  const logger = openLogger(config);
  const database = await preparedDatabase(config, logger);
  const archive = openArchive(config);
  const leader = new Leader(database, () => undefined, logger);
  const own = embeddedAccess(config, logger, embedded);
  const external = externalChain(config);
  try {
    if (!(await leader.claim())) {
      throw new Misconfigured("a service runs on this database: stop it before a rebuild");
    }
    leader.start();
    const at = { ...(external ?? (await own.open())), log: logIdOf(config.LOG_NAME) };
    return await rebuildDatabase(database, archive, at, finalityOf(config), report);
  } finally {
    await leader.stop();
    await archive.content.stop();
    await database.close();
    await own.close();
  }
}

/** Lets others fetch from the content store; nothing waits for that. */
function listen({ content }: ReturnType<typeof openArchive>, logger: Logger): void {
  content.listen().then(
    () => logger.info({ addresses: content.addresses() }, "the content store is up"),
    (error: unknown) => {
      logger.warn({ err: error }, "the IPFS node cannot be reached: nobody can fetch from it");
    },
  );
}

/** How batches are sealed. */
function sealingOf(config: Config) {
  return {
    maxRecords: config.MAX_BATCH_RECORDS,
    tipMultiplier: config.GAS_PRICE_MULTIPLIER,
    sealing: {
      isAutomatic: config.AUTO_MINE,
      intervalMs: config.MINING_INTERVAL * 1_000,
      difficulty: config.DIFFICULTY,
    },
  };
}

/** The flow of evidence, from the desk to the content store. */
function openEvidence(
  config: Config,
  parts: { readonly log: AuditLog; readonly link: ChainLink; readonly content: ContentStore },
  logger: Logger,
): EvidenceFlow {
  const { log, link, content } = parts;
  return new EvidenceFlow({
    log,
    files: openEvidenceFiles(join(config.DATA_DIR, "staging"), content),
    leads: () => link.leads,
    isWhole: () => link.isAtEnd,
    onRecorded: () => link.wake(),
    isConfigured: () => hasRegistry(config, log.database, "evidence"),
    maxBytes: config.MAX_EVIDENCE_BYTES,
    gatewayUrl: config.IPFS_GATEWAY_URL,
    checkEveryMs: config.EVIDENCE_CHECK_HOURS * HOUR_MS,
    checkBytesPerSecond: config.EVIDENCE_CHECK_MB_PER_SECOND * 1_000_000,
    logger,
  });
}

/** The flow of deadlines, from the desk to the chain. */
function openSla(
  config: Config,
  parts: { readonly log: AuditLog; readonly link: ChainLink; readonly clock: ChainClock },
  logger: Logger,
): SlaFlow {
  const { log, link, clock } = parts;
  return new SlaFlow({
    log,
    acting: () => link.acting,
    clock,
    onRecorded: () => link.wake(),
    isConfigured: () => hasRegistry(config, log.database, "sla"),
    ladder: config.SLA_LADDER,
    policies: config.SLA_POLICIES,
    maxGas: config.SLA_MAX_GAS,
    logger,
  });
}

/** Both doors over one set of handlers and interceptors. */
async function openDoors(
  config: Config,
  parts: {
    readonly log: AuditLog;
    readonly link: ChainLink;
    readonly events: EventFeed;
    readonly evidence: EvidenceFlow;
    readonly sla: SlaFlow;
  },
  logger: Logger,
) {
  const { log, link, events, evidence, sla } = parts;
  const { HOST: host, PORT: port } = config;
  let httpPort = port;
  const authenticate = authenticator(config.API_TOKENS);
  const interceptors = [
    errorInterceptor(logger),
    authInterceptor(authenticate),
    validationInterceptor(),
  ];
  const health = healthCheck(log, sla.room.now, async () => {
    const { anchorFailure, ...state } = await link.state();
    const evidenceFailure = anchorFailure ?? evidence.failure;
    return { ...state, evidenceFailure, slaFailure: sla.failure };
  });
  const metrics = createMetrics(health);
  addEventMetrics(metrics, events);
  addSlaMetrics(metrics, sla);
  const services = [
    served(
      AuditService,
      auditService(
        log,
        reportLinks(() => publicUrl(config, httpPort), config.EXPLORER_URL),
      ),
    ),
    served(EventService, eventService(events)),
    served(EvidenceService, evidenceService(evidence.room)),
    served(SLAService, slaService(sla.room)),
  ];
  const inside = createRouterTransport(
    (router) => {
      for (const { service, implementation } of services) router.service(service, implementation);
    },
    { router: { interceptors } },
  );
  const routes = restListener(
    [
      ...threatBridge(createClient(AuditService, inside)),
      ...complaintRoutes({
        log,
        now: sla.room.now,
        evidence: createClient(EvidenceService, inside),
        authenticate,
        gatewayUrl: config.IPFS_GATEWAY_URL,
        explorerUrl: config.EXPLORER_URL,
        logger,
      }),
      ...serviceRoutes(health, metrics, authenticate),
    ],
    toRestError,
  );
  const isOpen = config.API_TOKENS.length === 0;
  const http = await openHttp({ host, port, isOpen }, services, interceptors, routes);
  httpPort = http.port;
  const grpc = await openGrpc({ host, port: config.GRPC_PORT }, services, interceptors);
  return {
    httpPort,
    grpcPort: grpc.port,
    setServing: (serving: boolean) => grpc.setServing(serving),
    close: async (graceMs: number) => {
      await Promise.all([http.close(graceMs), grpc.close(graceMs)]);
    },
  };
}
