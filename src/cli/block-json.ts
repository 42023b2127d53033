import type { JsonObject } from "@bufbuild/protobuf";
import type { Batch } from "../../gen/ts/anchord/v1/batch_pb.js";
import type { Record as RecordMessage } from "../../gen/ts/anchord/v1/record_pb.js";
import { hex } from "../core/bytes.js";
import { row } from "./columns.js";
import { recordJson, stateName, timeJson } from "./record-json.js";
import type { BlockPlace } from "./record-json.js";

/** Where a batch stands in the chain of batches. */
export function placeOf({ sealed, head }: Batch): BlockPlace {
  return { index: Number(sealed?.number ?? 0n), hash: hex(head) };
}

/** A batch as a block of the trading bot's chain, and what this log knows of it besides. */
export function blockJson(batch: Batch, records: readonly RecordMessage[]): JsonObject {
  const { sealed, anchor } = batch;
  const place = placeOf(batch);
  return {
    index: place.index,
    timestamp: timeJson(anchor?.blockTime),
    data: records.map((record) => recordJson(record, place)),
    previous_hash: hex(sealed?.previousHead ?? new Uint8Array()),
    nonce: Number(sealed?.nonce ?? 0n),
    hash: place.hash,
    root: hex(sealed?.root ?? new Uint8Array()),
    size: Number(sealed?.size ?? 0n),
    state: stateName(batch.state),
    create_time: timeJson(batch.createTime),
    transaction_hash: anchor?.transactionHash ?? null,
    chain_block_number: anchor === undefined ? null : Number(anchor.blockNumber),
    chain_block_hash: anchor?.blockHash ?? null,
  };
}

const WIDTHS = [7, 24, 8, 8];

/** The names of the columns. */
export function blockHeader(): string {
  return row(WIDTHS, ["INDEX", "TIME", "RECORDS", "STATE", "HASH"]);
}

/** A block in columns. */
export function blockLine(block: JsonObject): string {
  const { index, timestamp, size, state, hash } = block;
  return row(
    WIDTHS,
    [index, timestamp, size, state, hash].map((cell) => `${cell ?? ""}`),
  );
}
