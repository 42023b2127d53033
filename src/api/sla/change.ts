import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { RecordState } from "../../../gen/ts/anchord/v1/record_pb.js";
import { SLAChangeKind, SLAState } from "../../../gen/ts/anchord/v1/sla_pb.js";
import {
  ExtendDeadlineRequestSchema,
  MeetDeadlineRequestSchema,
  PauseDeadlineRequestSchema,
  ResumeDeadlineRequestSchema,
  SetDeadlineRequestSchema,
} from "../../../gen/ts/anchord/v1/sla_service_pb.js";
import type { SLAService } from "../../../gen/ts/anchord/v1/sla_service_pb.js";
import { hex } from "../../core/bytes.js";
import { subjectKey } from "../../core/evidence.js";
import type { SlaDraft, SlaDraftChange, SlaRoom } from "../../flow/sla.js";
import { slaByRecord, slaOf } from "../../store/sla.js";
import type { StoredSla } from "../../store/sla.js";
import { slaChangeByRecord } from "../../store/sla-changes.js";
import { slaEventByRecord } from "../../store/sla-events.js";
import { callerKey } from "../auth.js";
import { beforeDeadline } from "../deadline.js";
import { lastFinal, stateIn } from "../finality.js";
import { draftOf, extension, setting } from "./draft.js";
import type { ChangeRequest } from "./draft.js";
import { slaWithChanges } from "./message.js";
import type { SlaMessage } from "./message.js";
import { requireConfigured } from "./registry.js";

type Handlers = Pick<
  ServiceImpl<typeof SLAService>,
  "setDeadline" | "extendDeadline" | "pauseDeadline" | "resumeDeadline" | "meetDeadline"
>;

interface Answer {
  readonly sla: SlaMessage;
  readonly replayed: boolean;
}

/** The calls that change deadlines. */
export function changeHandlers(room: SlaRoom): Handlers {
  /** Takes a change in, and answers at the state that was waited for, or that was reached in time. */
  async function take<Desc extends DescMessage>(
    schema: Desc,
    request: MessageShape<Desc> & ChangeRequest,
    change: SlaDraftChange,
    context: HandlerContext,
  ): Promise<Answer> {
    await requireConfigured(room);
    const draft = draftOf(schema, request, context.values.get(callerKey), change);
    const { recordId, replayed } = await room.desk.accept(draft);
    try {
      await awaitState(room, recordId, request.waitFor, context);
      return { sla: await slaWithChanges(room, await changedSla(room, recordId)), replayed };
    } catch {
      return { sla: bare(draft, recordId), replayed }; // it is recorded: no error may hide that
    }
  }
  return {
    async setDeadline(request, context) {
      const change = setting(request, room.ladder);
      return take(SetDeadlineRequestSchema, request, change, context);
    },

    async extendDeadline(request, context) {
      return take(ExtendDeadlineRequestSchema, request, extension(request), context);
    },

    async pauseDeadline(request, context) {
      const change = { kind: "PAUSED", reason: request.reason } as const;
      return take(PauseDeadlineRequestSchema, request, change, context);
    },

    async resumeDeadline(request, context) {
      const change = { kind: "RESUMED", reason: request.reason } as const;
      return take(ResumeDeadlineRequestSchema, request, change, context);
    },

    async meetDeadline(request, context) {
      const change = { kind: "MET", reason: request.reason, cause: undefined } as const;
      return take(MeetDeadlineRequestSchema, request, change, context);
    },
  };
}

/** Waits until a change has come so far or has failed, or the caller is about to give up. */
async function awaitState(
  { log: { database, watch } }: SlaRoom,
  recordId: Uint8Array,
  waitFor: RecordState,
  context: HandlerContext,
): Promise<void> {
  if (waitFor <= RecordState.ACCEPTED) return;
  const isMet = async () => {
    const finalNumber = await lastFinal(database);
    return database.read(async (db) => {
      const event = await slaEventByRecord(db, recordId);
      if (stateIn(event?.blockNumber, finalNumber) >= waitFor) return true;
      return (await slaChangeByRecord(db, recordId))?.state === "FAILED";
    });
  };
  await beforeDeadline(context, (signal) => watch.until(isMet, signal));
}

/** The deadline that a change was made to. */
async function changedSla(
  { log: { database } }: SlaRoom,
  recordId: Uint8Array,
): Promise<StoredSla> {
  const sla = await database.read(async (db) => {
    const change = await slaChangeByRecord(db, recordId);
    return change && ((await slaByRecord(db, recordId)) ?? (await slaOf(db, change)));
  });
  if (sla === undefined) throw new Error("a change that was accepted is not in the database");
  return sla;
}

/** What is known of a change that was accepted, where the database does not answer any more. */
function bare({ subject, actor, change }: SlaDraft, recordId: Uint8Array): SlaMessage {
  const id = hex(recordId);
  const kind = SLAChangeKind[`SLA_CHANGE_KIND_${change.kind}`];
  return {
    id: change.kind === "SET" ? id : "",
    subject,
    subjectKey: hex(subjectKey(subject)),
    state: change.kind === "SET" ? SLAState.SLA_STATE_PENDING : SLAState.SLA_STATE_UNSPECIFIED,
    changes: [{ kind, recordId: id, actor, state: RecordState.ACCEPTED }],
  };
}
