import { toJson } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { RecordEventRequestSchema } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import type { RecordEventRequest, RecordFilter } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import type { BatchSchema } from "../../gen/ts/anchord/v1/batch_pb.js";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import type { RecordSchema } from "../../gen/ts/anchord/v1/record_pb.js";
import { knownTime, timeOfMs } from "../core/calendar.js";
import { hex } from "../core/bytes.js";
import { bodyOf, canonicalHash, micros, requireJsonBody } from "../core/record.js";
import type { Body, RecordDraft } from "../core/record.js";
import { anchorOf, sealedOf, stateOf } from "../flow/receipt-message.js";
import type { Progress, StoredBatch } from "../store/batches.js";
import { readEntry, storedEntry } from "../store/entry.js";
import type { PlacedRecord, RecordQuery } from "../store/records.js";

/** What a caller asks to record, as the flow takes it. Requires a valid request. Throws INVALID_FIELD. */
export function draftOf(request: RecordEventRequest, caller: string): RecordDraft {
  return {
    caller,
    subject: request.subject,
    actor: request.actor,
    occurTime: request.occurTime,
    body: request.body as Body,
    request:
      request.requestId === "" ? undefined : { id: request.requestId, hash: requestHash(request) },
  };
}

/** SHA-256 of the RFC 8785 JSON of a request without request_id and wait_for. */
function requestHash(request: RecordEventRequest): Uint8Array {
  requireJsonBody(request.body as Body);
  const bare = { ...request, requestId: "", waitFor: RecordState.UNSPECIFIED };
  return canonicalHash(toJson(RecordEventRequestSchema, bare));
}

/** The state of a batch: that of its last record. */
export function batchState({ firstSeq, seal }: StoredBatch, progress: Progress): RecordState {
  return stateOf(firstSeq + Number(seal.size) - 1, progress);
}

/** A record as callers see it. Throws DATABASE_ALTERED. */
export function recordOf(
  record: PlacedRecord,
  batch: StoredBatch | undefined,
  state: RecordState,
): MessageInitShape<typeof RecordSchema> {
  const entry = storedEntry(record);
  return {
    id: hex(record.id),
    state,
    subject: entry.subject,
    actor: entry.actor,
    occurTime: knownTime(entry.occurTime),
    acceptTime: knownTime(entry.acceptTime),
    requestId: entry.requestId,
    caller: entry.caller,
    sequence: BigInt(record.seq),
    trailIndex: record.trailIndex === undefined ? undefined : BigInt(record.trailIndex),
    batchNumber: batch?.seal.number,
    anchor: batch?.anchor && anchorOf(batch.anchor),
    body: readEntry(record, () => bodyOf(entry)),
  };
}

/** A batch as callers see it. */
export function batchOf(
  batch: StoredBatch,
  state: RecordState,
): MessageInitShape<typeof BatchSchema> {
  return {
    sealed: sealedOf(batch),
    head: batch.head,
    firstSequence: BigInt(batch.firstSeq),
    state,
    anchor: batch.anchor && anchorOf(batch.anchor),
    createTime: timeOfMs(batch.createTime),
    gasUsed: BigInt(batch.anchor?.gasUsed ?? 0),
  };
}

/** A duration in whole seconds. */
export function durationOf(seconds: number): Duration {
  return durationFromMs(seconds * 1000);
}

/** The query that a filter stands for; a state is a range of the log. */
export function queryOf(filter: RecordFilter | undefined, progress: Progress): RecordQuery {
  if (filter === undefined) return {};
  return {
    subject: orUndefined(filter.subject),
    type: orUndefined(filter.type),
    actor: orUndefined(filter.actor),
    startTime: filter.startTime && bounded(filter.startTime),
    endTime: filter.endTime && bounded(filter.endTime),
    ...stateRange(filter.state, progress),
  };
}

function stateRange(state: RecordState, { anchored, final }: Progress) {
  switch (state) {
    case RecordState.FINAL:
      return { toSeq: final };
    case RecordState.ANCHORED:
      return { fromSeq: final, toSeq: anchored };
    case RecordState.ACCEPTED:
      return { fromSeq: anchored };
    default:
      return {};
  }
}

function orUndefined(text: string): string | undefined {
  return text === "" ? undefined : text;
}

/** Microseconds, kept inside what both databases store exactly. */
function bounded(time: Timestamp): number {
  return Math.max(-Number.MAX_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, micros(time)));
}
