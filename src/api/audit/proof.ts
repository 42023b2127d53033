import type { ServiceImpl } from "@connectrpc/connect";
import { ReceiptVerdict } from "../../../gen/ts/anchord/v1/audit_service_pb.js";
import type { AuditService } from "../../../gen/ts/anchord/v1/audit_service_pb.js";
import { isoSeconds } from "../../core/calendar.js";
import { AnchordError, invalidFields } from "../../core/errors.js";
import { checkReceipt } from "../../core/receipt.js";
import type { ReceiptCheck } from "../../core/receipt.js";
import type { AuditLog, ChainConnection } from "../../flow/audit-log.js";
import { receiptMessage, stateOf } from "../../flow/receipt-message.js";
import { syncBlocks } from "../../flow/sync.js";
import { verifyLog } from "../../flow/verify/log.js";
import { problemMessage } from "../../flow/verify/problem.js";
import { progress } from "../../store/batches.js";
import { requireRecord } from "./query.js";

type Handlers = Pick<
  ServiceImpl<typeof AuditService>,
  "getReceipt" | "verifyReceipt" | "verifyLog" | "syncBlocks"
>;

/** The calls that prove. */
export function proofHandlers(log: AuditLog): Handlers {
  return {
    async getReceipt({ recordId }) {
      const record = await requireRecord(log.database, recordId);
      const receipt = await receiptMessage(log, record);
      return { receipt, state: stateOf(record.seq, await progress(log.database)) };
    },

    async verifyReceipt({ receipt }) {
      const { chain, identity } = requireChain(log);
      if (receipt === undefined) throw new Error("validation lets no request without receipt pass");
      return verdictMessage(await checkReceipt(receipt, chain, identity));
    },

    async *verifyLog({ firstBatch, lastBatch }) {
      const { chain, identity } = requireChain(log);
      const range = { first: Number(firstBatch), last: Number(lastBatch) };
      for await (const found of verifyLog(log.database, chain, identity, range)) {
        yield {
          recordsChecked: BigInt(found.recordsChecked),
          recordsTotal: BigInt(found.recordsTotal),
          batchesChecked: BigInt(found.batchesChecked),
          batchesTotal: BigInt(found.batchesTotal),
          problems: found.problems.map(problemMessage),
          problemsTotal: BigInt(found.problemsTotal),
          done: found.done,
        };
      }
    },

    async *syncBlocks({ fromBlock, toBlock }) {
      const { chain, identity, adopt } = requireChain(log);
      const range = { from: blockNumber(fromBlock), to: blockNumber(toBlock) };
      if (range.to > 0 && range.to < range.from) {
        throw invalidFields([{ field: "to_block", description: "must not be below from_block" }]);
      }
      for await (const found of syncBlocks(log.database, chain, identity, range, adopt)) {
        const { done, ...counts } = found;
        yield {
          blockNumber: BigInt(Math.max(0, counts.blockNumber)),
          blocksRead: BigInt(counts.blocksRead),
          blocksTotal: BigInt(counts.blocksTotal),
          batchesFound: BigInt(counts.batchesFound),
          batchesMended: BigInt(counts.batchesMended),
          evidenceFound: BigInt(counts.evidenceFound),
          evidenceMended: BigInt(counts.evidenceMended),
          deadlinesFound: BigInt(counts.deadlinesFound),
          deadlinesMended: BigInt(counts.deadlinesMended),
          done,
        };
      }
    },
  };
}

/** No chain has more blocks than can be counted exactly. */
function blockNumber(number: bigint): number {
  return Math.min(Number(number), Number.MAX_SAFE_INTEGER);
}

/** The chain. Throws CHAIN_UNAVAILABLE before it was first reached. */
export function requireChain({ connection }: AuditLog): ChainConnection {
  const connected = connection();
  if (connected !== undefined) return connected;
  throw new AnchordError("CHAIN_UNAVAILABLE", "the chain was not reached yet: see GET /health");
}

function verdictMessage(check: ReceiptCheck) {
  switch (check.verdict) {
    case "valid":
      return {
        verdict: ReceiptVerdict.VALID,
        message: `record ${check.id} is on the chain since ${isoSeconds(check.batch.time)}`,
      };
    case "not-anchored":
      return {
        verdict: ReceiptVerdict.NOT_ANCHORED,
        message: `record ${check.id} was not anchored when the receipt was made: fetch it again`,
      };
    case "invalid":
      return {
        verdict: ReceiptVerdict.INVALID,
        failedStep: check.step,
        message: check.message,
      };
  }
}
