import { nextLeaf } from "../core/batch.js";
import { hex, hex0x, sameBytes, sha256, ZERO32 } from "../core/bytes.js";
import { messageOf } from "../core/errors.js";
import { genesisHead, nextHead } from "../core/head.js";
import { merkleRoot } from "../core/merkle.js";
import type { ChainBatch } from "../core/receipt.js";
import { columnsOf, decodeEntry } from "../core/record.js";
import { trailLeaf } from "../core/trail.js";
import type { Entry } from "../../gen/ts/anchord/v1/receipt_pb.js";
import type { Chain } from "../chain/port.js";
import { findBatch, progress } from "../store/batches.js";
import type { StoredBatch } from "../store/batches.js";
import { followedBlocks } from "../store/chain-position.js";
import type { StoredIdentity } from "../store/chain-position.js";
import type { Database } from "../store/database.js";
import { minedOperation } from "../store/operations.js";
import { logLength, linkedRecords, recordRows } from "../store/records.js";
import type { RecordRow } from "../store/records.js";

/** Something in the database that does not hold. */
export interface Problem {
  /** Number of the batch; 0 where it belongs to none. */
  readonly batch: number;
  readonly seq: number | undefined;
  readonly recordId: string;
  /** The table and column that does not hold. */
  readonly column: string;
  readonly message: string;
}

/** How far a verification has come, and what it found since the last time. */
export interface VerifyProgress {
  readonly recordsChecked: number;
  readonly recordsTotal: number;
  readonly batchesChecked: number;
  readonly batchesTotal: number;
  readonly problems: readonly Problem[];
  readonly problemsTotal: number;
  readonly done: boolean;
}

/** Records read at once: what bounds the memory of a verification. */
const CHUNK = 1_000;

/**
 * Compares the database with the chain, in log order. The chain decides: a batch's root, head, size
 * and time there are taken as true, and every stored value is derived again from the entries and
 * compared. With `last` 0 it ends at the last batch on chain, and then looks at the records that wait.
 */
export async function* verifyLog(
  database: Database,
  chain: Chain,
  identity: StoredIdentity,
  range: { readonly first: number; readonly last: number },
): AsyncGenerator<VerifyProgress> {
  const onChain = Number((await chain.lastSealed(identity)).number);
  const first = Math.max(1, range.first);
  const last = range.last === 0 ? onChain : Math.min(range.last, onChain);
  const length = await logLength(database);
  const tally = new Tally(await recordsBefore(database, first, last, length, range.last === 0), Math.max(0, last - first + 1));
  const check = new LogCheck(database, chain, identity);
  for (let number = first; number <= last; number++) {
    for await (const found of check.batch(number)) yield tally.add(found);
    yield tally.add({ batches: 1 });
  }
  if (range.last === 0) {
    for await (const found of check.waiting(length)) yield tally.add(found);
    yield tally.add({ problems: await check.followed() });
  }
  yield { ...tally.add({}), done: true };
}

interface Found {
  readonly records?: number;
  readonly batches?: number;
  readonly problems?: readonly Problem[];
}

class Tally {
  #records = 0;
  #batches = 0;
  #problems = 0;

  constructor(
    private readonly recordsTotal: number,
    private readonly batchesTotal: number,
  ) {}

  add({ records = 0, batches = 0, problems = [] }: Found): VerifyProgress {
    this.#records += records;
    this.#batches += batches;
    this.#problems += problems.length;
    return {
      recordsChecked: this.#records,
      recordsTotal: Math.max(this.recordsTotal, this.#records),
      batchesChecked: this.#batches,
      batchesTotal: this.batchesTotal,
      problems,
      problemsTotal: this.#problems,
      done: false,
    };
  }
}

async function recordsBefore(
  database: Database,
  first: number,
  last: number,
  length: number,
  withWaiting: boolean,
): Promise<number> {
  if (last < first) return withWaiting ? length : 0;
  const from = (await findBatch(database, first))?.firstSeq ?? 0;
  const end = await findBatch(database, last);
  const to = withWaiting || end === undefined ? length : end.firstSeq + Number(end.seal.size);
  return Math.max(0, to - from);
}

class LogCheck {
  constructor(
    private readonly database: Database,
    private readonly chain: Chain,
    private readonly identity: StoredIdentity,
  ) {}

