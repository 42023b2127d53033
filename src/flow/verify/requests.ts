import { hex } from "../../core/bytes.js";
import type { Entry } from "../../../gen/ts/anchord/v1/receipt_pb.js";
import type { Database } from "../../store/database.js";
import { decodeEntry } from "../../core/record.js";
import { entriesOf } from "../../store/records.js";
import type { RecordRow } from "../../store/records.js";
import {
  countRequests,
  requestsBehindEnd,
  requestsOfCaller,
  requestsOfSeqs,
} from "../../store/requests.js";
import type { RequestRow } from "../../store/requests.js";
import { differences, problem, recordProblem, show } from "./problem.js";
import type { Problem } from "./problem.js";

/** A record whose entry could be read. */
export interface ReadRecord {
  readonly row: RecordRow;
  readonly entry: Entry;
}

/** Most stray request ids that are named one by one. */
const NAMED = 1_000;

/** Compares the request ids that are stored with those of the entries. */
export class RequestCheck {
  #found = 0;
  #missed = false;

  constructor(private readonly database: Database) {}

  /** Says that an entry could not be read, so that its request id is not known. */
  miss(): void {
    this.#missed = true;
  }

  /** Looks for the requests of records that have one. */
  async check(asked: readonly ReadRecord[], batch: number): Promise<Problem[]> {
    const found = await this.#requestsOf(asked.map(({ entry }) => entry));
    const lost = asked.filter(
      ({ row, entry }) => found.get(requestKey(entry.caller, entry.requestId))?.seq !== row.seq,
    );
    const seqs = lost.map(({ row }) => row.seq);
    const bySeq = new Map(
      seqs.length === 0
        ? []
        : (await requestsOfSeqs(this.database, seqs)).map((row) => [row.seq, row]),
    );
    const repeated = await this.#repeated(lost, found);
    return asked.flatMap(({ row, entry }) => {
      if (repeated.has(row.seq)) return [];
      const request = bySeq.get(row.seq) ?? found.get(requestKey(entry.caller, entry.requestId));
      if (request === undefined) {
        return [
          recordProblem(
            row,
            batch,
            "requests.seq",
            `request id ${show(entry.requestId)} is missing`,
          ),
        ];
      }
      this.#found += 1;
      return differences(row, batch, [
        ["requests.caller", request.caller, entry.caller],
        ["requests.request_id", request.id, entry.requestId],
        ["requests.hash", hex(request.hash), hex(entry.requestHash)],
        ["requests.seq", request.seq, row.seq],
      ]);
    });
  }

  /**
   * Positions of records whose request id belongs to an earlier record that has it as well: after a
   * backup was restored, a request may have been recorded a second time.
   */
  async #repeated(
    lost: readonly ReadRecord[],
    found: ReadonlyMap<string, RequestRow>,
  ): Promise<Set<number>> {
    const repeated = new Set<number>();
    for (const { row, entry } of lost) {
      const { seq } = found.get(requestKey(entry.caller, entry.requestId)) ?? row;
      if (seq >= row.seq) continue;
      const [bytes] = await entriesOf(this.database, seq, seq + 1);
      const first = bytes && decodedEntry(bytes);
      if (first?.caller === entry.caller && first.requestId === entry.requestId)
        repeated.add(row.seq);
    }
    return repeated;
  }

  async #requestsOf(entries: readonly Entry[]): Promise<Map<string, RequestRow>> {
    const byCaller = new Map<string, string[]>();
    for (const { caller, requestId } of entries) {
      const ids = byCaller.get(caller);
      if (ids === undefined) byCaller.set(caller, [requestId]);
      else ids.push(requestId);
    }
    const found = new Map<string, RequestRow>();
    for (const [caller, ids] of byCaller) {
      for (const row of await requestsOfCaller(this.database, caller, ids)) {
        found.set(requestKey(row.caller, row.id), row);
      }
    }
    return found;
  }

  /** Request ids that no record was made by. Requires that every record was checked, or missed. */
  async strays(length: number): Promise<Problem[]> {
    const found = this.#found;
    const extra = this.#missed ? 0 : (await countRequests(this.database, length)) - found;
    const behind = await requestsBehindEnd(this.database, NAMED);
    return [
      ...(extra > 0
        ? [
            problem(
              0,
              "requests.seq",
              `${extra} request ids point to records that were not made by them`,
            ),
          ]
        : []),
      ...behind.map(({ id, seq }) =>
        problem(
          0,
          "requests.seq",
          `request id ${show(id)} points to ${seq}, behind the end of the log`,
        ),
      ),
    ];
  }
}

function decodedEntry(bytes: Uint8Array): Entry | undefined {
  try {
    return decodeEntry(bytes);
  } catch {
    return undefined; // the record's own check names it
  }
}

function requestKey(caller: string, id: string): string {
  return `${caller}\n${id}`;
}
