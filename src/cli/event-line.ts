import { timestampDate } from "@bufbuild/protobuf/wkt";
import { EventKind, Finality, OperationKind } from "../../gen/ts/anchord/v1/event_pb.js";
import type { Event } from "../../gen/ts/anchord/v1/event_pb.js";
import { typeOf } from "../core/record.js";
import { row } from "./columns.js";

const WIDTHS = [24, 17, 11, 9, 7, 9];

/** The names of the columns. */
export function eventHeader(): string {
  return row(WIDTHS, ["TIME", "KIND", "FINALITY", "BLOCK", "BATCH", "RECORD", "WHAT"]);
}

/** An event in columns, safe to show on a terminal. */
export function eventLine({ kind, finality, createTime, payload }: Event): string {
  const time = createTime === undefined ? "" : timestampDate(createTime).toISOString();
  const level = finality === Finality.UNSPECIFIED ? "" : (Finality[finality] ?? "").toLowerCase();
  return row(WIDTHS, [time, kindName(kind), level, ...whatOf(payload)]);
}

/** The name of a kind on the command line, such as record.anchored. */
export function kindName(kind: EventKind): string {
  return (EventKind[kind] ?? "").toLowerCase().replaceAll("_", ".");
}

/** Block, batch, record, and what it is about. */
function whatOf(payload: Event["payload"]): string[] {
  switch (payload.case) {
    case "record": {
      const { anchor, batchNumber, sequence, subject, body, id } = payload.value;
      const block = anchor === undefined ? "" : `${anchor.blockNumber}`;
      const type = body.case === undefined ? "" : typeOf(body);
      return [block, `${batchNumber ?? ""}`, `${sequence}`, `${subject} ${type} ${id}`];
    }
    case "batch": {
      const { anchor, sealed } = payload.value;
      const block = anchor === undefined ? "" : `${anchor.blockNumber}`;
      return [block, `${sealed?.number ?? ""}`, "", `${sealed?.size ?? 0n} records`];
    }
    case "operationFailure": {
      const { batchNumber, transactionHash, reason, kind } = payload.value;
      const batch = kind === OperationKind.SEAL ? `${batchNumber}` : "";
      return ["", batch, "", `${transactionHash}: ${reason}`];
    }
    case "problem": {
      const { batchNumber, sequence, column, message } = payload.value;
      return ["", `${batchNumber}`, `${sequence ?? ""}`, `${column}: ${message}`];
    }
    case undefined:
      return ["", "", "", ""];
  }
}
