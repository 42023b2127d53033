import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { pino } from "pino";
import { createSigner } from "../../src/chain/signer.js";
import { web3Chain } from "../../src/chain/web3.js";
import { openEmbeddedContent } from "../../src/content/embedded.js";
import { openContentKeys } from "../../src/content/keys.js";
import { subjectKey } from "../../src/core/evidence.js";
import { logIdOf } from "../../src/core/head.js";
import { parsePolicies } from "../../src/core/sla-policy.js";
import { Acceptor } from "../../src/flow/accept.js";
import type { AuditLog } from "../../src/flow/audit-log.js";
import { ChainClock } from "../../src/flow/chain-clock.js";
import { ChainLink } from "../../src/flow/chain-link.js";
import { ProgressWatch } from "../../src/flow/progress.js";
import { ProofMaker } from "../../src/flow/receipts.js";
import type { SlaDraftChange, SlaRoom } from "../../src/flow/sla.js";
import { SlaFlow } from "../../src/flow/sla-flow.js";
import { ThreatScale } from "../../gen/ts/anchord/v1/record_pb.js";
import { openDatabase } from "../../src/store/database.js";
import type { Database } from "../../src/store/database.js";
import { migrate } from "../../src/store/migrations.js";
import { slaHistory, slaOf } from "../../src/store/sla.js";
import type { StoredSla } from "../../src/store/sla.js";
import type { StoredSlaChange } from "../../src/store/sla-changes.js";
import type { StoredSlaEvent } from "../../src/store/sla-events.js";
import { temporaryFolder } from "./daemon.js";
import type { ExternalChain } from "./external-chain.js";
import { until } from "./until.js";

/** What may differ from one service to the next. */
export interface SlaServiceOptions {
  /** Default: none. */
  readonly policies?: string;
  /** Default: 1,000,000. */
  readonly maxGas?: number;
  /** Blocks on top of a block that make it final. Default: 0. */
  readonly confirmations?: number;
  /** Default: a new SQLite file. */
  readonly database?: Parameters<typeof openDatabase>[0];
  /** Whether it runs from the start. Default: true. */
  readonly runs?: boolean;
}

/** A deadline with all that was asked and done. */
export interface WholeSla extends StoredSla {
  readonly changes: readonly StoredSlaChange[];
  readonly events: readonly StoredSlaEvent[];
}

/** Deadlines as the daemon keeps them, in this process: every part but the doors. */
export interface SlaService {
  readonly database: Database;
  readonly log: AuditLog;
  readonly room: SlaRoom;
  readonly clock: ChainClock;
  readonly flow: SlaFlow;
  /** How late each level was raised, in seconds, as the flow told. */
  readonly lateness: readonly number[];
  /** Begins to act, where it does not yet. */
  start(): Promise<void>;
  /** Hands a change in. Resolves to the id of its record. */
  ask(subject: string, change: Partial<SlaDraftChange>, requestId?: string): Promise<Uint8Array>;
  /** A subject's deadline, the last unless told. Throws where there is none. */
  sla(subject: string, cycle?: number): Promise<WholeSla>;
  /** Resolves once no change waits for the chain. */
  settled(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a service on a chain. */
export async function startSlaService(
  chain: ExternalChain,
  options: SlaServiceOptions = {},
): Promise<SlaService> {
  const folder = temporaryFolder();
  const database = openDatabase(options.database ?? { sqlitePath: join(folder, "log.db") });
  await migrate(database);
  const logger = pino({ level: process.env["TEST_LOG"] ?? "silent" });
  const clock = new ChainClock();
  const watch = new ProgressWatch(database, () => link.hurry());
  const content = openEmbeddedContent({ folder: join(folder, "ipfs"), listen: [], peers: [] });
  const { contract, evidence, sla: registry } = chain;
  const signer = createSigner(chain.environment["PRIVATE_KEY"] ?? "");
  const places = { contract, evidence, sla: registry, signer };
  const access = { chain: web3Chain(chain.url), ...places, isAlive: async () => true };
  const link: ChainLink = new ChainLink({
    ...{ database, clock, watch, logger, pollMs: 50, maxRecords: 1_000, tipMultiplier: 1 },
    sealing: { isAutomatic: true, intervalMs: 0, difficulty: 0 },
    onFollowed: () => flow.followed(),
    archive: { content, keys: openContentKeys(join(folder, "keys"), undefined) },
    log: logIdOf(randomUUID()),
    open: () => Promise.resolve(access),
    finality: { confirmations: options.confirmations ?? 0, asksFinalized: false },
    auditPercent: 1,
    eventRetentionDays: 0,
  });
  const log: AuditLog = {
    ...{ database, watch, proofs: new ProofMaker(database), scale: ThreatScale.HUNDRED },
    acceptor: new Acceptor(database, () => link.wake()),
    connection: () => link.connection,
    sealNow: () => link.hurry(),
  };
  const flow: SlaFlow = new SlaFlow({
    ...{ log, clock, logger, ladder: [0, 3_600], maxGas: options.maxGas ?? 1_000_000 },
    acting: () => link.acting,
    onRecorded: () => link.wake(),
    isConfigured: () => Promise.resolve(true),
    policies: parsePolicies(options.policies ?? "none"),
  });
  const lateness: number[] = [];
  flow.onRaised((seconds) => lateness.push(seconds));
  const start = async () => {
    await link.connect();
    link.start();
    flow.start();
    await until("it acts", () => link.acting !== undefined);
  };
  if (options.runs !== false) await start();
  return {
    ...{ database, log, room: flow.room, clock, flow, lateness, start },
    ask: (subject, change, id) => ask(flow.room, subject, change, id),
    sla: (subject, cycle) => wholeSla(database, subject, cycle),
    settled: () => until("no change waits", () => hasSettled(database)),
    stop: async () => {
      await flow.stop();
      await link.stop();
      await content.stop();
      await database.close();
    },
  };
}

async function ask(
  { desk, ladder }: SlaRoom,
  subject: string,
  change: Partial<SlaDraftChange>,
  requestId?: string,
): Promise<Uint8Array> {
  const unsaid = { reason: "because", ladder, details: undefined, cause: undefined };
  const { recordId } = await desk.accept({
    ...{ caller: "local", subject, actor: "ada" },
    request: requestId === undefined ? undefined : { id: requestId, hash: subjectKey(subject) },
    change: { ...unsaid, ...change } as SlaDraftChange,
  });
  return recordId;
}

function wholeSla(database: Database, subject: string, cycle?: number): Promise<WholeSla> {
  return database.read(async (db) => {
    const sla = await slaOf(db, { subjectKey: subjectKey(subject), cycle });
    if (sla === undefined) throw new Error(`there is no deadline for ${subject}`);
    return { ...sla, ...(await slaHistory(db, sla)) };
  });
}

async function hasSettled(database: Database): Promise<boolean> {
  const waiting = await database.read((db) =>
    db.selectFrom("sla_changes").select("id").where("state", "=", "WAITING").execute(),
  );
  return waiting.length === 0;
}
