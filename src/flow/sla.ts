import { create } from "@bufbuild/protobuf";
import type { JsonObject } from "@bufbuild/protobuf";
import type { Kysely } from "kysely";
import {
  DeadlineExtendedSchema,
  DeadlineMetSchema,
  DeadlinePausedSchema,
  DeadlineResumedSchema,
  DeadlineSetSchema,
} from "../../gen/ts/anchord/v1/record_pb.js";
import { hex } from "../core/bytes.js";
import { isChainAway } from "../core/errors.js";
import type { AnchordError } from "../core/errors.js";
import { subjectKey } from "../core/evidence.js";
import { encodeRecord } from "../core/record.js";
import type { Body, EncodedRecord, RecordDraft } from "../core/record.js";
import { announced, changed, refusalOf } from "../core/sla.js";
import type { Cycle, SlaIntent } from "../core/sla.js";
import { refusalError } from "../core/sla-refusal.js";
import { lockTail } from "../store/append.js";
import { appendSlaChange, earlierSlaChange, subjectSla } from "../store/sla-changes.js";
import type { EarlierSlaChange, SubjectSla } from "../store/sla-changes.js";
import type { Tables } from "../store/tables.js";
import { reused } from "./accept.js";
import type { AuditLog } from "./audit-log.js";
import type { ChainClock } from "./chain-clock.js";
import { faultPoint } from "./faults.js";

/** When a deadline is to be, in whole seconds: since 1970, or after a moment that its change names. */
export type SlaWhen = { readonly at: number } | { readonly after: number };

/** A change of a deadline, as somebody asks for it. */
export type SlaDraftChange =
  | {
      readonly kind: "SET";
      /** `after` counts from when it is accepted, by the clock of the chain. */
      readonly when: SlaWhen;
      /** Seconds from the deadline to each level. */
      readonly ladder: readonly number[];
      readonly details: JsonObject | undefined;
      /** Id of the record that calls for it by a policy; undefined where a caller does. */
      readonly cause: Uint8Array | undefined;
    }
  | {
      readonly kind: "EXTENDED";
      /** `after` counts from the deadline that stands. */
      readonly when: SlaWhen;
      readonly reason: string;
    }
  | { readonly kind: "PAUSED" | "RESUMED"; readonly reason: string }
  | {
      readonly kind: "MET";
      readonly reason: string;
      /** Id of the record that calls for it by a policy; undefined where a caller does. */
      readonly cause: Uint8Array | undefined;
    };

/** A change as a caller hands it in, already valid by the rules of the proto files. */
export interface SlaDraft extends Omit<RecordDraft, "body" | "occurTime"> {
  readonly change: SlaDraftChange;
}

/** A change that is in the log; `replayed` if it was there before. */
export interface AcceptedSla {
  readonly recordId: Uint8Array;
  readonly replayed: boolean;
}

/** Deadlines as the API works with them. */
export interface SlaRoom {
  readonly log: AuditLog;
  readonly desk: SlaDesk;
  /** Whether the service has, or will have, a registry of deadlines; known also before the chain is reached. */
  readonly isConfigured: () => Promise<boolean>;
  /** The clock of the chain, in whole seconds since 1970. */
  readonly now: () => number;
  /** The ladder of deadlines that do not name theirs: seconds from the deadline to each level. */
  readonly ladder: readonly number[];
  /** Looks at once for levels that are due. */
  readonly escalateSoon: () => void;
}

/** What taking changes in works with. */
export interface SlaDeskParts extends Pick<AuditLog, "database" | "connection"> {
  readonly clock: ChainClock;
  /** Called when there is something to seal and to send. */
  readonly onAccepted: () => void;
}

/** The last moment that a timestamp of the API can name, in seconds since 1970. */
const LAST_TIMESTAMP = 253_402_300_799;

/** A change, and how the deadline stands that it is for. */
interface Prepared extends Pick<SubjectSla, "waiting"> {
  readonly record: EncodedRecord;
  readonly intent: SlaIntent;
  /** The deadline, had the chain taken what waits. */
  readonly cycle: Cycle | undefined;
  /** The earlier call with the same request, if any. */
  readonly earlier: EarlierSlaChange | undefined;
  /** Why it is refused; undefined where it is not. */
  readonly refusal: AnchordError | undefined;
}

/** Takes changes of deadlines in: each is in the log at once, and waits there for the chain. */
export class SlaDesk {
  constructor(private readonly parts: SlaDeskParts) {}

