import { create, toBinary } from "@bufbuild/protobuf";
import { RecordEventRequestSchema } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import type { RecordEventRequest } from "../../gen/ts/anchord/v1/audit_service_pb.js";

/** Subjects that the records of a run spread over. */
const SUBJECTS = 10_000;

/** A threat record, as a backend would send it. */
export function threatRequest(i: number): RecordEventRequest {
  return create(RecordEventRequestSchema, {
    subject: `user/${i % SUBJECTS}`,
    actor: "detector/7",
    occurTime: { seconds: 1_760_000_000n + BigInt(i), nanos: 0 },
    body: { case: "threat", value: { score: i % 100, durationMinutes: 18.7 } },
  });
}

/** A custom record whose entry takes 200 bytes, give or take one. */
export function wideRequest(i: number): RecordEventRequest {
  return create(RecordEventRequestSchema, {
    subject: `user/${i % SUBJECTS}`,
    actor: "detector/7",
    occurTime: { seconds: 1_760_000_000n + BigInt(i), nanos: 0 },
    body: { case: "custom", value: { type: "note", data: { text: "x".repeat(84), n: i } } },
  });
}

/** A request's bytes. */
export function requestBytes(request: RecordEventRequest): Uint8Array {
  return toBinary(RecordEventRequestSchema, request);
}
