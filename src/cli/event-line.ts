import { timestampDate } from "@bufbuild/protobuf/wkt";
import { EventKind, Finality } from "../../gen/ts/anchord/v1/event_pb.js";
import type { Event } from "../../gen/ts/anchord/v1/event_pb.js";
import { printable } from "./printable.js";

const WIDTHS = [24, 17, 11, 9, 7, 9];

/** The names of the columns. */
export function eventHeader(): string {
  return row(["TIME", "KIND", "FINALITY", "BLOCK", "BATCH", "RECORD", "WHAT"]);
}

/** An event in columns, safe to show on a terminal. */
export function eventLine({ kind, finality, createTime, payload }: Event): string {
  const time = createTime === undefined ? "" : timestampDate(createTime).toISOString();
  const name = (EventKind[kind] ?? "").toLowerCase().replaceAll("_", ".");
  const level = finality === Finality.UNSPECIFIED ? "" : (Finality[finality] ?? "").toLowerCase();
  return row([time, name, level, ...whatOf(payload)].map((cell) => printable(cell)));
}

/** Block, batch, record, and what it is about. */
function whatOf(payload: Event["payload"]): string[] {
  switch (payload.case) {
    case "record": {
      const { anchor, batchNumber, sequence, subject, body, id } = payload.value;
      const block = anchor === undefined ? "" : `${anchor.blockNumber}`;
      const type = body.case === "custom" ? body.value.type : (body.case ?? "");
      return [block, `${batchNumber ?? ""}`, `${sequence}`, `${subject} ${type} ${id}`];
    }
    case "batch": {
      const { anchor, sealed } = payload.value;
      const block = anchor === undefined ? "" : `${anchor.blockNumber}`;
      return [block, `${sealed?.number ?? ""}`, "", `${sealed?.size ?? 0n} records`];
    }
    case "operationFailure": {
      const { batchNumber, transactionHash, reason } = payload.value;
      return ["", `${batchNumber}`, "", `${transactionHash}: ${reason}`];
    }
    case "problem": {
      const { batchNumber, sequence, column, message } = payload.value;
      return ["", `${batchNumber}`, `${sequence ?? ""}`, `${column}: ${message}`];
    }
    case undefined:
      return ["", "", "", ""];
  }
}

function row(cells: readonly string[]): string {
  return `${cells
    .map((cell, i) => cell.padEnd(WIDTHS[i] ?? 0))
    .join(" ")
    .trimEnd()}\n`;
}
