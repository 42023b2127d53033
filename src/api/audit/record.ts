import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  AuditService,
  RecordEventRequest,
  RecordEventResponseSchema,
  RecordEventsRequest,
} from "../../../gen/ts/anchord/v1/audit_service_pb.js";
import type { ReceiptSchema } from "../../../gen/ts/anchord/v1/receipt_pb.js";
import { RecordState } from "../../../gen/ts/anchord/v1/record_pb.js";
import { hex } from "../../core/bytes.js";
import { AnchordError, invalidFields } from "../../core/errors.js";
import { encodeRecord, typeOf } from "../../core/record.js";
import type { EncodedRecord } from "../../core/record.js";
import type { Accepted } from "../../flow/accept.js";
import type { AuditLog } from "../../flow/audit-log.js";
import { receiptMessage, stateOf } from "../../flow/receipt-message.js";
import { progress } from "../../store/batches.js";
import type { Progress } from "../../store/batches.js";
import { findRecord, logLength } from "../../store/records.js";
import { requestSeal } from "../../store/seal-request.js";
import { callerKey } from "../auth.js";
import { draftOf } from "../convert.js";
import { beforeDeadline } from "../deadline.js";
import { pipelined } from "../pipeline.js";

/** Entries of one stream that may be on their way to the disk at once, in bytes. */
const STREAM_BYTES = 4 * 1024 * 1024;

type Handlers = Pick<ServiceImpl<typeof AuditService>, "recordEvent" | "recordEvents" | "sealNow">;

/** The calls that write. */
export function recordHandlers(log: AuditLog): Handlers {
  return {
    async recordEvent(request, context) {
      const record = encode(log, request, context.values.get(callerKey));
      const [accepted] = await log.acceptor.accept([record]);
      if (accepted === undefined) throw new Error("a record was accepted without a place");
      if (!accepted.replayed && request.waitFor <= RecordState.ACCEPTED) {
        return response(accepted);
      }
      try {
        const { seq, now } = await awaitRecord(log, accepted, request.waitFor, context);
        const moved = { ...accepted, seq };
        return response(accepted, stateOf(seq, now), await receiptMessage(log, moved));
      } catch {
        return response(accepted); // it is recorded: no error may hide that
      }
    },

    async *recordEvents(messages, context) {
      const caller = context.values.get(callerKey);
      const line = log.acceptor.line();
      const units = encoded(log, messages, caller);
      const budget = { most: STREAM_BYTES, weigh: bytesOf };
      const acknowledgements = pipelined(units, budget, (unit) => log.acceptor.accept(unit, line));
      for await (const appended of acknowledgements) {
        yield { recordIds: appended.map(({ id }) => hex(id)) };
      }
    },

    async sealNow(_request, context) {
      const length = await logLength(log.database);
      await requestSeal(log.database, length);
      log.sealNow();
      const { anchored, lastBatch } =
        length === 0
          ? await progress(log.database)
          : await awaitState(log, length - 1, RecordState.ANCHORED, context);
      return { pending: BigInt(Math.max(0, length - anchored)), lastBatch: BigInt(lastBatch) };
    },
  };
}

/** Encodes what a caller asks to record. Throws where it breaks a rule, or is of a type that is not accepted. */
function encode(log: AuditLog, request: RecordEventRequest, caller: string): EncodedRecord {
  const draft = draftOf(request, caller);
  requireAccepted(typeOf(draft.body), log.recordTypes);
  return encodeRecord(draft, log);
}

function requireAccepted(type: string, accepted: readonly string[] | undefined): void {
  if (accepted?.includes(type) !== false) return;
  throw new AnchordError(
    "RECORD_TYPE_NOT_ACCEPTED",
    `records of type "${type}" are not accepted here, only ${accepted.join(", ")}: RECORD_TYPES says so`,
    { metadata: { type } },
  );
}

/** Answers at a state, with the receipt that goes with it: the entry alone unless told otherwise. */
function response(
  { id, entry, replayed }: Accepted,
  state = RecordState.ACCEPTED,
  receipt: MessageInitShape<typeof ReceiptSchema> = { entry },
): MessageInitShape<typeof RecordEventResponseSchema> {
  return { recordId: hex(id), state, receipt, replayed };
}

/**
 * Waits for a record as awaitState does for a position: where a restored database adopts batches, a
 * record that waits moves behind them.
 */
async function awaitRecord(
  log: AuditLog,
  { id, seq: first }: Accepted,
  state: RecordState,
  context: HandlerContext,
): Promise<{ readonly seq: number; readonly now: Progress }> {
  for (let seq = first; ;) {
    const now = await awaitState(log, seq, state, context);
    const found = await findRecord(log.database, id);
    if (found === undefined || found.seq === seq) return { seq, now };
    seq = found.seq;
  }
}

/** Waits until a record has come so far, or the caller is about to give up. Returns how far all is. */
async function awaitState(
  { watch, database }: AuditLog,
  seq: number,
  state: RecordState,
  context: HandlerContext,
): Promise<Progress> {
  const reached =
    state <= RecordState.ACCEPTED
      ? undefined
      : await beforeDeadline(context, (signal) =>
          watch.until((now) => stateOf(seq, now) >= state, signal),
        );
  return reached ?? progress(database);
}

/** The records of each message of a stream. */
async function* encoded(
  log: AuditLog,
  messages: AsyncIterable<RecordEventsRequest>,
  caller: string,
): AsyncIterable<EncodedRecord[]> {
  for await (const message of messages) yield encodeAll(log, message, caller);
}

function bytesOf(records: readonly EncodedRecord[]): number {
  return records.reduce((sum, { entry }) => sum + entry.length, 0);
}

/** Encodes the events of a message; an error names the event that it is about. */
function encodeAll(
  log: AuditLog,
  { events }: RecordEventsRequest,
  caller: string,
): EncodedRecord[] {
  return events.map((event, i) => {
    try {
      requireNoWait(event);
      return encode(log, event, caller);
    } catch (error) {
      throw inEvent(error, i);
    }
  });
}

function requireNoWait({ waitFor }: RecordEventRequest): void {
  if (waitFor <= RecordState.ACCEPTED) return;
  throw invalidFields([
    { field: "wait_for", description: "a stream acknowledges at ACCEPTED: leave it unset" },
  ]);
}

function inEvent(error: unknown, index: number): unknown {
  if (!(error instanceof AnchordError) || error.detail.violations === undefined) return error;
  return invalidFields(
    error.detail.violations.map(({ field, description }) => ({
      field: `events[${index}].${field}`,
      description,
    })),
  );
}
