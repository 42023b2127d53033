import { create } from "@bufbuild/protobuf";
import {
  DeadlineExtendedSchema,
  DeadlineMetSchema,
  DeadlinePausedSchema,
  DeadlineRefusedSchema,
  DeadlineResumedSchema,
  DeadlineSetSchema,
} from "../../gen/ts/anchord/v1/record_pb.js";
import { hex, hex0x } from "../../src/core/bytes.js";
import { SERVICE_CALLER } from "../../src/core/evidence.js";
import { encodeRecord } from "../../src/core/record.js";
import type { Body, EncodedRecord } from "../../src/core/record.js";
import { reasonHash } from "../../src/core/sla.js";
import type { SlaIntent } from "../../src/core/sla.js";
import { lockTail } from "../../src/store/append.js";
import type { Database } from "../../src/store/database.js";
import {
  appendSlaChange,
  refuseSlaChange,
  slaChangeByRecord,
} from "../../src/store/sla-changes.js";
import type { StoredSlaChange } from "../../src/store/sla-changes.js";
import { slaIdOf } from "./sla-registry.js";
import type { SLARegistry } from "./sla-registry.js";

/** The record of a change of a deadline, as the desk would make it. */
export function slaRecord(subject: string, intent: SlaIntent): EncodedRecord {
  const common = { caller: "local", subject, actor: "actor", occurTime: undefined };
  return encodeRecord({ ...common, request: undefined, body: bodyOf(intent) });
}

function bodyOf(intent: SlaIntent): Body {
  switch (intent.kind) {
    case "SET": {
      const ladder = intent.ladder.map((offset) => ({ seconds: BigInt(offset), nanos: 0 }));
      const value = create(DeadlineSetSchema, { deadline: timeOf(intent.deadline), ladder });
      return { case: "deadlineSet", value };
    }
    case "EXTENDED": {
      const { deadline, reason } = intent;
      const value = create(DeadlineExtendedSchema, { deadline: timeOf(deadline), reason });
      return { case: "deadlineExtended", value };
    }
    case "PAUSED":
      return { case: "deadlinePaused", value: create(DeadlinePausedSchema) };
    case "RESUMED":
      return { case: "deadlineResumed", value: create(DeadlineResumedSchema) };
    case "MET":
      return { case: "deadlineMet", value: create(DeadlineMetSchema) };
  }
}

function timeOf(seconds: number) {
  return { seconds: BigInt(seconds), nanos: 0 };
}

/** The record that says that the chain refused a change, as the sender would make it. */
export function refusalRecord(change: StoredSlaChange, reason: string): EncodedRecord {
  const value = create(DeadlineRefusedSchema, { recordId: hex(change.recordId), reason });
  return encodeRecord({
    caller: SERVICE_CALLER,
    subject: change.entry.subject,
    actor: "",
    occurTime: undefined,
    request: undefined,
    body: { case: "deadlineRefused", value },
  });
}

/** Puts a change into the log, as the desk would, and does not ask whether the chain would take it. */
export async function addSlaChange(
  database: Database,
  subject: string,
  intent: SlaIntent,
): Promise<StoredSlaChange> {
  const record = slaRecord(subject, intent);
  await database.transact(async (trx) => {
    await lockTail(trx, 0);
    await appendSlaChange(trx, record);
  });
  return slaChangeOf(database, record.id);
}

/** Ends a change as the sender would, for a reason of the chain's. */
export async function refuseChange(
  database: Database,
  change: StoredSlaChange,
  reason: string,
): Promise<boolean> {
  const record = refusalRecord(change, reason);
  return database.transact((trx) => refuseSlaChange(trx, change, record));
}

/** A change by the id of its record. */
export async function slaChangeOf(database: Database, id: Uint8Array): Promise<StoredSlaChange> {
  const change = await database.read((db) => slaChangeByRecord(db, id));
  if (change === undefined) throw new Error(`there is no change ${hex(id)}`);
  return change;
}

/** Has the registry make a change, by an account that may, with a reference of that account's choice. */
export async function changeOnChain(
  registry: SLARegistry,
  from: string,
  subject: string,
  intent: SlaIntent,
  ref: Uint8Array,
): Promise<void> {
  const { setSLADeadline, extend, pause, resume, meet } = registry.methods;
  const [id, of] = [slaIdOf(subject), hex0x(ref)];
  const options = { from, gas: "500000" };
  switch (intent.kind) {
    case "SET":
      await setSLADeadline(id, intent.deadline, [...intent.ladder], of).send(options);
      return;
    case "EXTENDED":
      await extend(id, intent.deadline, hex0x(reasonHash(intent.reason)), of).send(options);
      return;
    case "PAUSED":
      await pause(id, of).send(options);
      return;
    case "RESUMED":
      await resume(id, of).send(options);
      return;
    case "MET":
      await meet(id, of).send(options);
  }
}
