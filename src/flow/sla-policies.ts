import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Logger } from "pino";
import type { Entry } from "../../gen/ts/anchord/v1/receipt_pb.js";
import { hex } from "../core/bytes.js";
import { AnchordError } from "../core/errors.js";
import { CHAIN_CALLER, SERVICE_CALLER, subjectKey } from "../core/evidence.js";
import { canonicalHash, decodeEntry } from "../core/record.js";
import { policyFor } from "../core/sla-policy.js";
import type { SlaPolicy } from "../core/sla-policy.js";
import type { Database } from "../store/database.js";
import { readEntry } from "../store/entry.js";
import { findRecord, listRecords, logLength } from "../store/records.js";
import type { PlacedRecord } from "../store/records.js";
import { slaOf } from "../store/sla.js";
import { slaChangeByRecord } from "../store/sla-changes.js";
import { movePolicyCursor, policyCursor } from "../store/sla-policy.js";
import type { SlaDesk, SlaDraftChange } from "./sla.js";
import type { Turn } from "./loop.js";

/** What policies work with. */
export interface SlaPoliciesParts {
  readonly database: Database;
  readonly desk: SlaDesk;
  readonly policies: readonly SlaPolicy[];
  /** The ladder of the deadlines that they start. */
  readonly ladder: readonly number[];
  readonly log: Logger;
}

/** Records of one type that are looked at in one turn. */
const MOST_RECORDS = 100;

/**
 * Sets and meets deadlines as records call for it, each record looked at once, in the order of the log. What
 * is cut short is repeated under the same request id, and so done once.
 */
export class SlaPolicies {
  constructor(private readonly parts: SlaPoliciesParts) {}

  /** Looks at the records that have come since the last turn. */
  async turn(): Promise<Turn> {
    const { database } = this.parts;
    const cursor = await policyCursor(database);
    const length = await logLength(database);
    if (cursor > length) await this.#setBack(cursor, length);
    const { records, isAll } = await this.#next(cursor, length);
    for (const record of records) {
      await this.#look(record);
      await database.transact((trx) => movePolicyCursor(trx, record.seq + 1));
    }
    return isAll ? "idle" : "again";
  }

  /** A cursor behind the end was edited: no record would be looked at again until the log is as long. */
  async #setBack(cursor: number, length: number): Promise<void> {
    const { database, log } = this.parts;
    await database.transact((trx) => movePolicyCursor(trx, length));
    log.error(
      { cursor, length },
      "sla_policy.next_seq was edited to behind the end of the log, and is set back to the end: set by hand " +
        "the deadlines that records since the edit call for",
    );
  }

  /** Records of the policies' types in a range of positions, in their order, and whether those are all. */
  async #next(fromSeq: number, toSeq: number) {
    const { database, policies } = this.parts;
    const types = [...new Set(policies.map(({ type }) => type))];
    const options = { newestFirst: false, limit: MOST_RECORDS };
    const pages = await Promise.all(
      types.map((type) => listRecords(database, { type, fromSeq, toSeq }, options)),
    );
    const ends = pages.flatMap((page) => page[MOST_RECORDS - 1]?.seq ?? []);
    const end = Math.min(...ends);
    const records = pages.flat().filter(({ seq }) => seq <= end);
    return { records: records.sort((a, b) => a.seq - b.seq), isAll: ends.length === 0 };
  }

  /** Does what the policy for a record says. */
  async #look(record: PlacedRecord): Promise<void> {
    const { desk, policies, log } = this.parts;
    const entry = readEntry(record, decodeEntry);
    const { subject, caller } = entry;
    const policy = caller === CHAIN_CALLER ? undefined : policyFor(policies, entry);
    if (policy === undefined) return;
    const name = hex(record.id);
    const request = { id: `policy/${name}`, hash: canonicalHash({ cause: name }) };
    const isStart = policy.startSeconds !== undefined;
    try {
      const why = await this.#obstacle(record, subject, isStart);
      if (why !== undefined) return log.debug({ record: name, subject }, why);
      const change = this.#changeFor(policy, entry, record.id);
      await desk.accept({ caller: SERVICE_CALLER, subject, actor: "", request, change });
    } catch (error) {
      if (!(error instanceof AnchordError) || !REFUSALS.has(error.reason)) throw error;
      log.debug({ record: name, subject }, `a policy has no effect: ${error.message}`);
    }
  }

  #changeFor({ startSeconds }: SlaPolicy, entry: Entry, cause: Uint8Array): SlaDraftChange {
    if (startSeconds === undefined) return { kind: "MET", reason: "", cause };
    const happened = Math.floor(timestampMs(entry.occurTime as Timestamp) / 1_000);
    const when = { at: happened + startSeconds };
    return { kind: "SET", when, ladder: this.parts.ladder, details: undefined, cause };
  }

  /** What of the subject's deadline keeps a record from calling for a change of it. */
  async #obstacle(
    record: PlacedRecord,
    subject: string,
    isStart: boolean,
  ): Promise<string | undefined> {
    const setAt = await this.#setAt(subject);
    if (isStart) {
      const isNewer = setAt !== undefined && setAt > record.seq;
      return isNewer ? "a policy has no effect: a deadline was set since" : undefined;
    }
    const isOlder = setAt !== undefined && setAt < record.seq;
    return isOlder ? undefined : "a policy has no effect: no deadline was set before";
  }

  /**
   * Where in the log the subject's last deadline was set; one that a policy has set, where the record stands
   * that called for it. Undefined where there is none, or no record of it.
   */
  async #setAt(subject: string): Promise<number | undefined> {
    const { database } = this.parts;
    const setBy = await database.read(async (db) => {
      const sla = await slaOf(db, { subjectKey: subjectKey(subject) });
      const change = sla?.recordId && (await slaChangeByRecord(db, sla.recordId));
      return change?.cause ?? sla?.recordId;
    });
    return setBy && (await findRecord(database, setBy))?.seq;
  }
}

const REFUSALS: ReadonlySet<string> = new Set(["SLA_NOT_FOUND", "SLA_REFUSED"]);
