import type { MessageInitShape } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import type { Client } from "@connectrpc/connect";
import { AuditService, ListOrder } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import type { RecordFilterSchema } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import type { Batch } from "../../gen/ts/anchord/v1/batch_pb.js";
import type { Record as RecordMessage } from "../../gen/ts/anchord/v1/record_pb.js";
import { connectServer } from "./server.js";
import type { ServerOptions } from "./server.js";

/** A client of the audit service. */
export type AuditClient = Client<typeof AuditService>;

/** The most items of a page. */
const PAGE_SIZE = 1_000;

/** A client of the audit service at the address of the options. */
export function auditClient(options: ServerOptions): AuditClient {
  return createClient(AuditService, connectServer(options));
}

/** Records in log order or the reverse, page by page, at most so many. */
export async function* recordPages(
  client: AuditClient,
  question: {
    readonly filter: MessageInitShape<typeof RecordFilterSchema>;
    readonly order: ListOrder;
    readonly limit: number;
  },
): AsyncGenerator<RecordMessage[]> {
  const { filter, order, limit } = question;
  yield* pages(limit, async (pageSize, pageToken) => {
    const page = await client.listRecords({ filter, order, pageSize, pageToken });
    return { items: page.records, next: page.nextPageToken };
  });
}

/** Every record of a batch, in log order. */
export async function batchRecords(
  client: AuditClient,
  { sealed }: Batch,
): Promise<RecordMessage[]> {
  const filter = { batchNumber: sealed?.number ?? 0n };
  const order = ListOrder.OLDEST_FIRST;
  const records: RecordMessage[] = [];
  for await (const page of recordPages(client, { filter, order, limit: Infinity })) {
    records.push(...page);
  }
  return records;
}

/** Batches from a number on, oldest first, page by page, at most so many. */
export async function* batchPages(
  client: AuditClient,
  first: number,
  limit: number,
): AsyncGenerator<Batch[]> {
  const question = { firstBatch: BigInt(first), order: ListOrder.OLDEST_FIRST };
  yield* pages(limit, async (pageSize, pageToken) => {
    const page = await client.listBatches({ ...question, pageSize, pageToken });
    return { items: page.batches, next: page.nextPageToken };
  });
}

async function* pages<T>(
  limit: number,
  read: (size: number, token: string) => Promise<{ readonly items: T[]; readonly next: string }>,
): AsyncGenerator<T[]> {
  let left = limit;
  let token = "";
  while (left > 0) {
    const { items, next } = await read(Math.min(PAGE_SIZE, left), token);
    yield items;
    if (next === "") return;
    token = next;
    left -= items.length;
  }
}
