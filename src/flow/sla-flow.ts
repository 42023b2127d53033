import type { Logger } from "pino";
import type { SlaPolicy } from "../core/sla-policy.js";
import { lastSlaEvent, raisedLevels } from "../store/sla-lateness.js";
import type { Acting } from "./chain-link.js";
import type { ChainClock } from "./chain-clock.js";
import { Loop } from "./loop.js";
import type { Turn } from "./loop.js";
import { SlaDesk } from "./sla.js";
import type { SlaRoom } from "./sla.js";
import { SlaKeeper } from "./sla-keeper.js";
import { SlaPolicies } from "./sla-policies.js";
import { SlaSender } from "./sla-sender.js";

/** What deadlines work with. */
export interface SlaFlowParts extends Pick<SlaRoom, "log" | "isConfigured" | "ladder"> {
  /** What this daemon sends calls with; undefined while it must not. */
  readonly acting: () => Acting | undefined;
  readonly clock: ChainClock;
  /** Called when there is something to seal. */
  readonly onRecorded: () => void;
  readonly policies: readonly SlaPolicy[];
  /** Most gas of a transaction that escalates. */
  readonly maxGas: number;
  readonly logger: Logger;
}

/** How often changes that wait for the chain are looked at, in milliseconds. */
const SEND_IDLE_MS = 1_000;

/** How often records are looked at for what policies make of them, in milliseconds. */
const POLICIES_IDLE_MS = 500;

/** How long the keeper rests at the most, and while it has nothing to go by, in milliseconds. */
const KEEP_IDLE_MS = 60_000;
const KEEP_AGAIN_MS = 1_000;

/** Levels whose lateness is read in one go. */
const MOST_LEVELS_READ = 1_000;

/** What acts upon a registry, for as long as the connection to its chain lasts. */
interface Crew {
  readonly acting: Acting;
  readonly sender: SlaSender;
  readonly keeper: SlaKeeper;
}

/** Deadlines on their way: taken in at the desk or by a policy, sent to the chain, and escalated there. */
export class SlaFlow {
  readonly room: SlaRoom;
  readonly #policies: SlaPolicies;
  readonly #sending: Loop;
  readonly #keeping: Loop;
  readonly #following: Loop;
  readonly #measuring: Loop;
  #crew: Crew | undefined;
  #alarm: NodeJS.Timeout | undefined;
  /** Up to which event lateness was told; undefined before the first look. */
  #told: number | undefined;
  #onRaised: (lateness: number) => void = () => undefined;

  constructor(private readonly parts: SlaFlowParts) {
    const { log, isConfigured, ladder, clock, onRecorded, policies, logger } = parts;
    const { database, connection } = log;
    const onAccepted = () => {
      onRecorded();
      this.#sending.wake();
    };
    const desk = new SlaDesk({ database, connection, clock, onAccepted });
    const escalateSoon = () => this.#keeping.hurry();
    this.room = { log, desk, isConfigured, now: () => clock.now(), ladder, escalateSoon };
    this.#policies = new SlaPolicies({ database, desk, policies, ladder, log: logger });
    const loop = (name: string, turn: () => Promise<Turn>, idleMs: number) =>
      new Loop(name, turn, { idleMs, log: logger });
    this.#sending = loop("send deadlines", () => this.#send(), SEND_IDLE_MS);
    this.#keeping = loop("escalate", () => this.#keep(), KEEP_IDLE_MS);
    this.#following = loop("follow policies", () => this.#followPolicies(), POLICIES_IDLE_MS);
    this.#measuring = loop("measure lateness", () => this.#measure(), KEEP_IDLE_MS);
  }

  /** What hinders changes, escalations or policies; undefined where nothing does. */
  get failure(): string | undefined {
    return this.#sending.failure ?? this.#keeping.failure ?? this.#following.failure;
  }

  /** Calls back with how late each level is raised, in seconds, as the chain is followed. */
  onRaised(tell: (lateness: number) => void): void {
    this.#onRaised = tell;
  }

  start(): void {
    for (const loop of this.#loops) loop.start();
  }

  /** Says that following has changed something. */
  followed(): void {
    this.#sending.wake();
    this.#keeping.wake();
    this.#measuring.wake();
  }

  async stop(): Promise<void> {
    await Promise.all(this.#loops.map((loop) => loop.stop()));
    clearTimeout(this.#alarm);
  }

  get #loops(): readonly Loop[] {
    return [this.#sending, this.#keeping, this.#following, this.#measuring];
  }

  async #send(): Promise<Turn> {
    return (await this.#acting()?.sender.turn()) ?? "idle";
  }

  async #keep(): Promise<Turn> {
    clearTimeout(this.#alarm);
    const keeper = this.#acting()?.keeper;
    const turn = (await keeper?.turn()) ?? "idle";
    if (turn !== "idle") return turn;
    const restMs = keeper === undefined ? KEEP_AGAIN_MS : await keeper.restMs();
    if (restMs !== undefined && restMs < KEEP_IDLE_MS) {
      this.#alarm = setTimeout(() => this.#keeping.wake(), Math.max(0, restMs));
    }
    return "idle";
  }

  async #followPolicies(): Promise<Turn> {
    return this.#acting() === undefined ? "idle" : this.#policies.turn();
  }

  async #measure(): Promise<Turn> {
    const { database } = this.parts.log;
    this.#told ??= await lastSlaEvent(database);
    const levels = await raisedLevels(database, this.#told, MOST_LEVELS_READ);
    for (const { lateness } of levels) this.#onRaised(lateness);
    this.#told = levels.at(-1)?.id ?? this.#told;
    return levels.length === MOST_LEVELS_READ ? "again" : "idle";
  }

  /** Who acts; undefined while this daemon must not, or where there is no registry. */
  #acting(): Crew | undefined {
    const acting = this.parts.acting();
    const registry = acting?.identity.sla;
    if (acting === undefined || registry === undefined) return undefined;
    if (this.#crew?.acting === acting) return this.#crew;
    const { log, clock, onRecorded, maxGas, logger } = this.parts;
    const common = { ...acting, database: log.database, registry, clock };
    this.#crew = {
      acting,
      sender: new SlaSender({ ...common, onRecorded, log: logger }),
      keeper: new SlaKeeper({ ...common, maxGas }),
    };
    return this.#crew;
  }
}
