import type { Logger } from "pino";
import type { ClaimedFile, EvidenceFiles } from "../content/evidence-files.js";
import { unhex } from "../core/bytes.js";
import { evidenceColumns } from "../core/evidence.js";
import { decodeEntry } from "../core/record.js";
import type { Database } from "../store/database.js";
import { readEntry } from "../store/entry.js";
import { evidenceByKey, evidenceByRecord } from "../store/evidence.js";
import type { StoredEvidence } from "../store/evidence.js";
import { findRecord } from "../store/records.js";
import { noteContent } from "./content-watch.js";
import { faultPoint } from "./faults.js";
import type { Turn } from "./loop.js";

/** What keeping files works with. */
export interface ContentKeeperParts {
  readonly database: Database;
  readonly files: EvidenceFiles;
  /** Whether a claim's record is being written now. */
  readonly isTaking: (name: string) => boolean;
  /** Whether the database is known to have every record that the chain has. */
  readonly isWhole: () => boolean;
  /** Called when something was recorded. */
  readonly onRecorded: () => void;
  readonly log: Logger;
}

/** How long a call waits for its file to be in the content store, in milliseconds. */
const BRING_MS = 1_000;

/** Files that are on their way to the content store at once. */
const MOST_AT_ONCE = 4;

/** A file that was refused is tried again after as long as this, and each time twice as long, up to a bound. */
const AGAIN_MS = 2_500;
const MOST_AGAIN_MS = 60_000;

/** A file that the content store did not take. */
interface Refused {
  readonly times: number;
  readonly until: number;
  readonly error: unknown;
}

/** Brings claimed files to the content store, now or, where that does not take them, as soon as it does. */
export class ContentKeeper {
  readonly #bringing = new Map<string, Promise<void>>();
  readonly #refused = new Map<string, Refused>();
  #stop: () => void = () => undefined;
  readonly #stopped = new Promise<void>((resolve) => (this.#stop = resolve));

  constructor(private readonly parts: ContentKeeperParts) {}

  /** Brings one file now. Resolves when it is there, was refused, or takes long: later turns try again. */
  async bring(file: ClaimedFile): Promise<void> {
    if (this.#bringing.size >= MOST_AT_ONCE) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, BRING_MS)));
    const { log } = this.parts;
    const brought = this.#bringOnce(file).catch((error: unknown) => {
      log.warn({ evidence: file.name, err: error }, "a file waits for the content store");
    });
    await Promise.race([brought, late]);
    clearTimeout(timer);
  }

  /** Brings the files that wait. Throws what one is refused for; that does not hold up the others. */
  async turn(): Promise<Turn> {
    const { files, isTaking } = this.parts;
    const claimed = await files.claimed();
    for (const file of claimed) {
      const { until = 0 } = this.#refused.get(file.name) ?? {};
      if (isTaking(file.name) || until > Date.now()) continue;
      await Promise.race([this.#bringOnce(file), this.#stopped]).catch(() => undefined); // told below
    }
    const names = new Set(claimed.map(({ name }) => name));
    for (const [name, { error }] of this.#refused) {
      if (names.has(name)) throw error;
      this.#refused.delete(name); // somebody else has brought it
    }
    return "idle";
  }

  /** Waits for no file any more: those that are on their way stay claimed. */
  stop(): void {
    this.#stop();
  }

  #bringOnce(file: ClaimedFile): Promise<void> {
    const { name } = file;
    const running = this.#bringing.get(name);
    if (running !== undefined) return running;
    const bringing = this.#bring(file)
      .then(
        () => void this.#refused.delete(name),
        (error: unknown) => {
          const times = (this.#refused.get(name)?.times ?? 0) + 1;
          const ms = Math.min(MOST_AGAIN_MS, AGAIN_MS * 2 ** Math.min(times, 10));
          this.#refused.set(name, { times, until: Date.now() + ms, error });
          throw error;
        },
      )
      .finally(() => this.#bringing.delete(name));
    this.#bringing.set(name, bringing);
    return bringing;
  }

  async #bring(file: ClaimedFile): Promise<void> {
    const { database, isWhole, onRecorded } = this.parts;
    const id = unhex(file.name);
    const known = await evidenceOf(database, id);
    if (known === undefined) {
      // Its record never came to be; or it is yet to be adopted, where a backup was restored.
      if (isWhole()) await file.discard();
      return;
    }
    // What was kept before may have been lost since.
    if (!(await file.keep())) return;
    await faultPoint("evidence.after-keep");
    const evidence = await evidenceOf(database, id); // somebody may have looked for it meanwhile
    if (evidence === undefined) return;
    if (await noteContent(database, evidence, "INTACT", 0)) onRecorded();
  }
}

/** The evidence that a record tells of, though another record may stand for it by now. */
async function evidenceOf(
  database: Database,
  recordId: Uint8Array,
): Promise<StoredEvidence | undefined> {
  const own = await database.read((db) => evidenceByRecord(db, recordId));
  if (own !== undefined) return own;
  const record = await findRecord(database, recordId);
  const columns = record && evidenceColumns(readEntry(record, decodeEntry));
  return columns && database.read((db) => evidenceByKey(db, columns));
}
