import { create } from "@bufbuild/protobuf";
import type { Logger } from "pino";
import {
  ContentState as ContentStateCode,
  EvidenceCheckedSchema,
} from "../../gen/ts/anchord/v1/record_pb.js";
import type { EvidenceFiles } from "../content/evidence-files.js";
import { hex, sameBytes } from "../core/bytes.js";
import { databaseAltered } from "../core/errors.js";
import { SERVICE_CALLER } from "../core/evidence.js";
import type { ContentState } from "../core/evidence.js";
import { encodeRecord } from "../core/record.js";
import { appendUnits, lockTail } from "../store/append.js";
import type { Database } from "../store/database.js";
import { storedEntry } from "../store/entry.js";
import { nextToCheck, setContent } from "../store/evidence.js";
import type { StoredEvidence } from "../store/evidence.js";
import { findRecord } from "../store/records.js";
import { Loop } from "./loop.js";
import type { Turn } from "./loop.js";

/** What watching works with. */
export interface ContentWatchParts {
  readonly database: Database;
  readonly files: EvidenceFiles;
  /** Called when something was recorded. */
  readonly onRecorded: () => void;
  readonly log: Logger;
  /** Whether this daemon watches. */
  readonly leads: () => boolean;
  /** Each file is looked at again after this time, in milliseconds. */
  readonly everyMs: number;
  /** Most bytes that are looked at in a second. */
  readonly bytesPerSecond: number;
}

/** How often the watch looks at the least whether something is due, in milliseconds. */
const WATCH_MS = 10_000;

/** Fetches and hashes every file again and again, the one that was looked at longest ago first. */
export class ContentWatch {
  readonly #stopping = new AbortController();
  readonly #loop: Loop;

  constructor(private readonly parts: ContentWatchParts) {
    const idleMs = Math.min(WATCH_MS, parts.everyMs);
    this.#loop = new Loop("watch", () => this.#turn(), { idleMs, log: parts.log });
  }

  /** What the last look failed with; undefined if it did not. */
  get failure(): string | undefined {
    return this.#loop.failure;
  }

  start(): void {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop.stop();
  }

  async #turn(): Promise<Turn> {
    const { database, leads, everyMs } = this.parts;
    if (!leads() || this.#stopping.signal.aborted) return "idle";
    const evidence = await nextToCheck(database);
    if (evidence === undefined || evidence.checkTime > Date.now() - everyMs) return "idle";
    await this.#check(evidence);
    return "again";
  }

  async #check(evidence: StoredEvidence): Promise<void> {
    const { files, bytesPerSecond } = this.parts;
    const { signal } = this.#stopping;
    const { found, after, sha256 } = await files.check(evidence.cid, { bytesPerSecond, signal });
    const isOther = sha256 !== undefined && !sameBytes(sha256, evidence.digest);
    const verdict = (now: typeof found) => (isOther ? "ALTERED" : VERDICTS[now]);
    // What another replica has kept, and this one fetched just now, was never missing.
    const isFetched = found === "missing" && after === "intact";
    const noted = isFetched ? evidence : await this.#note(evidence, verdict(found));
    if (after !== found) await this.#note(noted, verdict(after));
  }

  /** Notes what was found. A file may be on its way to the content store when it is first looked at. */
  async #note(evidence: StoredEvidence, found: ContentState): Promise<StoredEvidence> {
    const { database, onRecorded, log } = this.parts;
    const isFirstLook = evidence.content === "PENDING" && evidence.checkTime === 0;
    const content = isFirstLook && found === "MISSING" ? "PENDING" : found;
    if (await noteContent(database, evidence, content, Date.now())) {
      log.warn({ evidence: hex(evidence.recordId), from: evidence.content, to: content }, CHANGED);
      onRecorded();
    }
    return { ...evidence, content };
  }
}

const CHANGED = "a file of the content store was found in another state";

const VERDICTS = { intact: "INTACT", missing: "MISSING", altered: "ALTERED" } as const;

/**
 * Notes what was found of a file. A change is a record in the subject's trail, unless it is what the
 * record of the evidence had said already. Returns whether there is a new record.
 */
export async function noteContent(
  database: Database,
  evidence: StoredEvidence,
  found: ContentState,
  /** When it was looked at, in milliseconds since 1970; 0 where it is still to be. */
  checkTime: number,
): Promise<boolean> {
  const record = await changeRecord(database, evidence, found);
  return database.transact(async (trx) => {
    if (record !== undefined) await lockTail(trx, 0); // before the row, as accepting does
    const isNoted = await setContent(trx, evidence, found, checkTime);
    if (!isNoted || record === undefined) return false;
    await appendUnits(trx, [{ records: [record] }]);
    return true;
  });
}

/** The record of a change; undefined where there is nothing to tell. */
async function changeRecord(database: Database, evidence: StoredEvidence, found: ContentState) {
  const { recordId, digest, cid, size, content } = evidence;
  if (found === content) return undefined;
  const { subject, body } = await entryOf(database, evidence);
  const wasPromised = body.case === "evidenceAdded" && body.value.contentKept;
  if (content === "PENDING" && found === "INTACT" && wasPromised) return undefined;
  const value = create(EvidenceCheckedSchema, {
    evidenceId: hex(recordId),
    sha256: hex(digest),
    cid,
    state: ContentStateCode[found],
    previousState: ContentStateCode[content],
    size: BigInt(size ?? 0),
  });
  return encodeRecord({
    caller: SERVICE_CALLER,
    subject,
    actor: "",
    occurTime: undefined,
    request: undefined,
    body: { case: "evidenceChecked", value },
  });
}

async function entryOf(database: Database, { recordId }: StoredEvidence) {
  const record = await findRecord(database, recordId);
  if (record === undefined) throw databaseAltered(`record ${hex(recordId)} of evidence is missing`);
  return storedEntry(record);
}
