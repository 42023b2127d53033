import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Client, credentials } from "@grpc/grpc-js";
import {
  RecordEventsRequestSchema,
  RecordEventsResponseSchema,
} from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { wideRequest } from "./messages.js";

/**
 * Streams records through RecordEvents: target, number of records, records a message. Prints, as JSON,
 * the seconds until the last acknowledgement and the id of one record.
 */
const [target = "", countText = "100000", perMessageText = "500"] = process.argv.slice(2);
const perMessage = Number(perMessageText);
const messages = Math.ceil(Number(countText) / perMessage);
const client = new Client(target, credentials.createInsecure());
const pass = (data: Buffer) => data;

/** Messages are encoded once and sent again and again, so that the load costs the server, not us. */
const distinct = Array.from({ length: Math.min(messages, 20) }, (_, m) =>
  Buffer.from(
    toBinary(
      RecordEventsRequestSchema,
      create(RecordEventsRequestSchema, {
        events: Array.from({ length: perMessage }, (_, i) => wideRequest(m * perMessage + i)),
      }),
    ),
  ),
);

const call = client.makeBidiStreamRequest("/anchord.v1.AuditService/RecordEvents", pass, pass);
let acknowledged = 0;
let someId = "";
const finished = new Promise<void>((resolve, reject) => {
  call.on("data", (bytes: Buffer) => {
    acknowledged += 1;
    if (acknowledged === Math.ceil(messages / 2)) {
      someId = fromBinary(RecordEventsResponseSchema, bytes).recordIds[0] ?? "";
    }
  });
  call.on("error", reject);
  call.on("end", resolve);
});
const start = performance.now();
for (let m = 0; m < messages; m++) {
  if (!call.write(distinct[m % distinct.length] as Buffer)) {
    await new Promise((resolve) => call.once("drain", resolve));
  }
}
call.end();
await finished;
const seconds = (performance.now() - start) / 1000;
if (acknowledged !== messages) throw new Error(`${acknowledged} of ${messages} acknowledged`);
process.stdout.write(`${JSON.stringify({ seconds, records: messages * perMessage, someId })}\n`);
client.close();
