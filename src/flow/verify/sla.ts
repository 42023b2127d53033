import { hex, sameBytes, sha256, unhex } from "../../core/bytes.js";
import { CHAIN_CALLER, subjectKey } from "../../core/evidence.js";
import { recordedIntent, recordedRefusal } from "../../core/sla.js";
import type { Chain } from "../../chain/port.js";
import type { StoredIdentity } from "../../store/chain-position.js";
import type { Database } from "../../store/database.js";
import { entriesById, listRecords } from "../../store/records.js";
import {
  expectedCycle,
  slaChangeRow,
  slaChangesWithoutRecord,
  slaEventRows,
  slaSubjects,
} from "../../store/sla-check.js";
import type { ComparableRow, SlaEventRow } from "../../store/sla-check.js";
import { differences, problem, recordProblem } from "./problem.js";
import type { Problem } from "./problem.js";
import { readEntry } from "./record.js";
import type { ReadRecord } from "./requests.js";
import { SlaRowCheck } from "./sla-rows.js";

/** Most rows without a record that are named. */
const NAMED = 1_000;

/** Subjects that are read at once. */
const PAGE = 100;

/** Compares deadlines with the records that tell of them, and with the registry. */
export class SlaCheck {
  readonly #rows: SlaRowCheck;
  /** Subjects whose rows were compared, in hex. */
  readonly #checked = new Set<string>();

  constructor(
    private readonly database: Database,
    chain: Chain,
    private readonly identity: StoredIdentity,
  ) {
    this.#rows = new SlaRowCheck(database, chain, identity);
  }

