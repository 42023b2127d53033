import { hex, hex0x, sha256 } from "../../core/bytes.js";
import { CHAIN_CALLER, evidenceColumns } from "../../core/evidence.js";
import type { EvidenceColumns } from "../../core/evidence.js";
import type { Chain } from "../../chain/port.js";
import { chainPosition } from "../../store/chain-position.js";
import type { StoredIdentity } from "../../store/chain-position.js";
import type { Database } from "../../store/database.js";
import type { EvidenceKey } from "../../store/evidence.js";
import { evidenceWithoutRecord, strangeRows } from "../../store/evidence-rows.js";
import type { EvidenceRow, StrangeRow } from "../../store/evidence-rows.js";
import { findRecord } from "../../store/records.js";
import { AnchorCheck } from "./anchors.js";
import type { AnchoredRow } from "./anchors.js";
import { ContentCheck, evidenceColumnsIn } from "./content.js";
import { keyText, rowsById, rowsByKey } from "./evidence-rows.js";
import { differences, problem, recordProblem } from "./problem.js";
import type { Problem } from "./problem.js";
import type { ReadRecord } from "./requests.js";

/** Most rows without a record that are named. */
const NAMED = 1_000;

/** Anchors without a record that are read at once. */
const PAGE = 500;

/** Evidence, and the record that it was accepted with. */
interface Owned {
  readonly record: ReadRecord;
  readonly columns: EvidenceColumns;
  readonly row: EvidenceRow;
}

/** Compares evidence with the records that tell of it, and with the registry. */
export class EvidenceCheck {
  readonly #anchors: AnchorCheck;
  readonly #content: ContentCheck;

  constructor(
    private readonly database: Database,
    chain: Chain,
    identity: StoredIdentity,
  ) {
    this.#anchors = new AnchorCheck(database, chain, identity);
    this.#content = new ContentCheck(database);
  }

  /** Looks for what is stored of the evidence that records tell of. */
  async check(records: readonly ReadRecord[], batch: number): Promise<Problem[]> {
    const telling = records.filter(({ entry: { body } }) => body.case?.startsWith("evidence"));
    if (telling.length === 0) return [];
    const followedTo = (await chainPosition(this.database))?.blockNumber ?? 0;
    const { owned, problems } = await this.#owned(telling, batch);
    const claims = [
      ...owned.map(({ record, columns, row }) => ({ record, told: columns, row })),
      ...(await this.#content.claimsOf(telling)),
    ];
    const anchored = owned.filter(({ row }) => row.place.transactionHash !== undefined);
    const groups = new Set(anchored.flatMap(({ row: { group } }) => group ?? []));
    return [
      ...problems,
      ...(await this.#content.check(claims, batch)),
      ...(await this.#anchors.check(owned.map(anchoredRow(batch)), followedTo)),
      ...(await this.#anchors.groups(groups, batch)),
    ];
  }

  /** Evidence that no record tells of, and anchors without a record. */
  async *strays(): AsyncGenerator<Problem[]> {
    const ids = await evidenceWithoutRecord(this.database, NAMED);
    yield ids.map((id) => {
      const message = `there is no record of evidence ${hex(id)}`;
      return { ...problem(0, "evidence.record_id", message), recordId: hex(id) };
    });
    let last: StrangeRow | undefined;
    do {
      const rows = await strangeRows(this.database, last, PAGE);
      const known = rows.filter(({ isKnown }) => isKnown).map(strangeProblem);
      yield [
        ...known.map((report) => report("digest", "there is evidence with its key")),
        ...(await this.#anchors.check(rows.map(strangeAnchoredRow), 0)),
      ];
      last = rows.length < PAGE ? undefined : rows.at(-1);
    } while (last !== undefined);
  }

  /**
   * The rows of records of evidence. A record whose key belongs to an earlier one has none: after a backup
   * was restored, the same evidence may have been recorded a second time. Nor has a stranger's that was
   * handed in later.
   */
  async #owned(records: readonly ReadRecord[], batch: number) {
    const added = records.flatMap((record) => {
      const columns = evidenceColumns(record.entry);
      return columns === undefined ? [] : [{ record, columns, id: sha256(record.row.entry) }];
    });
    const byId = await rowsById(
      this.database,
      added.map(({ id }) => id),
    );
    const byKey = await rowsByKey(
      this.database,
      added.map(({ columns }) => columns),
    );
    const owned: Owned[] = [];
    const problems: Problem[] = [];
    for (const { record, columns, id } of added) {
      const row = byId.get(hex(id));
      const ofKey = byKey.get(keyText(columns));
      if (row !== undefined) {
        owned.push({ record, columns, row });
        problems.push(...keyProblems({ record, columns, row }, batch));
      } else if (ofKey === undefined) {
        const message = "the row of this evidence is missing";
        problems.push(recordProblem(record.row, batch, "evidence.record_id", message));
      } else if (
        record.entry.caller !== CHAIN_CALLER &&
        !(await this.#isEarlier(ofKey, record, columns))
      ) {
        const pair = ["evidence.record_id", hex(ofKey.recordId), hex(id)] as const;
        problems.push(...differences(record.row, batch, [pair]));
      }
    }
    return { owned, problems };
  }

  /** Whether a row belongs to an earlier record of the same evidence. */
  async #isEarlier(
    { recordId }: EvidenceRow,
    { row }: ReadRecord,
    key: EvidenceKey,
  ): Promise<boolean> {
    const holder = await findRecord(this.database, recordId);
    if (holder === undefined || holder.seq >= row.seq) return false;
    const columns = evidenceColumnsIn(holder.entry);
    return columns !== undefined && keyText(columns) === keyText(key);
  }
}

function keyProblems({ record, columns, row }: Owned, batch: number): Problem[] {
  return differences(record.row, batch, [
    ["evidence.subject_key", hex(row.subjectKey), hex(columns.subjectKey)],
    ["evidence.digest", hex(row.digest), hex(columns.digest)],
  ]);
}

/** Evidence as its anchor is compared, by the key that its record calls for. */
function anchoredRow(batch: number) {
  return ({ record, columns: { subjectKey, digest }, row: { place } }: Owned): AnchoredRow => {
    const columns = placeColumns(place);
    const set = Object.keys(columns).filter((column) => columns[column] !== undefined);
    const isWhole = set.length === Object.keys(columns).length;
    return {
      subjectKey,
      digest,
      columns,
      claims: isWhole ? ["block_number"] : set,
      report: (column, message) => recordProblem(record.row, batch, `evidence.${column}`, message),
    };
  };
}

function strangeAnchoredRow(row: StrangeRow): AnchoredRow {
  const { subjectKey, digest, anchor, cid, logIndex } = row;
  return {
    subjectKey,
    digest,
    columns: { ...placeColumns(anchor), cid: hex(cid), log_index: logIndex },
    claims: ["subject_key", "digest"],
    report: strangeProblem(row),
  };
}

function strangeProblem({ subjectKey, digest }: EvidenceKey): AnchoredRow["report"] {
  const what = `the anchor of file ${hex(digest)} for subject ${hex(subjectKey)}`;
  return (column, message) => problem(0, `strange_anchors.${column}`, `${what}: ${message}`);
}

function placeColumns(place: EvidenceRow["place"]): AnchoredRow["columns"] {
  const { submitter, transactionHash, blockNumber, blockHash, blockTime } = place;
  return {
    submitter: submitter && hex0x(submitter),
    transaction_hash: transactionHash && hex0x(transactionHash),
    block_number: blockNumber,
    block_hash: blockHash && hex0x(blockHash),
    block_time: blockTime,
  };
}
