import { storedAudit } from "../../store/audit.js";
import type { Database } from "../../store/database.js";

/** Whether everything that is shown of a complaint is as the chain has it, and nothing is missing. */
export interface ComplaintVerdict {
  /** Null where nothing speaks against it, but the chain could not be asked. */
  readonly verified: boolean | null;
  /** Why it is not true. */
  readonly note?: string;
}

const DIFFERS =
  "Some of this is not as the blockchain has it, or not on it yet: audit-trail/ tells which events, status/ which files";

const NOTED =
  "The auditor has found that the database is not as the blockchain has it. A record of this complaint may have " +
  "been deleted with no trace in its trail: GET /health names the difference, VerifyLog names all";

const UNREACHED =
  "The blockchain cannot be reached now, so nothing of this was verified. Ask again later";

/**
 * The verdict on a complaint whose events and files have these; null stands for one that the chain could not
 * be asked about. The last record of a trail can be deleted without a trace there, and the auditor's pass ends
 * at the first difference, whichever it is: while it has one, nobody can tell that this trail is whole.
 */
export async function complaintVerdict(
  database: Database,
  verified: readonly (boolean | null)[],
): Promise<ComplaintVerdict> {
  if (verified.includes(false)) return { verified: false, note: DIFFERS };
  const problem = (await storedAudit(database))?.problem ?? "";
  if (problem !== "") return { verified: false, note: NOTED };
  return verified.includes(null) ? { verified: null, note: UNREACHED } : { verified: true };
}
