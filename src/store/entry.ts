import { fromBinary } from "@bufbuild/protobuf";
import { EntrySchema } from "../../gen/ts/anchord/v1/receipt_pb.js";
import type { Entry } from "../../gen/ts/anchord/v1/receipt_pb.js";
import { hex } from "../core/bytes.js";
import { databaseAltered, messageOf } from "../core/errors.js";
import type { StoredRecord } from "./append.js";

type Stored = Pick<StoredRecord, "id" | "entry">;

/** What is read from a stored record's entry. Throws DATABASE_ALTERED, which names the record. */
export function readEntry<T>({ id, entry }: Stored, read: (bytes: Uint8Array) => T): T {
  try {
    return read(entry);
  } catch (error) {
    throw databaseAltered(`record ${hex(id)}: ${messageOf(error)}`, error);
  }
}

/** A stored record's entry, canonical or not. Throws DATABASE_ALTERED, which names the record. */
export function storedEntry(record: Stored): Entry {
  return readEntry(record, (bytes) => fromBinary(EntrySchema, bytes));
}
