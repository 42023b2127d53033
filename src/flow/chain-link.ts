import type { Logger } from "pino";
import type { Signer } from "../chain/signer.js";
import type { Chain, SealedEvent } from "../chain/port.js";
import { BLOCK_RANGE } from "../chain/tail.js";
import type { Finality } from "../chain/tail.js";
import { adoptBatch } from "./adopt.js";
import { Anchorer } from "./anchor.js";
import { Auditor } from "./auditor.js";
import { followChain } from "./follow.js";
import type { Database } from "../store/database.js";
import type { ChainConnection } from "./audit-log.js";
import type { ChainClock } from "./chain-clock.js";
import { connectLog } from "./connect.js";
import { Leader } from "./lead.js";
import { Loop } from "./loop.js";
import type { Turn } from "./loop.js";
import type { ProgressWatch } from "./progress.js";
import { Publisher } from "./publish.js";
import type { Archive } from "./publish.js";
import { retentionLoop } from "./retention.js";
import { Sealer } from "./sealer.js";
import type { SealingMode } from "./sealer.js";
import { recordStrangers } from "./strangers.js";
import { Submitter } from "./submit.js";
import type { SubmitterParts } from "./submit.js";

/** How to reach the chain: found anew whenever the connection is. */
export interface ChainAccess {
  readonly chain: Chain;
  readonly contract: string;
  /** Address of EvidenceRegistry; undefined where the operator has none. */
  readonly evidence: string | undefined;
  /** Address of SLARegistry; undefined where the operator has none. */
  readonly sla: string | undefined;
  readonly signer: Signer;
  /** Whether the node still runs; a node of somebody else's always does, as far as we can help. */
  readonly isAlive: () => Promise<boolean>;
}

/** What contract calls are sent with: the same for as long as the connection lasts. */
export interface Acting extends Pick<SubmitterParts, "chain" | "signer" | "identity"> {
  readonly submitter: Submitter;
}

/** What the link between database and chain works with. */
export interface ChainLinkParts {
  readonly database: Database;
  /** Learns of the chain's time. */
  readonly clock: ChainClock;
  readonly watch: ProgressWatch;
  /** Called when following has changed something. */
  readonly onFollowed?: () => void;
  readonly archive: Archive;
  /** The log within the contract: 32 bytes. */
  readonly log: Uint8Array;
  readonly open: () => Promise<ChainAccess>;
  readonly finality: Finality;
  readonly pollMs: number;
  readonly maxRecords: number;
  readonly sealing: SealingMode;
  /** What the tips that the node suggests are multiplied by, from 1 on. */
  readonly tipMultiplier: number;
  /** Share of the time that the auditor takes, from 1 to 100. */
  readonly auditPercent: number;
  /** Days that events are kept; 0 for ever. */
  readonly eventRetentionDays: number;
  readonly logger: Logger;
}

const WATCH_MS = 2_000;
const SEAL_IDLE_MS = 1_000;
const ANCHOR_IDLE_MS = 1_000;
const PUBLISH_IDLE_MS = 5_000;

/** Looks at one and the same head behind ours after which the blocks above it count as gone. */
const LOOKS_AT_SHORTER = 60;

const NOT_BEHIND = { headHash: undefined, looks: 0 } as const;

/** Keeps the chain connected, and while this daemon leads, sealing, anchoring and following. */
export class ChainLink {
  readonly #stopping = new AbortController();
  readonly #leader: Leader;
  readonly #connecting: Loop;
  readonly #sealing: Loop;
  readonly #anchoring: Loop;
  readonly #following: Loop;
  readonly #publishing: Loop;
  readonly #auditor: Auditor;
  readonly #retention: Loop;
  readonly #publisher: Publisher;
  #connected:
    | {
        readonly access: ChainAccess;
        readonly connection: ChainConnection;
        readonly acting: Acting;
        readonly sealer: Sealer;
        /** Undefined where there is no EvidenceRegistry. */
        readonly anchorer: Anchorer | undefined;
      }
    | undefined;

  #isAtEnd = false;
  #behind: { readonly headHash: string | undefined; readonly looks: number } = NOT_BEHIND;

