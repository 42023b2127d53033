import { create, toBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { EventSchema } from "../../../gen/ts/anchord/v1/event_pb.js";
import { SubscribeEventsResponseSchema } from "../../../gen/ts/anchord/v1/event_service_pb.js";
import { RecordSchema, RecordState } from "../../../gen/ts/anchord/v1/record_pb.js";
import { anchorOf } from "../../flow/receipt-message.js";
import type { RecordRow } from "../../store/records.js";
import { eventKey } from "../../stream/chunk.js";
import type { BatchTelling, Telling } from "../../stream/chunk.js";
import { recordOf } from "../convert.js";
import { eventOf, headOf } from "./convert.js";

/**
 * Encodes answers of SubscribeEvents. Messages that follow one another merge in protobuf, so an event of a
 * record is put together of parts that are encoded once: what all of its batch have in common, and the
 * record as it was accepted, which is told at every stage that it reaches.
 */

const { events, cursor: cursorField } = SubscribeEventsResponseSchema.field;
const { key: keyField, record: recordField } = EventSchema.field;

/** An answer's bytes: the same as those of the message with `eventOf` each telling. */
export function encodeAnswer(
  tellings: readonly Telling[],
  cursor: string,
  epoch: string,
): Uint8Array {
  const writer = new BinaryWriter();
  let common: Common | undefined;
  for (const telling of tellings) {
    writer.tag(events.number, WireType.LengthDelimited);
    if ("record" in telling && telling.record !== undefined) {
      if (common?.batch !== telling.batch) common = commonOf(telling);
      writer.fork();
      writer.tag(keyField.number, WireType.LengthDelimited).string(eventKey(telling, epoch));
      writer.raw(common.event);
      writer.tag(recordField.number, WireType.LengthDelimited);
      writer.fork().raw(acceptedBytes(telling.record)).raw(common.record).join();
      writer.join();
    } else writer.bytes(toBinary(EventSchema, create(EventSchema, eventOf(telling, epoch))));
  }
  writer.tag(cursorField.number, WireType.LengthDelimited).string(cursor);
  return writer.finish();
}

/** What the events of all records of a batch have in common, when one thing happens to it. */
interface Common {
  readonly batch: BatchTelling["batch"];
  readonly event: Uint8Array;
  readonly record: Uint8Array;
}

function commonOf(telling: BatchTelling): Common {
  const { batch, state } = telling;
  return {
    batch,
    event: toBinary(EventSchema, create(EventSchema, headOf(telling))),
    record: recordBytes({
      state: RecordState[state],
      batchNumber: batch.seal.number,
      anchor: batch.anchor && anchorOf(batch.anchor),
    }),
  };
}

const accepted = new WeakMap<RecordRow, Uint8Array>();

/** The record without what changes on its way. */
function acceptedBytes(record: RecordRow): Uint8Array {
  let bytes = accepted.get(record);
  if (bytes === undefined) {
    bytes = recordBytes(recordOf(record, undefined, RecordState.UNSPECIFIED));
    accepted.set(record, bytes);
  }
  return bytes;
}

function recordBytes(record: MessageInitShape<typeof RecordSchema>): Uint8Array {
  return toBinary(RecordSchema, create(RecordSchema, record));
}
