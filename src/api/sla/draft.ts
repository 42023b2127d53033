import { toJson } from "@bufbuild/protobuf";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { RecordState } from "../../../gen/ts/anchord/v1/record_pb.js";
import type {
  ExtendDeadlineRequest,
  SetDeadlineRequest,
} from "../../../gen/ts/anchord/v1/sla_service_pb.js";
import { invalidFields } from "../../core/errors.js";
import { canonicalHash, requireDetails } from "../../core/record.js";
import type { SlaDraft, SlaDraftChange, SlaWhen } from "../../flow/sla.js";

/** What every request for a change has. */
export type ChangeRequest = Pick<SetDeadlineRequest, "subject" | "actor" | "requestId" | "waitFor">;

/** A change that a valid request asks for. Requires that details were looked at. */
export function draftOf<Desc extends DescMessage>(
  schema: Desc,
  request: MessageShape<Desc> & ChangeRequest,
  caller: string,
  change: SlaDraftChange,
): SlaDraft {
  const { subject, actor, requestId } = request;
  const hash = () => requestHash(schema, request);
  return {
    caller,
    subject,
    actor,
    request: requestId === "" ? undefined : { id: requestId, hash: hash() },
    change,
  };
}

/**
 * SHA-256 of the RFC 8785 JSON of what the caller said, before defaults, but for request_id and wait_for, with
 * the type of the request as `@type`: a pause and a resumption may say the same.
 */
function requestHash<Desc extends DescMessage>(
  schema: Desc,
  request: MessageShape<Desc> & ChangeRequest,
): Uint8Array {
  const bare = { ...request, requestId: "", waitFor: RecordState.UNSPECIFIED };
  return canonicalHash({ "@type": schema.typeName, ...(toJson(schema, bare) as object) });
}

/** The deadline that a valid request sets; `ladder` is the default. Throws INVALID_FIELD. */
export function setting(request: SetDeadlineRequest, ladder: readonly number[]): SlaDraftChange {
  const { details } = request;
  requireDetails(details, "details");
  return {
    kind: "SET",
    when: whenOf(request),
    ladder: request.ladder.length === 0 ? ladder : ladderOf(request.ladder),
    details,
    cause: undefined,
  };
}

/** By how much, or until when, a valid request moves a deadline. */
export function extension(request: ExtendDeadlineRequest): SlaDraftChange {
  return { kind: "EXTENDED", when: whenOf(request), reason: request.reason };
}

function whenOf({ when }: SetDeadlineRequest | ExtendDeadlineRequest): SlaWhen {
  if (when.case === undefined) throw new Error("validation lets no request without a time pass");
  const seconds = secondsIn(when.value);
  return when.case === "deadline" ? { at: seconds } : { after: seconds };
}

/** Throws INVALID_FIELD for the first level that is not above the one before. */
function ladderOf(ladder: readonly Duration[]): number[] {
  const offsets = ladder.map(secondsIn);
  const at = offsets.findIndex((offset, i) => i > 0 && offset <= (offsets[i - 1] as number));
  if (at < 0) return offsets;
  const description = "must be later than the one before, by a second at the least";
  throw invalidFields([{ field: `ladder[${at}]`, description }]);
}

/** A fraction of a second is dropped. */
function secondsIn({ seconds }: Duration | Timestamp): number {
  return Number(seconds);
}
