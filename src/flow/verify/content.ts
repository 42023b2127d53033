import { hex } from "../../core/bytes.js";
import { contentColumns, evidenceColumns } from "../../core/evidence.js";
import type { EvidenceColumns } from "../../core/evidence.js";
import type { Entry } from "../../../gen/ts/anchord/v1/receipt_pb.js";
import type { Database } from "../../store/database.js";
import { evidenceRecords } from "../../store/evidence-rows.js";
import type { EvidenceRow } from "../../store/evidence-rows.js";
import { entriesById } from "../../store/records.js";
import { keyText, rowsById, rowsByKey } from "./evidence-rows.js";
import { differences } from "./problem.js";
import type { Problem } from "./problem.js";
import { readEntry } from "./record.js";
import type { ReadRecord } from "./requests.js";

/** What a record says of a file. */
type Told = Pick<EvidenceColumns, "cid" | "size" | "content">;

/** A record that says something of a file, and the row of the evidence. */
export interface Claim {
  readonly record: ReadRecord;
  readonly told: Told;
  readonly row: EvidenceRow;
}

/** Compares what is stored of files with the records that tell of them. */
export class ContentCheck {
  constructor(private readonly database: Database) {}

  /** What records claim that tell of files in another state. */
  async claimsOf(records: readonly ReadRecord[]): Promise<Claim[]> {
    const checked = records.flatMap((record) => {
      const told = contentColumns(record.entry);
      return told === undefined ? [] : [{ record, told }];
    });
    const ids = checked.map(({ told }) => told.recordId);
    const rows = await rowsById(this.database, ids);
    // The row of a record that came to be the second one of its evidence belongs to the first.
    const seconds = ids.filter((id) => !rows.has(hex(id)));
    const keys = [...(await entriesById(this.database, seconds))].flatMap(([id, entry]) => {
      const columns = evidenceColumnsIn(entry);
      return columns === undefined ? [] : [{ id, ...columns }];
    });
    const firsts = await rowsByKey(this.database, keys);
    for (const key of keys) {
      const row = firsts.get(keyText(key));
      if (row !== undefined) rows.set(key.id, row);
    }
    return checked.flatMap(({ record, told }) => {
      const row = rows.get(hex(told.recordId));
      return row === undefined ? [] : [{ record, told, row }];
    });
  }

  /** Columns of files that are neither as a record claims, nor as a later one does. */
  async check(claims: readonly Claim[], batch: number): Promise<Problem[]> {
    const bySubject = new Map<string, Claim[]>();
    for (const claim of claims) {
      if (fileProblems(claim, batch).length === 0) continue;
      const { subject } = claim.record.entry;
      bySubject.set(subject, [...(bySubject.get(subject) ?? []), claim]);
    }
    const problems: Problem[] = [];
    for (const [subject, suspects] of bySubject) {
      for (const claim of await this.#unexplained(subject, suspects)) {
        problems.push(...fileProblems(claim, batch));
      }
    }
    return problems;
  }

  /**
   * Of claims that their rows do not agree with, those behind which the trail has no other of the file. One
   * that it has is compared in its turn.
   */
  async #unexplained(subject: string, suspects: readonly Claim[]): Promise<Set<Claim>> {
    const open = new Set(suspects);
    const first = Math.min(...suspects.map(({ record }) => record.row.seq));
    for await (const later of evidenceRecords(this.database, subject, first + 1)) {
      const entry = readEntry(later);
      if (typeof entry === "string") continue;
      for (const claim of open) {
        if (claim.record.row.seq < later.seq && explains(entry, claim)) open.delete(claim);
      }
      if (open.size === 0) break;
    }
    return open;
  }
}

/** The columns that the entry of a record of evidence calls for; undefined where it is of none. */
export function evidenceColumnsIn(bytes: Uint8Array): EvidenceColumns | undefined {
  const entry = readEntry({ entry: bytes });
  return typeof entry === "string" ? undefined : evidenceColumns(entry);
}

/** Whether a later entry of a claim's trail says why the row is otherwise. */
function explains(entry: Entry, { record, row }: Claim): boolean {
  if (digestIn(entry) !== digestIn(record.entry)) return false;
  const added = evidenceColumns(entry);
  return added === undefined || contentDifferences(row, added).length === 0;
}

function digestIn({ body }: Entry): string | undefined {
  return body.case === "evidenceAdded" || body.case === "evidenceChecked"
    ? body.value.sha256
    : undefined;
}

function fileProblems({ record, told, row }: Claim, batch: number): Problem[] {
  return differences(record.row, batch, contentDifferences(row, told));
}

/**
 * The columns of a file that are not as a record says, with what they are and must be. A file that was
 * accepted is kept without another record, and one that came later is told of once it is kept.
 */
function contentDifferences({ cid, size, content }: EvidenceRow, told: Told) {
  if (told.content === "NONE" && content === "PENDING") return [];
  const isKept = told.content === "PENDING" && content === "INTACT";
  const columns = [
    ["evidence.cid", cid, told.cid],
    ["evidence.size", size, told.size],
    ["evidence.content", content, isKept ? content : told.content],
  ] as const;
  return columns.filter(([, actual, expected]) => actual !== expected);
}