  /** Everything about one batch that is on the chain. */
  async *batch(number: number): AsyncGenerator<Found> {
    const truth = await this.chain.batch(this.identity, BigInt(number));
    if (truth === undefined) return;
    const stored = await findBatch(this.database, number);
    if (stored === undefined) {
      yield { problems: [problem(number, "batches.number", "the batch is missing")] };
      return;
    }
    yield { problems: await this.#batchColumns(number, stored, truth) };
    yield* this.#records(stored, truth);
  }

  /** Records that are in no batch on the chain: their columns must follow from their entries. */
  async *waiting(length: number): AsyncGenerator<Found> {
    const { anchored } = await progress(this.database);
    for (let from = anchored; from < length; from += CHUNK) {
      const to = Math.min(length, from + CHUNK);
      const rows = await recordRows(this.database, from, to);
      const problems = rows.flatMap((row) => columnProblems(row, 0));
      yield { records: to - from, problems: [...missing(rows, from, to, 0), ...problems] };
    }
    const beyond = await recordRows(this.database, length, length + 1);
    if (beyond.length > 0) {
      yield { problems: [problem(0, "tail.length", `the log has records behind its end, ${length}`)] };
    }
  }

  /** The blocks that following remembers. */
  async followed(): Promise<Problem[]> {
    const problems: Problem[] = [];
    for (const { number, hash } of await followedBlocks(this.database)) {
      const block = await this.chain.block(number);
      if (block !== undefined && block.hash !== hex0x(hash)) {
        problems.push(differs(0, "blocks.hash", hex0x(hash), block.hash));
      }
    }
    return problems;
  }

  async #batchColumns(number: number, stored: StoredBatch, truth: ChainBatch): Promise<Problem[]> {
    const { seal, head, previousHead } = stored;
    const before =
      number === 1
        ? genesisHead(this.identity)
        : (await this.chain.batch(this.identity, BigInt(number - 1)))?.head;
    const problems = [
      ...compare(number, "batches.root", seal.root, truth.root),
      ...compare(number, "batches.size", seal.size, truth.size),
      ...compare(number, "batches.head", head, truth.head),
      ...compare(number, "batches.previous_head", previousHead, before ?? ZERO32),
      ...(await this.#firstSeq(number, stored)),
      ...(await this.#anchor(number, stored, truth)),
    ];
    const derived = nextHead(previousHead, seal);
    if (problems.length === 0 && !sameBytes(derived, truth.head)) {
      problems.push(problem(number, "batches.head", "the columns do not lead to the head on chain"));
    }
    return problems;
  }

  async #firstSeq(number: number, { firstSeq }: StoredBatch): Promise<Problem[]> {
    const before = number === 1 ? undefined : await findBatch(this.database, number - 1);
    if (number > 1 && before === undefined) return [];
    const expected = before === undefined ? 0 : before.firstSeq + Number(before.seal.size);
    return compare(number, "batches.first_seq", BigInt(firstSeq), BigInt(expected));
  }

  /** Where the batch stands on the chain, as the transaction's receipt and the contract's event say. */
  async #anchor(number: number, { seal, anchor }: StoredBatch, truth: ChainBatch): Promise<Problem[]> {
    if (anchor === undefined) {
      return [problem(number, "batches.block_number", "the batch is on chain, but not marked so")];
    }
    const hash = hex0x(anchor.transactionHash);
    const mined = await this.chain.mined(hash);
    if (mined === undefined) {
      return [problem(number, "batches.transaction_hash", `no block has transaction ${hash}`)];
    }
    const { blockNumber, blockHash, gasUsed } = mined;
    const events = await this.chain.sealedEvents(this.identity, blockNumber, blockNumber);
    const event = events.find((each) => each.seal.number === BigInt(number));
    if (event?.transactionHash !== hash) {
      return [problem(number, "batches.transaction_hash", `transaction ${hash} did not seal it`)];
    }
    const operation = await minedOperation(this.database, number);
    return [
      ...compare(number, "batches.block_number", BigInt(anchor.blockNumber), BigInt(blockNumber)),
      ...compare(number, "batches.block_hash", hex0x(anchor.blockHash), blockHash),
      ...compare(number, "batches.block_time", BigInt(anchor.blockTime), truth.time),
      ...compare(number, "batches.gas_used", BigInt(anchor.gasUsed), BigInt(gasUsed)),
      ...compare(number, "batches.manifest_digest", seal.manifestDigest, event.seal.manifestDigest),
      ...compare(number, "batches.trails_root", seal.trailsRoot, event.seal.trailsRoot),
      ...compare(number, "batches.nonce", seal.nonce, event.seal.nonce),
      ...(operation === undefined
        ? []
        : compare(number, "operations.transaction_hash", hex0x(operation), hash)),
    ];
  }

  /** The batch's records. First whether its leaves lead to the root on chain, then each record. */
  async *#records(stored: StoredBatch, truth: ChainBatch): AsyncGenerator<Found> {
    const number = Number(stored.seal.number);
    const to = stored.firstSeq + Number(truth.size);
    const derived: Uint8Array[] = [];
    const columns: Uint8Array[] = [];
    let named = 0;
    for (let from = stored.firstSeq; from < to; from += CHUNK) {
      const end = Math.min(to, from + CHUNK);
      const rows = await recordRows(this.database, from, end);
      const previous = await this.#previousLeaves(from, end);
      const problems = missing(rows, from, end, number);
      for (const row of rows) {
        problems.push(...recordProblems(row, number, previous.get(row.seq)));
        derived.push(derivedLeaf(row, previous.get(row.seq)));
        columns.push(row.leaf ?? ZERO32);
      }
      named += problems.length;
      yield { records: end - from, problems };
    }
    const holds = [derived, columns].some(
      (leaves) => leaves.length > 0 && sameBytes(merkleRoot(leaves), truth.root),
    );
    if (!holds && named === 0) yield* this.#allSuspect(stored, truth);
  }