  /**
   * Resolves once the change is durable. Throws REQUEST_ID_REUSED, SLA_NOT_FOUND, and SLA_REFUSED where the
   * contract would not take it after what waits already, as far as that is known.
   */
  async accept(draft: SlaDraft): Promise<AcceptedSla> {
    const { database } = this.parts;
    const before = await database.read((db) => this.#prepare(db, draft));
    const earlier = replayOf(before);
    if (earlier !== undefined) return earlier;
    if (before.waiting.length === 0) await this.#requireTaken(draft.subject, before);
    await faultPoint("sla.before-commit");
    const accepted = await database.transact(async (trx): Promise<AcceptedSla> => {
      await lockTail(trx, 0);
      const prepared = await this.#prepare(trx, draft);
      const replayed = replayOf(prepared);
      if (replayed !== undefined) return replayed;
      await appendSlaChange(trx, prepared.record);
      return { recordId: prepared.record.id, replayed: false };
    });
    await faultPoint("sla.after-commit");
    this.parts.onAccepted();
    return accepted;
  }

  async #prepare(db: Kysely<Tables>, draft: SlaDraft): Promise<Prepared> {
    const now = this.parts.clock.now();
    const { subject, change } = draft;
    const { cycle: onChain, waiting } = await subjectSla(db, subjectKey(subject));
    const cycle = waiting.reduce((before, { intent }) => after(before, intent, now), onChain);
    const intent = intentOf(change, cycle, now);
    const isNamable = !("deadline" in intent) || intent.deadline <= LAST_TIMESTAMP;
    const name = refusalOf(cycle, intent, now) ?? (isNamable ? undefined : "DeadlineTooFar");
    const refusal = name === undefined ? undefined : refusalError(name, { subject, cycle, now });
    const record = encodeRecord({ ...draft, occurTime: undefined, body: bodyOf(change, intent) });
    const earlier = await earlierSlaChange(db, record);
    return { record, intent, cycle, waiting, earlier, refusal };
  }

  /** Throws where the contract itself says that it would not take a change. */
  async #requireTaken(subject: string, { record, intent, cycle }: Prepared): Promise<void> {
    const connected = this.parts.connection();
    const registry = connected?.identity.sla;
    if (connected === undefined || registry === undefined) return;
    const { chain, sealer } = connected;
    try {
      const call = chain.slaCall(registry, subjectKey(subject), intent, record.id);
      const refusal = await chain.preflight(call, sealer);
      if (refusal === undefined) return;
      if (!(await chain.mayManage(registry, sealer))) return; // no fault of the caller's: health says so
      throw refusalError(refusal, { subject, cycle, now: this.parts.clock.now() });
    } catch (error) {
      if (isChainAway(error)) return;
      throw error;
    }
  }
}

/** What an earlier call has made of the request; undefined where there was none. Throws why it is refused. */
function replayOf({ earlier, refusal }: Prepared): AcceptedSla | undefined {
  if (earlier?.type === "reused") throw reused({ ...earlier, index: 0 });
  if (earlier !== undefined) return { recordId: earlier.recordId, replayed: true };
  if (refusal !== undefined) throw refusal;
  return undefined;
}

/** A deadline after a change that waits: as it was, where the contract would not take that. */
function after(before: Cycle | undefined, intent: SlaIntent, now: number): Cycle | undefined {
  if (refusalOf(before, intent, now) !== undefined) return before;
  const number = (before?.number ?? 0) + (intent.kind === "SET" ? 1 : 0);
  return changed(before, number, announced(before, intent, now), now);
}

/** What a change is, once it is known how the deadline stands. */
function intentOf(change: SlaDraftChange, cycle: Cycle | undefined, now: number): SlaIntent {
  switch (change.kind) {
    case "SET":
      return { kind: "SET", deadline: timeOf(change.when, now), ladder: change.ladder };
    case "EXTENDED": {
      const deadline = timeOf(change.when, cycle?.deadline ?? now);
      return { kind: "EXTENDED", deadline, reason: change.reason };
    }
    case "PAUSED":
    case "RESUMED":
    case "MET":
      return { kind: change.kind };
  }
}

function timeOf(when: SlaWhen, from: number): number {
  return "at" in when ? when.at : from + when.after;
}

function bodyOf(change: SlaDraftChange, intent: SlaIntent): Body {
  const deadline = "deadline" in intent ? timestamp(intent.deadline) : undefined;
  switch (change.kind) {
    case "SET": {
      const ladder = change.ladder.map((seconds) => ({ seconds: BigInt(seconds), nanos: 0 }));
      const { details } = change;
      const value = { deadline, ladder, details, cause: nameOf(change.cause) };
      return { case: "deadlineSet", value: create(DeadlineSetSchema, value) };
    }
    case "EXTENDED": {
      const value = create(DeadlineExtendedSchema, { deadline, reason: change.reason });
      return { case: "deadlineExtended", value };
    }
    case "PAUSED":
      return {
        case: "deadlinePaused",
        value: create(DeadlinePausedSchema, { reason: change.reason }),
      };
    case "RESUMED":
      return {
        case: "deadlineResumed",
        value: create(DeadlineResumedSchema, { reason: change.reason }),
      };
    case "MET": {
      const value = { reason: change.reason, cause: nameOf(change.cause) };
      return { case: "deadlineMet", value: create(DeadlineMetSchema, value) };
    }
  }
}

function timestamp(seconds: number) {
  return { seconds: BigInt(seconds), nanos: 0 };
}

function nameOf(cause: Uint8Array | undefined): string {
  return cause === undefined ? "" : hex(cause);
}
