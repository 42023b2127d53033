import { hex, hex0x } from "../../core/bytes.js";
import type { Chain, EvidenceAnchor, EvidenceEvent } from "../../chain/port.js";
import type { StoredIdentity } from "../../store/chain-position.js";
import type { Database } from "../../store/database.js";
import type { EvidenceKey } from "../../store/evidence.js";
import { groupTransactions } from "../../store/evidence-rows.js";
import { minedOperation } from "../../store/operations.js";
import { inParallel } from "../follow.js";
import { keyText } from "./evidence-rows.js";
import { problem, show } from "./problem.js";
import type { Problem } from "./problem.js";

/** A row that says where something with a key stands on the chain. */
export interface AnchoredRow extends EvidenceKey {
  /** What the row has in the columns that follow from an anchor; undefined where that is nothing. */
  readonly columns: Readonly<Record<string, string | number | undefined>>;
  /** The columns that are wrong where there is no such anchor; none where the row claims none. */
  readonly claims: readonly string[];
  /** A problem of this row. */
  readonly report: (column: string, message: string) => Problem;
}

/** Compares where evidence stands on the chain with the registry, and with what that announced. */
export class AnchorCheck {
  constructor(
    private readonly database: Database,
    private readonly chain: Chain,
    private readonly identity: StoredIdentity,
  ) {}

  /** `followedTo` is how far the chain was followed before the rows were read. */
  async check(rows: readonly AnchoredRow[], followedTo: number): Promise<Problem[]> {
    const { evidence: registry, deployBlock } = this.identity;
    const anchors = await inParallel(rows, ({ subjectKey, digest }) =>
      registry === undefined
        ? Promise.resolve(undefined)
        : this.chain.evidenceAnchor(registry, subjectKey, digest),
    );
    const why =
      registry === undefined ? "there is no registry" : "the registry has no anchor of it";
    const problems: Problem[] = [];
    const byBlock = new Map<number, [AnchoredRow, EvidenceAnchor][]>();
    for (const [i, row] of rows.entries()) {
      const anchor = anchors[i];
      if (anchor === undefined) {
        problems.push(...row.claims.map((column) => row.report(column, `is set, but ${why}`)));
      } else if (row.claims.length > 0) {
        const { blockNumber } = anchor;
        byBlock.set(blockNumber, [...(byBlock.get(blockNumber) ?? []), [row, anchor]]);
      } else if (anchor.blockNumber >= deployBlock && anchor.blockNumber <= followedTo) {
        problems.push(row.report("block_number", "the evidence is on chain, but not marked so"));
      }
    }
    const found = await inParallel([...byBlock], (block) => this.#inBlock(...block));
    return [...problems, ...found.flat()];
  }

  /** What the rows have otherwise than the block's events and the registry. */
  async #inBlock(
    blockNumber: number,
    rows: readonly (readonly [AnchoredRow, EvidenceAnchor])[],
  ): Promise<Problem[]> {
    const events = await this.chain.events(this.identity, blockNumber, blockNumber);
    const byKey = new Map(
      events.flatMap((event) => (event.type === "evidence" ? [[keyText(event), event]] : [])),
    );
    return rows.flatMap(([row, anchor]) => {
      const event = byKey.get(keyText(row));
      if (event === undefined) {
        return [row.report("transaction_hash", `block ${blockNumber} has no event of its anchor`)];
      }
      const expected: AnchoredRow["columns"] = expectedColumns(anchor, event);
      return Object.entries(row.columns)
        .filter(([column, actual]) => actual !== expected[column])
        .map(([column, actual]) =>
          row.report(column, `is ${show(actual)}, must be ${show(expected[column])}`),
        );
    });
  }

  /** The calls that are noted to have anchored groups must be ones that did. */
  async groups(groups: ReadonlySet<number>, batch: number): Promise<Problem[]> {
    const problems: Problem[] = [];
    for (const group of groups) {
      const mined = await minedOperation(this.database, { kind: "EVIDENCE", number: group });
      if (mined === undefined) continue;
      const transactions = await groupTransactions(this.database, group);
      if (transactions.size === 0 || transactions.has(hex(mined))) continue;
      const message = `is ${hex0x(mined)}, which anchored nothing of group ${group}`;
      problems.push(problem(batch, "operations.transaction_hash", message));
    }
    return problems;
  }
}

function expectedColumns({ submitter, time, blockNumber }: EvidenceAnchor, event: EvidenceEvent) {
  return {
    submitter,
    transaction_hash: event.transactionHash,
    block_number: blockNumber,
    block_hash: event.blockHash,
    block_time: time,
    cid: hex(event.cid),
    log_index: event.logIndex,
  };
}
