import type { LogProblem } from "../../gen/ts/anchord/v1/problem_pb.js";
import type { AuditClient } from "./pages.js";
import { withProgress } from "./progress-bar.js";
import type { Progress } from "./progress-bar.js";

/** What comparing the whole log with its chain has found. */
export interface Verification {
  readonly batches: number;
  readonly records: number;
  readonly problems: readonly LogProblem[];
  /** Whether nothing was found that does not hold. */
  readonly isValid: boolean;
}

/** Has the service compare its database with the chain, under a progress bar. */
export function verification(client: AuditClient): Promise<Verification> {
  return withProgress("records", "pieces", (bar) => verify(client, bar));
}

async function verify(client: AuditClient, bar: Progress): Promise<Verification> {
  const problems: LogProblem[] = [];
  let [batches, records, total] = [0, 0, 0];
  let isWhole = false;
  for await (const step of client.verifyLog({})) {
    problems.push(...step.problems);
    [batches, records] = [Number(step.batchesChecked), Number(step.recordsChecked)];
    total = Number(step.problemsTotal);
    isWhole = step.done;
    bar.show(records, Number(step.recordsTotal));
  }
  if (!isWhole) throw new Error("the verification was cut short: try again");
  return { batches, records, problems, isValid: total === 0 };
}
