import { progress } from "../../store/batches.js";
import type { Database } from "../../store/database.js";
import { countRecords } from "../../store/records.js";
import type { RecordQuery } from "../../store/records.js";
import type { ChainConnection } from "../audit-log.js";
import { verifyLog } from "../verify/log.js";
import type { VerifyProgress } from "../verify/log.js";
import type { Problem } from "../verify/problem.js";
import type { Integrity } from "./facts.js";

/** Most problems that a report names. */
const NAMED = 100;

const WHOLE_LOG = { first: 0, last: 0 } as const;

/** How far the check has come. */
export interface CheckProgress {
  readonly type: "progress";
  readonly progress: VerifyProgress;
}

/**
 * Compares the whole log with the chain: a record that was moved out of a report, by its time or its type, may
 * have stood anywhere. Tells how far it has come, and returns what it found of it and of the report's records.
 */
export async function* checkIntegrity(
  database: Database,
  { chain, identity }: ChainConnection,
  query: RecordQuery,
): AsyncGenerator<CheckProgress, Integrity> {
  const problems: Problem[] = [];
  let last: VerifyProgress | undefined;
  for await (const step of verifyLog(database, chain, identity, WHOLE_LOG)) {
    problems.push(...step.problems.slice(0, NAMED - problems.length));
    last = step;
    yield { type: "progress", progress: step };
  }
  const { batchesChecked = 0, recordsChecked = 0, problemsTotal = 0 } = last ?? {};
  return {
    verdict: problemsTotal > 0 ? "broken" : "intact",
    checkedAt: new Date(),
    batchesChecked,
    recordsChecked,
    recordsNotAnchored: await notAnchored(database, query),
    problemsTotal,
    problems,
  };
}

/** What is said where nothing was checked. */
export async function uncheckedIntegrity(
  database: Database,
  query: RecordQuery,
): Promise<Integrity> {
  return {
    verdict: "not_checked",
    checkedAt: undefined,
    batchesChecked: 0,
    recordsChecked: 0,
    recordsNotAnchored: await notAnchored(database, query),
    problemsTotal: 0,
    problems: [],
  };
}

async function notAnchored(database: Database, query: RecordQuery): Promise<number> {
  const { anchored } = await progress(database);
  return countRecords(database, { ...query, fromSeq: anchored });
}
