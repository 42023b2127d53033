import { toJson } from "@bufbuild/protobuf";
import type { JsonValue, MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { ListOrder, RecordFilterSchema } from "../../../gen/ts/anchord/v1/audit_service_pb.js";
import type {
  AuditService,
  GetBatchRequest,
  RecordFilter,
} from "../../../gen/ts/anchord/v1/audit_service_pb.js";
import type { RecordSchema } from "../../../gen/ts/anchord/v1/record_pb.js";
import { timeOfSeconds } from "../../core/calendar.js";
import { unhex } from "../../core/bytes.js";
import { AnchordError } from "../../core/errors.js";
import type { AuditLog } from "../../flow/audit-log.js";
import { identityOf, stateOf } from "../../flow/receipt-message.js";
import {
  batchOfSeq,
  batchTotals,
  findBatch,
  findBatchByHead,
  findBatchByRoot,
  listBatches,
  progress,
} from "../../store/batches.js";
import type { Progress, StoredBatch } from "../../store/batches.js";
import { chainPosition, storedIdentity } from "../../store/chain-position.js";
import type { Database } from "../../store/database.js";
import {
  countByType,
  countRecords,
  findRecord,
  listRecords,
  logLength,
} from "../../store/records.js";
import type { PlacedRecord, RecordQuery } from "../../store/records.js";
import { batchOf, batchState, queryOf, recordOf } from "../convert.js";
import { pageSize, pageToken, parsePageToken } from "../page-token.js";

type Handlers = Pick<
  ServiceImpl<typeof AuditService>,
  | "getRecord"
  | "listRecords"
  | "countRecords"
  | "getTrail"
  | "getBatch"
  | "listBatches"
  | "getStats"
>;

/** The calls that read the database. */
export function queryHandlers({ database, connection }: AuditLog): Handlers {
  return {
    async getRecord({ recordId }) {
      const record = await requireRecord(database, recordId);
      const [message] = await recordMessages(database, [record], await progress(database));
      return { record: message };
    },

    async listRecords({ filter, order, pageSize: size, pageToken: token }) {
      const newestFirst = order !== ListOrder.OLDEST_FIRST;
      const question = { filter: filter ? toJson(RecordFilterSchema, filter) : null, newestFirst };
      const now = await progress(database);
      const query = await queryIn(database, filter, now);
      const page = { query, newestFirst, size, token, question };
      const { records, nextPageToken } = await recordPage(database, page);
      return { records: await recordMessages(database, records, now), nextPageToken };
    },

    async countRecords({ filter }) {
      const query = await queryIn(database, filter, await progress(database));
      return { count: BigInt(await countMatching(database, query)) };
    },

    async getTrail({ subject, pageSize: size, pageToken: token }) {
      const query = { subject };
      const page = { query, newestFirst: false, size, token, question: { trail: subject } };
      const { records, nextPageToken } = await recordPage(database, page);
      return {
        records: await recordMessages(database, records, await progress(database)),
        nextPageToken,
        length: BigInt(await countMatching(database, query)),
      };
    },

    async getBatch({ batch: name }) {
      const batch = await batchNamed(database, name);
      if (batch === undefined) {
        throw new AnchordError("BATCH_NOT_FOUND", "there is no such batch: see ListBatches");
      }
      return { batch: batchOf(batch, batchState(batch, await progress(database))) };
    },

    async listBatches({ pageSize: size, pageToken: token, order, firstBatch }) {
      const newestFirst = order !== ListOrder.OLDEST_FIRST;
      const question = { batches: `${firstBatch}`, newestFirst };
      const limit = pageSize(size);
      const last = parsePageToken(question, token);
      const range =
        newestFirst || last === undefined
          ? { from: Number(firstBatch), below: last }
          : { from: last + 1 };
      const batches = await listBatches(database, range, { newestFirst, limit: limit + 1 });
      const shown = batches.slice(0, limit);
      const now = await progress(database);
      return {
        batches: shown.map((batch) => batchOf(batch, batchState(batch, now))),
        nextPageToken:
          batches.length > limit ? pageToken(question, Number(shown.at(-1)?.seal.number)) : "",
      };
    },

    async getStats() {
      const [records, now, types, totals, position, identity] = await Promise.all([
        logLength(database),
        progress(database),
        countByType(database),
        batchTotals(database),
        chainPosition(database),
        storedIdentity(database),
      ]);
      return {
        records: BigInt(records),
        pending: BigInt(records - now.anchored),
        final: BigInt(now.final),
        types: types.map(({ type, count }) => ({ type, count: BigInt(count) })),
        batches: BigInt(totals.count),
        gasUsed: BigInt(totals.gasUsed),
        firstBlockTime: timeOfSeconds(totals.firstTime),
        lastBlockTime: timeOfSeconds(totals.lastTime),
        identity: identity && identityOf(identity),
        sealer: connection()?.sealer ?? "",
        blockNumber: BigInt(Math.max(0, position?.blockNumber ?? 0)),
      };
    },
  };
}

/** A record by the id that callers use. Throws RECORD_NOT_FOUND. */
export async function requireRecord(database: Database, recordId: string): Promise<PlacedRecord> {
  const record = await findRecord(database, unhex(recordId));
  if (record === undefined) {
    const message = `there is no record ${recordId}: it was never acknowledged by this service`;
    throw new AnchordError("RECORD_NOT_FOUND", message);
  }
  return record;
}

/** Records with the batches that seal them. Neighbours mostly share one. */
export async function recordMessages(
  database: Database,
  records: readonly PlacedRecord[],
  now: Progress,
): Promise<MessageInitShape<typeof RecordSchema>[]> {
  let batch: StoredBatch | undefined;
  const messages: MessageInitShape<typeof RecordSchema>[] = [];
  for (const record of records) {
    if (record.seq >= now.sealed) batch = undefined;
    else if (!isIn(batch, record.seq)) batch = await batchOfSeq(database, record.seq);
    messages.push(recordOf(record, batch, stateOf(record.seq, now)));
  }
  return messages;
}

function isIn(batch: StoredBatch | undefined, seq: number): boolean {
  if (batch === undefined) return false;
  return seq >= batch.firstSeq && seq < batch.firstSeq + Number(batch.seal.size);
}

function batchNamed(
  database: Database,
  name: GetBatchRequest["batch"],
): Promise<StoredBatch | undefined> {
  switch (name.case) {
    case "root":
      return findBatchByRoot(database, name.value);
    case "head":
      return findBatchByHead(database, name.value);
    default:
      return findBatch(database, Number(name.value ?? 0n));
  }
}

/** The query that a filter stands for. A batch is a range of the log; one that is not there has no records. */
async function queryIn(
  database: Database,
  filter: RecordFilter | undefined,
  now: Progress,
): Promise<RecordQuery> {
  const query = queryOf(filter, now);
  if (filter === undefined || filter.batchNumber === 0n) return query;
  const batch = await findBatch(database, Number(filter.batchNumber));
  if (batch === undefined) return { ...query, toSeq: 0 };
  const { firstSeq, seal } = batch;
  const range = { fromSeq: firstSeq, toSeq: firstSeq + Number(seal.size) };
  return { ...query, ...narrower(query, range) };
}

async function countMatching(database: Database, query: RecordQuery): Promise<number> {
  const everything = Object.values(query).every((bound) => bound === undefined);
  return everything ? logLength(database) : countRecords(database, query);
}

/** One page of records, asked for with one more than it shows, to know whether another follows. */
async function recordPage(
  database: Database,
  page: {
    readonly query: RecordQuery;
    readonly newestFirst: boolean;
    readonly size: number;
    readonly token: string;
    readonly question: JsonValue;
  },
) {
  const { query, newestFirst, question } = page;
  const limit = pageSize(page.size);
  const last = parsePageToken(question, page.token);
  const behind = last === undefined ? {} : newestFirst ? { toSeq: last } : { fromSeq: last + 1 };
  const range = { ...query, ...narrower(query, behind) };
  const found = await listRecords(database, range, { newestFirst, limit: limit + 1 });
  const records = found.slice(0, limit);
  const nextPageToken = found.length > limit ? pageToken(question, records.at(-1)?.seq ?? 0) : "";
  return { records, nextPageToken };
}

/** The part of the log that lies in both ranges. */
function narrower(a: RecordQuery, b: RecordQuery): RecordQuery {
  const fromSeq = Math.max(a.fromSeq ?? 0, b.fromSeq ?? 0);
  const toSeq = Math.min(a.toSeq ?? Infinity, b.toSeq ?? Infinity);
  return {
    ...(fromSeq > 0 ? { fromSeq } : {}),
    ...(toSeq < Infinity ? { toSeq } : {}),
  };
}
