import { unhex } from "../../core/bytes.js";
import { AnchordError, invalidFields } from "../../core/errors.js";
import type { Database } from "../../store/database.js";
import { slaByRecord, slaOf } from "../../store/sla.js";
import type { StoredSla } from "../../store/sla.js";
import { keysOf } from "../subject-keys.js";

/** Which deadline a request names. */
export interface SlaName {
  /** Empty where it is named by its subject. */
  readonly id: string;
  readonly subject: string;
  /** 0 for the subject's last. */
  readonly cycle: number;
}

/** The deadline that a request names. Throws INVALID_FIELD, SLA_NOT_FOUND. */
export async function requireSla(database: Database, name: SlaName): Promise<StoredSla> {
  const { id, subject, cycle } = name;
  if (id !== "" && (subject !== "" || cycle !== 0)) {
    const description = "names a deadline alone: leave subject and cycle empty, or this";
    throw invalidFields([{ field: "id", description }]);
  }
  if (id !== "") {
    const sla = await database.read((db) => slaByRecord(db, unhex(id)));
    return sla ?? notFound(`no deadline was set by record ${id}: check the id, or see ListSLAs`);
  }
  if (subject === "") {
    const description = "must be set where no id is: set one of them";
    throw invalidFields([{ field: "subject", description }]);
  }
  return (await slaNamed(database, name)) ?? notFound(missing(subject, cycle));
}

/** The refusal of a subject that has no deadline, or none of this cycle. */
export function missing(subject: string, cycle = 0): string {
  const what = cycle === 0 ? "no deadline was ever set" : `there is no deadline ${cycle}`;
  return `${what} for ${subject}: check the subject, or see ListSLAs`;
}

/** Throws SLA_NOT_FOUND. */
export function notFound(message: string): never {
  throw new AnchordError("SLA_NOT_FOUND", message);
}

async function slaNamed(
  database: Database,
  { subject, cycle }: SlaName,
): Promise<StoredSla | undefined> {
  return database.read(async (db) => {
    for (const subjectKey of keysOf(subject)) {
      const sla = await slaOf(db, { subjectKey, cycle: cycle === 0 ? undefined : cycle });
      if (sla !== undefined) return sla;
    }
    return undefined;
  });
}