  /** Looks for what is stored of the deadlines that records tell of. */
  async check(records: readonly ReadRecord[], batch: number): Promise<Problem[]> {
    const problems: Problem[] = [];
    for (const record of records) {
      const { body } = record.entry;
      if (body.case?.startsWith("deadline") !== true && body.case !== "levelRaised") continue;
      problems.push(...(await this.#change(record, batch)));
      problems.push(...(await this.#refusal(record, batch)));
      problems.push(...(await this.#told(record, batch)));
      for (const key of keysOf(record)) problems.push(...(await this.#subject(key, batch)));
    }
    return problems;
  }

  /** Deadlines that no record tells of, and changes without a record. */
  async *strays(): AsyncGenerator<Problem[]> {
    const ids = await slaChangesWithoutRecord(this.database, NAMED);
    yield ids.map((id) => {
      const message = `there is no record of change ${hex(id)}`;
      return { ...problem(0, "sla_changes.record_id", message), recordId: hex(id) };
    });
    let last: Uint8Array | undefined;
    do {
      const keys = await slaSubjects(this.database, last, PAGE);
      for (const key of keys) yield await this.#subject(key, 0);
      last = keys.length < PAGE ? undefined : keys.at(-1);
    } while (last !== undefined);
  }

  async #subject(key: Uint8Array, batch: number): Promise<Problem[]> {
    if (this.#checked.has(hex(key))) return [];
    this.#checked.add(hex(key));
    return [...(await this.#rows.check(key, batch)), ...(await this.#recordsOfEvents(key, batch))];
  }

  /** The row of a change that a record asks for, and whether the event is given to it that names it. */
  async #change({ row, entry }: ReadRecord, batch: number): Promise<Problem[]> {
    const told = recordedIntent(entry);
    if (told === undefined) return [];
    const id = sha256(row.entry);
    const change = await this.database.read((db) => slaChangeRow(db, id));
    if (change === undefined) {
      const message = "the row of this change is missing";
      return [recordProblem(row, batch, "sla_changes.record_id", message)];
    }
    const effect = (await this.#events(told.subjectKey)).find(
      ({ columns }) => columns["ref"] === hex(id) && columns["kind"] === told.intent.kind,
    );
    const isRefused = change.reason !== "" && (await this.#isRefused(id, entry.subject));
    const unsettled = isRefused ? "FAILED" : "WAITING";
    const of = { subjectKey: told.subjectKey, recordId: id };
    const expected = isRefused
      ? change.cycle
      : await this.database.read((db) => expectedCycle(db, of));
    return differences(row, batch, [
      ["sla_changes.subject_key", hex(change.subjectKey), hex(told.subjectKey)],
      ["sla_changes.kind", change.kind, told.intent.kind],
      ["sla_changes.state", change.state, effect === undefined ? unsettled : "DONE"],
      ["sla_changes.reason", change.reason, isRefused ? change.reason : ""],
      ["sla_changes.cycle", change.cycle, effect?.columns["cycle"] ?? expected],
      ["sla_events.record_id", effect?.recordId, effect && hex(id)],
    ]);
  }

  /** Whether the log says that the chain refused a change. */
  async #isRefused(recordId: Uint8Array, subject: string): Promise<boolean> {
    const query = { subject, type: "deadline_refused" };
    const refusals = await listRecords(this.database, query, { newestFirst: true, limit: NAMED });
    return refusals.some((row) => {
      const entry = readEntry(row);
      const refusal = typeof entry === "string" ? undefined : recordedRefusal(entry);
      return refusal !== undefined && sameBytes(refusal.recordId, recordId);
    });
  }

  /** The row of a change of which a record says that the chain refused it. */
  async #refusal({ row, entry }: ReadRecord, batch: number): Promise<Problem[]> {
    const refusal = recordedRefusal(entry);
    if (refusal === undefined) return [];
    const change = await this.database.read((db) => slaChangeRow(db, refusal.recordId));
    if (change === undefined) return []; // its own record's check names it
    return differences(row, batch, [["sla_changes.reason", change.reason, refusal.reason]]);
  }

  /** Whether what a record of the chain's tells of is noted, and as told by it. */
  async #told(record: ReadRecord, batch: number): Promise<Problem[]> {
    const { row, entry } = record;
    if (entry.caller !== CHAIN_CALLER) return [];
    const id = hex(sha256(row.entry));
    for (const key of keysOf(record)) {
      const event = (await this.#events(key)).find(
        ({ columns }) => placeOf(columns, this.identity.chainId) === entry.requestId,
      );
      if (event === undefined) continue;
      const isOwn = event.recordId !== undefined && event.recordId === event.columns["ref"];
      if (isOwn) return []; // the record that asked for it has come back
      return differences(row, batch, [["sla_events.record_id", event.recordId, id]]);
    }
    const message = "what this record tells of is not noted";
    return [recordProblem(row, batch, "sla_events.record_id", message)];
  }

  /** Records that events are given to, but that do not tell of them. */
  async #recordsOfEvents(key: Uint8Array, batch: number): Promise<Problem[]> {
    const given = (await this.#events(key)).flatMap(({ columns, recordId }) =>
      recordId === undefined ? [] : [{ columns, recordId }],
    );
    const entries = new Map<string, Uint8Array>();
    for (let at = 0; at < given.length; at += PAGE) {
      const ids = given.slice(at, at + PAGE).map(({ recordId }) => unhex(recordId));
      for (const pair of await entriesById(this.database, ids)) entries.set(...pair);
    }
    return given
      .filter(({ columns, recordId }) => {
        const bytes = entries.get(recordId);
        const entry = bytes === undefined ? "missing" : readEntry({ entry: bytes });
        if (typeof entry === "string") return true;
        if (entry.caller !== CHAIN_CALLER) return columns["ref"] !== recordId;
        return entry.requestId !== placeOf(columns, this.identity.chainId);
      })
      .map(({ recordId }) => {
        const message = `is ${recordId}, which does not tell of this event`;
        return problem(batch, "sla_events.record_id", message);
      });
  }

  #events(key: Uint8Array): Promise<SlaEventRow[]> {
    return this.database.read((db) => slaEventRows(db, key));
  }
}

/** What the deadline that a record tells of may be known by on chain. */
function keysOf({ entry: { caller, subject } }: ReadRecord): Uint8Array[] {
  const isBare = caller === CHAIN_CALLER && /^[0-9a-f]{64}$/.test(subject);
  return [...(isBare ? [unhex(subject)] : []), subjectKey(subject)];
}

/** The request id of the record that tells of an event. */
function placeOf(columns: ComparableRow, chainId: bigint): string {
  return `${chainId}/0x${columns["transaction_hash"]}/${columns["log_index"]}`;
}
