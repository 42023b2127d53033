import { Readable } from "node:stream";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { SLACheckOutcome } from "../../../gen/ts/anchord/v1/sla_service_pb.js";
import type { SLACheckSchema, SLAService } from "../../../gen/ts/anchord/v1/sla_service_pb.js";
import { hex } from "../../core/bytes.js";
import { AnchordError } from "../../core/errors.js";
import { levelDue } from "../../core/sla.js";
import type { Cycle } from "../../core/sla.js";
import type { SlaRoom } from "../../flow/sla.js";
import type { Database } from "../../store/database.js";
import { slaOf } from "../../store/sla.js";
import type { StoredSla } from "../../store/sla.js";
import { dueSlas } from "../../store/sla-escalations.js";
import { beforeDeadline } from "../deadline.js";
import { pageSize } from "../page-token.js";
import { pipelined } from "../pipeline.js";
import { keysOf } from "../subject-keys.js";
import { missing, notFound } from "./find.js";
import { requireRegistry } from "./registry.js";
import type { Registry } from "./registry.js";

type Handlers = Pick<ServiceImpl<typeof SLAService>, "checkAndEscalate" | "batchCheckAndEscalate">;

type Check = MessageInitShape<typeof SLACheckSchema> & { readonly outcome: SLACheckOutcome };

const {
  SLA_CHECK_OUTCOME_RAISED: RAISED,
  SLA_CHECK_OUTCOME_NOT_DUE: NOT_DUE,
  SLA_CHECK_OUTCOME_PAUSED: PAUSED,
  SLA_CHECK_OUTCOME_MET: MET,
  SLA_CHECK_OUTCOME_UNKNOWN: UNKNOWN,
  SLA_CHECK_OUTCOME_PENDING: PENDING,
} = SLACheckOutcome;

/** How many deadlines the chain is asked for at once. */
const AT_ONCE = { most: 8, weigh: () => 1 } as const;

/** A subject, and what the chain has of it. */
interface Found {
  readonly subject: string;
  /** The last deadline, with the key that it stands under; undefined where there is none. */
  readonly last: { readonly subjectKey: Uint8Array; readonly cycle: Cycle } | undefined;
  /** The level that it should have. */
  readonly due: number;
}

/** One that has a level due. */
interface Due extends Found {
  readonly last: NonNullable<Found["last"]>;
}

/** The calls that ask the chain what is due, and see to it. */
export function checkHandlers(room: SlaRoom): Handlers {
  return {
    async checkAndEscalate({ subject }, context) {
      const found = await look(room, await requireRegistry(room), [subject]);
      const [check] = await escalated(room, found, context);
      if (check === undefined) throw new Error("a subject was not looked at");
      requireRaised(check, subject);
      return { check };
    },

    async batchCheckAndEscalate({ subjects, limit, dryRun }, context) {
      const registry = await requireRegistry(room);
      const asked = subjects.length > 0 ? subjects : await dueSubjects(room, pageSize(limit));
      const found = await look(room, registry, asked);
      return { checks: dryRun ? found.map(planned) : await escalated(room, found, context) };
    },
  };
}

/** Throws SLA_NOT_FOUND, SLA_REFUSED with the name of the contract's error, where nothing is due. */
function requireRaised({ outcome }: Check, subject: string): void {
  if (outcome === UNKNOWN) notFound(missing(subject));
  if (outcome === NOT_DUE) throw refused("NothingDue", `no level is due for ${subject}`);
  if (outcome === PAUSED) {
    throw refused("AlreadyPaused", `the deadline for ${subject} is paused: resume it first`);
  }
  if (outcome === MET) throw refused("NotOpen", `the deadline for ${subject} was met`);
}

function refused(refusal: string, message: string): AnchordError {
  return new AnchordError("SLA_REFUSED", message, { metadata: { refusal } });
}

/** What is due by what the database knows, the earliest first. */
async function dueSubjects({ log, now }: SlaRoom, limit: number): Promise<string[]> {
  const due = await dueSlas(log.database, now(), [], limit);
  return due.map(({ subject, subjectKey }) => (subject === "" ? hex(subjectKey) : subject));
}

/** What the chain has of the subjects, in their order. An idle node may show an old block: its clock counts. */
async function look(
  { now }: SlaRoom,
  { chain, contract }: Registry,
  subjects: readonly string[],
): Promise<Found[]> {
  const time = Math.max(now(), (await chain.latestBlock()).time);
  const find = async (subject: string): Promise<Found> => {
    for (const subjectKey of keysOf(subject)) {
      const cycle = await chain.slaCycle(contract, subjectKey);
      if (cycle === undefined) continue;
      return { subject, last: { subjectKey, cycle }, due: levelDue(cycle, time) };
    }
    return { subject, last: undefined, due: 0 };
  };
  const found: Found[] = [];
  for await (const each of pipelined(Readable.from(subjects), AT_ONCE, find)) found.push(each);
  return found;
}

function isDue(found: Found): found is Due {
  return found.last !== undefined && found.due > found.last.cycle.raised;
}

/** What would become of a check. */
function planned(found: Found): Check {
  return isDue(found) ? raised(found, found.due) : unraised(found, found.last?.cycle);
}

/** Has what is due raised, and says what became of it when the chain has all, or the caller must be answered. */
async function escalated(
  room: SlaRoom,
  found: readonly Found[],
  context: HandlerContext,
): Promise<Check[]> {
  const { database, watch } = room.log;
  const waiting = found.filter(isDue);
  if (waiting.length === 0) return found.map(planned);
  room.escalateSoon();
  const allSettled = async () => {
    for (let next = waiting.at(-1); next !== undefined; next = waiting.at(-1)) {
      if (!isSettled(next, await followed(database, next))) return false;
      waiting.pop();
    }
    return true;
  };
  await beforeDeadline(context, (signal) => watch.until(allSettled, signal));
  const checks: Check[] = [];
  for (const each of found) {
    checks.push(isDue(each) ? became(each, await followed(database, each)) : planned(each));
  }
  return checks;
}

/** The deadline as the chain was followed; undefined where that has not come to it yet. */
async function followed(
  database: Database,
  { last: { subjectKey, cycle } }: Due,
): Promise<StoredSla | undefined> {
  return database.read((db) => slaOf(db, { subjectKey, cycle: cycle.number }));
}

function isSettled({ due }: Due, sla: StoredSla | undefined): boolean {
  return sla !== undefined && (sla.raised >= due || sla.state === "MET" || sla.state === "PAUSED");
}

function became(found: Due, sla: StoredSla | undefined): Check {
  const { cycle } = found.last;
  if (sla !== undefined && sla.raised > cycle.raised) return raised(found, sla.raised);
  return isSettled(found, sla)
    ? unraised(found, sla)
    : { ...unraised(found, cycle), outcome: PENDING };
}

function raised({ subject, last }: Found, level: number): Check {
  return { subject, outcome: RAISED, level, previousLevel: last?.cycle.raised ?? 0 };
}

function unraised(
  { subject }: Found,
  cycle: Pick<StoredSla, "state" | "raised"> | undefined,
): Check {
  if (cycle === undefined) return { subject, outcome: UNKNOWN };
  const { state, raised: level } = cycle;
  const outcome = state === "MET" ? MET : state === "PAUSED" ? PAUSED : NOT_DUE;
  return { subject, outcome, level, previousLevel: level };
}
