import type { Transaction } from "kysely";
import type { EncodedRecord } from "../core/record.js";
import { knownRequests, lockTail, requestKey, setTail, writeFresh } from "./append.js";
import type { Tables } from "./tables.js";

/**
 * Puts the records of a batch that was sealed elsewhere at their places. Records that wait here for a
 * batch of their own make room: they keep their order and move behind. A request id that both have
 * stays with the batch's record, which was first.
 */
export async function adoptRecords(
  trx: Transaction<Tables>,
  firstSeq: number,
  records: readonly EncodedRecord[],
): Promise<void> {
  const length = await lockTail(trx, 0);
  if (length < firstSeq)
    throw new Error(`record ${length} is missing from the database: restore it`);
  const isEnd = length === firstSeq;
  const by = isEnd ? records.length : await makeRoom(trx, { firstSeq, length }, records);
  await writeFresh(trx, await claimRequests(trx, firstSeq, records), firstSeq);
  await movePolicies(trx, firstSeq, by);
  await moveSealRequest(trx, firstSeq, by);
  await setTail(trx, length + by);
}

/** Removes what is left of a batch whose row was deleted, and of those behind it. */
export async function clearRemains(
  trx: Transaction<Tables>,
  batchNumber: number,
  firstSeq: number,
): Promise<void> {
  await trx.deleteFrom("leaves").where("seq", ">=", firstSeq).execute();
  await trx.deleteFrom("publications").where("batch_number", ">=", batchNumber).execute();
}

/**
 * Makes room for records at a position that is not behind the end: a backup may have some of them that
 * were not sealed yet, and others that wait. Returns by how much the log gets longer.
 */
async function makeRoom(
  trx: Transaction<Tables>,
  { firstSeq, length }: { readonly firstSeq: number; readonly length: number },
  records: readonly EncodedRecord[],
): Promise<number> {
  for (let at = 0; at < records.length; at += 500) {
    const ids = records.slice(at, at + 500).map(({ id }) => id);
    await trx.deleteFrom("records").where("seq", ">=", firstSeq).where("id", "in", ids).execute();
  }
  await trx
    .deleteFrom("requests")
    .where("seq", ">=", firstSeq)
    .where((eb) =>
      eb.not(
        eb.exists(
          eb.selectFrom("records").select("id").whereRef("records.seq", "=", "requests.seq"),
        ),
      ),
    )
    .execute();
  const { next } = await trx
    .selectFrom("records")
    .select((eb) => eb.fn.min<number | null>("seq").as("next"))
    .where("seq", ">=", firstSeq)
    .executeTakeFirstOrThrow();
  const room = (next === null ? length : Number(next)) - firstSeq;
  const by = Math.max(0, records.length - room);
  await moveBehind(trx, firstSeq, by);
  return by;
}

/** By way of negative positions, so that no two rows have the same one at any moment. */
async function moveBehind(trx: Transaction<Tables>, fromSeq: number, by: number): Promise<void> {
  if (by === 0) return;
  await trx
    .updateTable("records")
    .set((eb) => ({ seq: eb(eb.neg("seq"), "-", 1) }))
    .where("seq", ">=", fromSeq)
    .execute();
  await trx
    .updateTable("records")
    .set((eb) => ({ seq: eb(eb.lit(by - 1), "-", eb.ref("seq")) }))
    .where("seq", "<", 0)
    .execute();
  await trx
    .updateTable("requests")
    .set((eb) => ({ seq: eb("seq", "+", by) }))
    .where("seq", ">=", fromSeq)
    .execute();
}

/** Policies do not look again at what they have, nor at records whose deadlines come back with them. */
async function movePolicies(trx: Transaction<Tables>, fromSeq: number, by: number): Promise<void> {
  await trx
    .updateTable("sla_policy")
    .set((eb) => ({ next_seq: eb("next_seq", "+", by) }))
    .where("next_seq", ">=", fromSeq)
    .execute();
}

/** What was asked to be sealed is still asked for behind the records that it made room for. */
async function moveSealRequest(
  trx: Transaction<Tables>,
  fromSeq: number,
  by: number,
): Promise<void> {
  await trx
    .updateTable("seal_request")
    .set((eb) => ({ length: eb("length", "+", by) }))
    .where("length", ">", fromSeq)
    .execute();
}

/** Takes request ids from records behind these; one that a record before these has stays with that. */
async function claimRequests(
  trx: Transaction<Tables>,
  firstSeq: number,
  records: readonly EncodedRecord[],
): Promise<EncodedRecord[]> {
  const known = await knownRequests(trx, records);
  const inside = new Set<string>();
  const claimed: EncodedRecord[] = [];
  for (const record of records) {
    const { caller, request } = record;
    const key = request && requestKey(caller, request.id);
    const holder = key === undefined ? undefined : known.get(key);
    if (request !== undefined && holder !== undefined && holder.seq >= firstSeq) {
      await trx
        .deleteFrom("requests")
        .where("caller", "=", caller)
        .where("request_id", "=", request.id)
        .execute();
    }
    const isBefore = holder !== undefined && holder.seq < firstSeq;
    const isTaken = isBefore || (key !== undefined && inside.has(key));
    if (key !== undefined) inside.add(key);
    claimed.push(isTaken ? { ...record, request: undefined } : record);
  }
  return claimed;
}
