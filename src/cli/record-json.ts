import { toJson } from "@bufbuild/protobuf";
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { timestampDate, TimestampSchema } from "@bufbuild/protobuf/wkt";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import type { Record as RecordMessage } from "../../gen/ts/anchord/v1/record_pb.js";
import { bodyJson } from "../core/body-json.js";
import { isWellFormedTime } from "../core/calendar.js";
import { typeOf } from "../core/record.js";
import { cutRow } from "./columns.js";

/** The place of a batch in the chain of batches, as the trading bot's tools call it. */
export interface BlockPlace {
  readonly index: number;
  /** The head after the batch: 64 lower-case hex digits. */
  readonly hash: string;
}

/** A record by the names that `anchord record-event` takes; its block is null until it is in a batch. */
export function recordJson(record: RecordMessage, block: BlockPlace | undefined): JsonObject {
  const { body } = record;
  return {
    id: record.id,
    type: body.case === undefined ? "" : typeOf(body),
    subject: record.subject,
    actor: record.actor,
    timestamp: timeJson(record.occurTime),
    data: dataOf(body),
    request_id: record.requestId,
    caller: record.caller,
    accept_time: timeJson(record.acceptTime),
    sequence: Number(record.sequence),
    trail_index: record.trailIndex === undefined ? null : Number(record.trailIndex),
    state: stateName(record.state),
    block_index: block?.index ?? null,
    block_hash: block?.hash ?? null,
  };
}

/** The state of a record in lower case, such as "anchored". */
export function stateName(state: RecordState): string {
  return (RecordState[state] ?? "").toLowerCase();
}

/** A time in RFC 3339; null where there is none, or one that no calendar has. */
export function timeJson(time: Timestamp | undefined): JsonValue {
  return time === undefined || !isWellFormedTime(time) ? null : toJson(TimestampSchema, time);
}

const WIDTHS = [24, 14, 8, 6, 24];

/** The names of the columns. */
export function recordHeader(): string {
  return cutRow(WIDTHS, ["TIME", "TYPE", "STATE", "BLOCK", "SUBJECT", "DATA"]);
}

/** A record in columns, safe to show on a terminal. */
export function recordLine({
  body,
  occurTime,
  state,
  batchNumber,
  subject,
}: RecordMessage): string {
  const isKnown = occurTime !== undefined && isWellFormedTime(occurTime);
  const time = isKnown ? timestampDate(occurTime).toISOString() : "";
  const type = body.case === undefined ? "" : typeOf(body);
  const data = JSON.stringify(dataOf(body));
  return cutRow(WIDTHS, [time, type, stateName(state), `${batchNumber ?? ""}`, subject, data]);
}

function dataOf(body: RecordMessage["body"]): JsonObject {
  return body.case === undefined ? {} : bodyJson(body);
}