  constructor(private readonly parts: ChainLinkParts) {
    const { database, logger: log, pollMs } = parts;
    this.#leader = new Leader(database, () => this.#elected(), log);
    this.#connecting = new Loop("connect", () => this.#watchConnection(), {
      idleMs: WATCH_MS,
      log,
    });
    this.#sealing = new Loop("seal", () => this.#seal(), { idleMs: SEAL_IDLE_MS, log });
    this.#anchoring = new Loop("anchor", () => this.#anchor(), { idleMs: ANCHOR_IDLE_MS, log });
    this.#following = new Loop("follow", () => this.#follow(), { idleMs: pollMs, log });
    this.#publisher = new Publisher(database, parts.archive);
    this.#publishing = new Loop("publish", () => this.#publish(), {
      idleMs: PUBLISH_IDLE_MS,
      log,
    });
    this.#auditor = new Auditor({
      database,
      connection: () => (this.#leader.leads ? this.connection : undefined),
      percent: parts.auditPercent,
      log,
    });
    const { eventRetentionDays: days } = parts;
    this.#retention = retentionLoop(database, days, () => this.#leader.leads, log);
  }

  /** The chain, once it was reached. */
  get connection(): ChainConnection | undefined {
    return this.#connected?.connection;
  }

  /** Whether this daemon seals, anchors and follows. */
  get leads(): boolean {
    return this.#leader.leads;
  }

  /** Whether this daemon has followed the chain to its end, so that the database misses nothing of it. */
  get isAtEnd(): boolean {
    return this.leads && this.#isAtEnd && this.#following.failure === undefined;
  }

  /** What to send further calls with; undefined unless this daemon leads, and has followed the chain to its end. */
  get acting(): Acting | undefined {
    return this.isAtEnd ? this.#connected?.acting : undefined;
  }

  /** What the health check shows. */
  async state() {
    const leads = this.#leader.leads;
    const isLed = leads || (await this.#leader.isLed());
    return {
      leads,
      isLed,
      failure: this.#failure,
      storeFailure: this.#leader.failure,
      anchorFailure: this.#anchoring.failure,
      publishFailure: this.#publishing.failure,
      contentAddresses: this.parts.archive.content.addresses(),
    };
  }

  get #failure(): string | undefined {
    const loops = [this.#connecting, this.#following, this.#sealing];
    return loops.map(({ failure }) => failure).find((failure) => failure !== undefined);
  }

  /** Connects; a failure that only a person can mend is thrown, any other is tried again later. */
  async connect(): Promise<void> {
    if (this.#connected !== undefined) return;
    const { database, log, open, archive, maxRecords, sealing, tipMultiplier, logger } = this.parts;
    const access = await open();
    const { chain, contract, evidence, sla, signer } = access;
    const identity = await connectLog(database, chain, { contract, evidence, sla, log });
    const submitter = new Submitter({
      database,
      chain,
      signer,
      identity,
      tipMultiplier,
      onBroadcast: () => this.#following.wake(),
      log: logger,
    });
    const sealer = new Sealer({
      database,
      chain,
      signer,
      identity,
      submitter,
      keys: archive.keys,
      maxRecords,
      mode: sealing,
      signal: this.#stopping.signal,
      isAwaited: () => this.parts.watch.isAwaited,
      onSealed: (number, publication) => {
        this.#publisher.offer(number, publication);
        this.#publishing.wake();
      },
    });
    const adopt = async (event: SealedEvent) => {
      await adoptBatch(database, archive, identity, event);
      logger.warn({ batch: Number(event.seal.number) }, "adopted a batch that the database missed");
    };
    const connection = { chain, identity, sealer: signer.address, adopt };
    const { evidence: registry } = identity;
    const anchorer =
      registry === undefined
        ? undefined
        : new Anchorer({ database, chain, signer, identity, submitter, registry });
    const acting = { chain, signer, identity, submitter };
    this.parts.clock.look(await chain.latestBlock());
    this.#connected = { access, connection, acting, sealer, anchorer };
    this.wake();
  }

  start(): void {
    for (const part of [
      this.#leader,
      this.#connecting,
      this.#sealing,
      this.#anchoring,
      this.#following,
      this.#publishing,
      this.#auditor,
      this.#retention,
    ])
      part.start();
  }

  /** Says that the chain may have done something. */
  look(): void {
    this.#following.wake();
  }

  /** Says that there is something to seal, and perhaps to anchor. */
  wake(): void {
    this.#sealing.wake();
    this.#anchoring.wake();
  }

  /** Says that somebody waits for it to be on the chain. */
  hurry(): void {
    this.#sealing.hurry();
    this.#anchoring.hurry();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all([this.#connecting.stop(), this.#following.stop()]);
    await Promise.all([this.#sealing.stop(), this.#anchoring.stop()]);
    await this.#publishing.stop();
    await Promise.all([this.#auditor.stop(), this.#retention.stop()]);
    await this.#leader.stop();
  }

  #elected(): void {
    this.#connected?.sealer.reset();
    this.wake();
    this.#following.wake();
  }

  async #watchConnection(): Promise<Turn> {
    if (this.#connected !== undefined && !(await this.#connected.access.isAlive())) {
      this.#connected = undefined;
    }
    await this.connect();
    // Whoever follows looks at the clock as well.
    if (!this.#leader.leads) this.parts.clock.look(await this.connection?.chain.latestBlock());
    return "idle";
  }

  async #seal(): Promise<Turn> {
    if (this.#connected === undefined || !this.#leader.leads) return "idle";
    // What the chain has is not known while following fails, so nothing is built upon it.
    if (this.#following.failure !== undefined) return "idle";
    return this.#connected.sealer.turn();
  }

  async #anchor(): Promise<Turn> {
    if (this.#connected?.anchorer === undefined || !this.#leader.leads) return "idle";
    if (this.#following.failure !== undefined) return "idle";
    return this.#connected.anchorer.turn();
  }

  async #follow(): Promise<Turn> {
    if (this.#connected === undefined || !this.#leader.leads) return "idle";
    const { clock, database, finality, watch } = this.parts;
    const { acting, connection } = this.#connected;
    const { chain, identity, adopt } = connection;
    const trustsShorter = this.#behind.looks >= LOOKS_AT_SHORTER;
    const options = { ...finality, range: BLOCK_RANGE, trustsShorter };
    const followed = await followChain(database, chain, identity, options, adopt);
    const { changed, behind, transactions } = followed;
    const looks = behind === this.#behind.headHash ? this.#behind.looks + 1 : 1;
    this.#behind = behind === undefined ? NOT_BEHIND : { headHash: behind, looks };
    this.#isAtEnd = behind === undefined;
    clock.look(changed ? await chain.latestBlock() : undefined);
    const strangers = this.#isAtEnd ? await recordStrangers(database, identity.chainId) : 0;
    if (changed || strangers > 0) {
      watch.changed();
      this.parts.onFollowed?.();
      this.wake();
    }
    await acting.submitter.logMined(transactions);
    return "idle";
  }

  async #publish(): Promise<Turn> {
    if (this.#connected === undefined || !this.#leader.leads) return "idle";
    return this.#publisher.turn(this.#connected.connection.identity);
  }
}