  /** Entry, hash, leaf and root agree with each other but not with the chain: any may be forged. */
  async *#allSuspect(stored: StoredBatch, truth: ChainBatch): AsyncGenerator<Found> {
    const number = Number(stored.seal.number);
    const to = stored.firstSeq + Number(truth.size);
    for (let from = stored.firstSeq; from < to; from += CHUNK) {
      const rows = await recordRows(this.database, from, Math.min(to, from + CHUNK));
      const message = "cannot be proven: the batch's records do not lead to its root on chain";
      yield { problems: rows.map((row) => recordProblem(row, number, "records.entry", message)) };
    }
  }

  /** The leaf before each record in its trail, by the record's position; none for a first record. */
  async #previousLeaves(from: number, end: number): Promise<Map<number, Previous>> {
    const linked = await linkedRecords(this.database, from, end - from);
    return new Map(linked.map(({ seq, previous }) => [seq, previous]));
  }
}

type Previous = Parameters<typeof nextLeaf>[1];

function derivedLeaf(row: RecordRow, previous: Previous): Uint8Array {
  return nextLeaf(sha256(row.entry), previous).leaf;
}

/** What of a sealed record does not hold, by its entry, its columns, and the record before it. */
function recordProblems(row: RecordRow, batch: number, previous: Previous): Problem[] {
  const report = (column: string, message: string) => [recordProblem(row, batch, column, message)];
  if (row.leaf === undefined || row.trailIndex === undefined) {
    return report("leaves.seq", "the record's leaf is missing");
  }
  const entryHash = sha256(row.entry);
  const columns = columnProblems(row, batch);
  if (columns.length > 0 && columns.some(({ column }) => column === "records.subject")) return columns;
  const { index, leaf } = nextLeaf(entryHash, previous);
  if (sameBytes(leaf, row.leaf)) {
    return index === row.trailIndex
      ? columns
      : [...columns, ...report("leaves.trail_index", `is ${row.trailIndex}, must be ${index}`)];
  }
  // The leaf fits the id, so it is the entry that was changed.
  if (sameBytes(trailLeaf(row.id, index, previous?.leaf ?? ZERO32), row.leaf)) {
    return report("records.entry", `hashes to ${hex(entryHash)}, sealed was ${hex(row.id)}`);
  }
  return [
    ...columns,
    ...report("leaves.leaf", "does not follow from the entry and the record before it in its trail"),
  ];
}

/** Columns that do not follow from the entry. */
function columnProblems(row: RecordRow, batch: number): Problem[] {
  const report = (column: string, message: string) => recordProblem(row, batch, column, message);
  let entry: Entry;
  try {
    entry = decodeEntry(row.entry);
  } catch (error) {
    return [report("records.entry", `cannot be read: ${messageOf(error)}`)];
  }
  const expected = columnsOf(entry);
  const request = entry.requestId === "" ? undefined : entry;
  const pairs: [string, unknown, unknown][] = [
    ["records.id", hex(row.id), hex(sha256(row.entry))],
    ["records.subject", row.subject, expected.subject],
    ["records.type", row.type, expected.type],
    ["records.actor", row.actor, expected.actor],
    ["records.occur_time", row.occurTime, expected.occurTime],
    ["requests.caller", row.request?.caller, request?.caller],
    ["requests.request_id", row.request?.id, request?.requestId],
    ["requests.hash", row.request && hex(row.request.hash), request && hex(request.requestHash)],
  ];
  return pairs
    .filter(([, actual, wanted]) => actual !== wanted)
    .map(([column, actual, wanted]) => report(column, `is ${show(actual)}, must be ${show(wanted)}`));
}

function missing(rows: readonly RecordRow[], from: number, to: number, batch: number): Problem[] {
  const present = new Set(rows.map(({ seq }) => seq));
  const problems: Problem[] = [];
  for (let seq = from; seq < to; seq++) {
    if (present.has(seq)) continue;
    const message = `the record at position ${seq} is missing`;
    problems.push({ batch, seq, recordId: "", column: "records.seq", message });
  }
  return problems;
}

function compare(batch: number, column: string, actual: Comparable, expected: Comparable): Problem[] {
  const [a, b] = [textOf(actual), textOf(expected)];
  return a === b ? [] : [differs(batch, column, a, b)];
}

type Comparable = Uint8Array | bigint | string;

function textOf(value: Comparable): string {
  return value instanceof Uint8Array ? hex(value) : String(value);
}

function differs(batch: number, column: string, actual: string, expected: string): Problem {
  return problem(batch, column, `is ${actual}, on chain it is ${expected}`);
}

function problem(batch: number, column: string, message: string): Problem {
  return { batch, seq: undefined, recordId: "", column, message };
}

function recordProblem(row: RecordRow, batch: number, column: string, message: string): Problem {
  return { batch, seq: row.seq, recordId: hex(row.id), column, message };
}

function show(value: unknown): string {
  return value === undefined ? "missing" : JSON.stringify(value);
}
