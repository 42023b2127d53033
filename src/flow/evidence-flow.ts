import type { Logger } from "pino";
import type { ClaimedFile } from "../content/evidence-files.js";
import { ContentKeeper } from "./content-keeper.js";
import { ContentWatch } from "./content-watch.js";
import { EvidenceDesk } from "./evidence.js";
import type { EvidenceRoom } from "./evidence.js";
import { Loop } from "./loop.js";

/** What evidence works with. */
export interface EvidenceFlowParts extends Omit<EvidenceRoom, "desk"> {
  /** Whether this daemon watches over files. */
  readonly leads: () => boolean;
  /** Whether the database is known to have every record that the chain has. */
  readonly isWhole: () => boolean;
  /** Called when there is something to seal, and perhaps to anchor. */
  readonly onRecorded: () => void;
  /** Each file is fetched and hashed again after this time, in milliseconds. */
  readonly checkEveryMs: number;
  /** Most bytes of files that are fetched again in a second. */
  readonly checkBytesPerSecond: number;
  readonly logger: Logger;
}

/** How often files that wait for the content store are tried again, in milliseconds. */
const KEEP_IDLE_MS = 5_000;

/** Evidence on its way: taken in at the desk, its files brought to the content store and watched over. */
export class EvidenceFlow {
  readonly room: EvidenceRoom;
  readonly #keeper: ContentKeeper;
  readonly #keeping: Loop;
  readonly #watch: ContentWatch;

  constructor(parts: EvidenceFlowParts) {
    const { log, files, leads, isWhole, onRecorded, checkEveryMs, checkBytesPerSecond, logger } =
      parts;
    const { database } = log;
    const common = { database, files, onRecorded, log: logger };
    const isTaking = (name: string) => desk.isTaking(name);
    const keeper = new ContentKeeper({ ...common, isWhole, isTaking });
    this.#keeper = keeper;
    const bring = (file: ClaimedFile) => keeper.bring(file);
    const desk: EvidenceDesk = new EvidenceDesk({ database, onAccepted: onRecorded, bring });
    this.room = { ...parts, desk };
    this.#keeping = new Loop("keep", () => keeper.turn(), { idleMs: KEEP_IDLE_MS, log: logger });
    this.#watch = new ContentWatch({
      ...common,
      leads,
      everyMs: checkEveryMs,
      bytesPerSecond: checkBytesPerSecond,
    });
  }

  /** What hinders files from being kept or looked at; undefined where nothing does. */
  get failure(): string | undefined {
    return this.#keeping.failure ?? this.#watch.failure;
  }

  start(): void {
    this.#keeping.start();
    this.#watch.start();
  }

  async stop(): Promise<void> {
    this.#keeper.stop();
    await Promise.all([this.#keeping.stop(), this.#watch.stop()]);
  }
}
