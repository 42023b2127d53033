import { fromJsonString } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { EventKind, Finality, OperationKind } from "../../../gen/ts/anchord/v1/event_pb.js";
import type { EventSchema } from "../../../gen/ts/anchord/v1/event_pb.js";
import type { EventFilter as EventFilterMessage } from "../../../gen/ts/anchord/v1/event_service_pb.js";
import { LogProblemSchema } from "../../../gen/ts/anchord/v1/problem_pb.js";
import { RecordState } from "../../../gen/ts/anchord/v1/record_pb.js";
import { timeOfMs } from "../../core/calendar.js";
import { databaseAltered, messageOf } from "../../core/errors.js";
import type { OperationKind as OperationName } from "../../core/operation.js";
import { Level } from "../../store/feed.js";
import { eventKey } from "../../stream/chunk.js";
import type { BatchTelling, OtherTelling, Telling } from "../../stream/chunk.js";
import { EventFilter } from "../../stream/filter.js";
import type { Kind } from "../../stream/filter.js";
import { batchOf, recordOf } from "../convert.js";

type EventInit = MessageInitShape<typeof EventSchema>;
type Payload = NonNullable<EventInit["payload"]>;

/** The filter that a caller asks for. Requires a valid message. */
export function filterOf(message: EventFilterMessage | undefined): EventFilter {
  if (message === undefined) return new EventFilter({});
  const { kinds, subject, type, minimumFinality } = message;
  return new EventFilter({
    kinds: kinds.length === 0 ? undefined : new Set(kinds.map((kind) => EventKind[kind] as Kind)),
    subject: subject === "" ? undefined : subject,
    type: type === "" ? undefined : type,
    minimum: minimumFinality === Finality.UNSPECIFIED ? Level.Provisional : minimumFinality,
  });
}

/** An event as callers see it. `epoch` marks the numbering of the feed. */
export function eventOf(telling: Telling, epoch: string): EventInit {
  return {
    ...headOf(telling),
    key: eventKey(telling, epoch),
    payload: "batch" in telling ? batchPayload(telling) : otherPayload(telling),
  };
}

/** An event without its key and what it happened to. */
export function headOf(telling: Telling): Pick<EventInit, "kind" | "finality" | "createTime"> {
  return {
    kind: EventKind[telling.kind],
    finality: "finality" in telling ? telling.finality : Finality.UNSPECIFIED,
    createTime: timeOfMs(telling.row.createTime),
  };
}

function batchPayload({ batch, record, state: name }: BatchTelling): Payload {
  const state = RecordState[name];
  return record === undefined
    ? { case: "batch", value: batchOf(batch, state) }
    : { case: "record", value: recordOf(record, batch, state) };
}

/** The detail of an OPERATION_FAILED; those of seals alone were told before they had a kind. */
interface OperationFailureDetail {
  readonly kind?: OperationName;
  readonly transactionHash: string;
  readonly reason: string;
}

function otherPayload({ kind, row }: OtherTelling): Payload {
  try {
    return kind === "INTEGRITY_BROKEN"
      ? { case: "problem", value: fromJsonString(LogProblemSchema, row.detail) }
      : operationFailure(row);
  } catch (error) {
    throw databaseAltered(`event ${row.number}: ${messageOf(error)}`, error);
  }
}

function operationFailure(row: OtherTelling["row"]): Payload {
  const detail = JSON.parse(row.detail) as OperationFailureDetail;
  const { kind: operation = "SEAL", transactionHash, reason } = detail;
  return {
    case: "operationFailure",
    value: {
      batchNumber: BigInt(row.batchNumber),
      transactionHash,
      reason,
      kind: OperationKind[operation],
    },
  };
}
