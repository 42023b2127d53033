import type { JsonObject } from "@bufbuild/protobuf";
import { hex } from "../../core/bytes.js";
import type { Problem } from "../verify/problem.js";
import type { GasSpent, Integrity, ReportFacts, ReportRecord } from "./facts.js";
import { RECORD_FIELDS } from "./record-fields.js";

/** A report as one JSON object, by the names that its readers know. A record is a line. */
export async function* jsonReport(
  facts: ReportFacts,
  records: AsyncIterable<readonly ReportRecord[]>,
): AsyncGenerator<string> {
  const summary = JSON.stringify(summaryOf(facts), undefined, 2);
  if (!facts.detailed) {
    yield `${summary}\n`;
    return;
  }
  yield `${summary.slice(0, -"\n}".length)},\n  "transactions": [`;
  let separator = "\n    ";
  for await (const page of records) {
    for (const record of page) {
      yield separator + JSON.stringify(recordOf(record));
      separator = ",\n    ";
    }
  }
  yield "\n  ]\n}\n";
}

function summaryOf(facts: ReportFacts) {
  const { type, start, end, generatedAt, count, types, identity, detailed } = facts;
  return {
    report_type: type ?? "all",
    generated_at: generatedAt.toISOString(),
    transaction_count: count,
    transaction_types: Object.fromEntries(types.map((each) => [each.type, each.count])),
    time_range: { start: start ?? null, end: end ?? null },
    log:
      identity === undefined
        ? null
        : {
            chain_id: identity.chainId.toString(),
            contract: identity.contract,
            log: hex(identity.log),
          },
    integrity: integrityOf(facts.integrity),
    gas_by_month: gasOf(facts.gas),
    gas_unknown_transactions: facts.gas.unknown,
    ...(detailed ? dailyCounts(facts) : {}),
  };
}

function integrityOf(integrity: Integrity) {
  const { verdict, checkedAt, recordsNotAnchored } = integrity;
  const found = { verdict, records_not_anchored: recordsNotAnchored };
  if (checkedAt === undefined) return found;
  return {
    ...found,
    checked_at: checkedAt.toISOString(),
    batches_checked: integrity.batchesChecked,
    records_checked: integrity.recordsChecked,
    problems_total: integrity.problemsTotal,
    problems: integrity.problems.map(problemJson),
  };
}

function problemJson({ batch, seq, recordId, column, message }: Problem) {
  return { batch_number: batch, sequence: seq ?? null, record_id: recordId, column, message };
}

function gasOf({ months }: GasSpent) {
  return Object.fromEntries(months.map(({ month, ...spent }) => [month, spent]));
}

function dailyCounts({ days }: ReportFacts) {
  const counts = new Map<string, number>();
  const byType = new Map<string, Map<string, number>>();
  for (const { day, type, count } of days) {
    counts.set(day, (counts.get(day) ?? 0) + count);
    byType.set(day, (byType.get(day) ?? new Map<string, number>()).set(type, count));
  }
  return {
    daily_counts: Object.fromEntries(counts),
    daily_counts_by_type: Object.fromEntries(
      [...byType].map(([day, each]) => [day, Object.fromEntries(each)]),
    ),
  };
}

function recordOf(record: ReportRecord): JsonObject {
  return Object.fromEntries(
    Object.entries(RECORD_FIELDS).map(([name, valueOf]) => [name, valueOf(record)]),
  );
}
