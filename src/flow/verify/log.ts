import { hex0x, sameBytes } from "../../core/bytes.js";
import { nextHead } from "../../core/head.js";
import { merkleRoot } from "../../core/merkle.js";
import type { Chain } from "../../chain/port.js";
import { batchOfSeq, findBatch, leavesOfRange } from "../../store/batches.js";
import type { StoredBatch } from "../../store/batches.js";
import { chainPosition, followedBlocks, storedIdentity } from "../../store/chain-position.js";
import type { FollowedBlock, StoredIdentity } from "../../store/chain-position.js";
import type { Database } from "../../store/database.js";
import { linkedRecords, logLength, recordRows } from "../../store/records.js";
import type { RecordRow } from "../../store/records.js";
import { BatchCheck } from "./batch.js";
import { EvidenceCheck } from "./evidence.js";
import { compare, missing, problem, recordProblem } from "./problem.js";
import type { Problem } from "./problem.js";
import { DerivedLeaves, leafProblems, readEntry, rowProblems } from "./record.js";
import type { Before } from "./record.js";
import { RequestCheck } from "./requests.js";
import type { ReadRecord } from "./requests.js";
import { SlaCheck } from "./sla.js";

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
 * compared. With `last` 0 it goes on to what waits, and to what belongs to no batch.
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
  const total = await recordsBefore(database, first, last, length, range.last === 0);
  const tally = new Tally(total, Math.max(0, last - first + 1));
  const check = new LogCheck(database, chain, identity);
  for (let number = first; number <= last; number++) {
    for await (const found of check.batch(number)) yield tally.add(found);
    yield tally.add({ batches: 1 });
  }
  if (range.last === 0) {
    for await (const found of check.unsealed(last + 1, length)) yield tally.add(found);
    if (first === 1) yield tally.add({ problems: await check.strayRequests(length) });
    for await (const problems of check.strays()) yield tally.add({ problems });
    yield tally.add({ problems: await check.position() });
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
  /** Position of the first record of the batch at hand, by the sizes on chain; unknown at first. */
  #nextSeq: number | undefined;
  readonly #requests: RequestCheck;
  readonly #batches: BatchCheck;
  readonly #evidence: EvidenceCheck;
  readonly #slas: SlaCheck;

  constructor(
    private readonly database: Database,
    private readonly chain: Chain,
    private readonly identity: StoredIdentity,
  ) {
    this.#requests = new RequestCheck(database);
    this.#batches = new BatchCheck(database, chain, identity);
    this.#evidence = new EvidenceCheck(database, chain, identity);
    this.#slas = new SlaCheck(database, chain, identity);
  }

  /** Request ids that belong to no record. Requires that every batch was checked. */
  strayRequests(length: number): Promise<Problem[]> {
    return this.#requests.strays(length);
  }

  /** Evidence and deadlines that belong to no record, and anchors that have none. */
  async *strays(): AsyncGenerator<Problem[]> {
    yield* this.#evidence.strays();
    yield* this.#slas.strays();
  }

  /** Everything about one batch that is on the chain. */
  async *batch(number: number): AsyncGenerator<Found> {
    const truth = await this.chain.batch(this.identity, BigInt(number));
    if (truth === undefined) return;
    const followedTo = (await chainPosition(this.database))?.blockNumber ?? 0;
    const stored = await findBatch(this.database, number);
    const firstSeq = await this.#firstSeq(number, stored);
    if (stored === undefined) {
      yield { problems: [problem(number, "batches.number", "the batch is missing")] };
    } else {
      yield { problems: await this.#batches.columns(stored, truth, firstSeq) };
      yield { problems: await this.#batches.anchor(stored, truth, followedTo) };
    }
    if (firstSeq === undefined) return;
    this.#nextSeq = firstSeq + Number(truth.size);
    yield* this.#records({ number, firstSeq, size: Number(truth.size), root: truth.root });
  }

  /** What is not on the chain yet: batches on their way, and records in no batch. */
  async *unsealed(number: number, length: number): AsyncGenerator<Found> {
    const stored = await findBatch(this.database, number);
    if (stored !== undefined) {
      const { seal, head, previousHead, anchor } = stored;
      const firstSeq = (await this.#firstSeq(number, stored)) ?? stored.firstSeq;
      const truth = {
        root: seal.root,
        size: seal.size,
        head: nextHead(previousHead, seal),
        time: 0n,
      };
      yield { problems: await this.#batches.columns({ ...stored, head }, truth, firstSeq) };
      if (
        anchor !== undefined &&
        (await this.chain.batch(this.identity, seal.number)) === undefined
      ) {
        yield { problems: [problem(number, "batches.block_number", "the batch is not on chain")] };
      }
      this.#nextSeq = firstSeq + Number(seal.size);
      yield* this.#records({ number, firstSeq, size: Number(seal.size), root: seal.root });
      yield* this.unsealed(number + 1, length);
      return;
    }
    yield* this.#waiting(this.#nextSeq ?? 0, length);
  }

  /** Records in no batch: their columns must follow from their entries. */
  async *#waiting(first: number, length: number): AsyncGenerator<Found> {
    for (let from = first; from < length; from += CHUNK) {
      const to = Math.min(length, from + CHUNK);
      const rows = await recordRows(this.database, from, to);
      const problems = await this.#columnProblems(rows, 0);
      if (rows.length < to - from) this.#requests.miss();
      for (const row of rows) {
        if (row.leaf === undefined || (await batchOfSeq(this.database, row.seq)) !== undefined)
          continue;
        problems.push(recordProblem(row, 0, "leaves.seq", "has a leaf, but is in no batch"));
      }
      yield { records: to - from, problems: [...missing(rows, from, to, 0), ...problems] };
    }
    const beyond = await recordRows(this.database, length, length + 1);
    if (beyond.length > 0 && (await logLength(this.database)) === length) {
      yield {
        problems: [problem(0, "tail.length", `the log has records behind its end, ${length}`)],
      };
    }
  }

  /** Which log this is, and how far the chain was followed. */
  async position(): Promise<Problem[]> {
    const blocks = await followedBlocks(this.database);
    const position = await chainPosition(this.database);
    const newest = blocks[0]?.number ?? position?.blockNumber ?? 0;
    const problems = [...(await this.#identity()), ...(await this.#blocks(blocks))];
    if (position !== undefined && position.blockNumber !== newest) {
      const message = `is ${position.blockNumber}, the last block followed is ${newest}`;
      problems.push(problem(0, "chain_position.block_number", message));
    }
    if (position !== undefined && position.finalNumber > newest) {
      const message = `is ${position.finalNumber}, behind the last block followed, ${newest}`;
      problems.push(problem(0, "chain_position.final_number", message));
    }
    return problems;
  }

  async #identity(): Promise<Problem[]> {
    const stored = await storedIdentity(this.database);
    if (stored === undefined) return [problem(0, "identity.id", "the row is missing")];
    const { chainId, genesisHash, contract, evidence, sla, log } = this.identity;
    return [
      ...compare(0, "identity.chain_id", stored.chainId, chainId),
      ...compare(0, "identity.genesis_hash", stored.genesisHash, genesisHash),
      ...compare(0, "identity.contract", stored.contract, contract),
      ...compare(0, "identity.evidence_contract", stored.evidence ?? "none", evidence ?? "none"),
      ...compare(0, "identity.sla_contract", stored.sla ?? "none", sla ?? "none"),
      ...compare(0, "identity.log", stored.log, log),
    ];
  }

  async #blocks(blocks: readonly FollowedBlock[]): Promise<Problem[]> {
    const problems: Problem[] = [];
    for (const { number, hash } of blocks) {
      const block = await this.chain.block(number);
      if (block === undefined)
        problems.push(problem(0, "blocks.number", `there is no block ${number}`));
      else problems.push(...compare(0, "blocks.hash", hex0x(hash), block.hash));
    }
    return problems;
  }

  /** Where a batch starts: behind the one before it, by the sizes on chain. */
  async #firstSeq(number: number, stored: StoredBatch | undefined): Promise<number | undefined> {
    if (number === 1) return 0;
    if (this.#nextSeq !== undefined) return this.#nextSeq;
    const before = await findBatch(this.database, number - 1);
    return before === undefined ? stored?.firstSeq : before.firstSeq + Number(before.seal.size);
  }

  /** A batch's records: each by itself, and all together by the root that they must lead to. */
  async *#records(batch: BatchOfRecords): AsyncGenerator<Found> {
    const { number, firstSeq, size, root } = batch;
    const derived = new DerivedLeaves();
    const named = new Set<number>();
    const columns: Uint8Array[] = [];
    for (let from = firstSeq; from < firstSeq + size; from += CHUNK) {
      const end = Math.min(firstSeq + size, from + CHUNK);
      const rows = await recordRows(this.database, from, end);
      const previous = await this.#previousLeaves(from, end);
      columns.push(...(await leavesOfRange(this.database, from, end)).map(({ leaf }) => leaf));
      const problems = missing(rows, from, end, number);
      const intact: RecordRow[] = [];
      for (const row of rows) {
        derived.add(row, previous.get(row.seq), firstSeq);
        const found = leafProblems(row, number, previous.get(row.seq)?.leaf);
        problems.push(...found);
        if (!found.some(({ column }) => column === "records.entry")) intact.push(row);
      }
      if (intact.length < end - from) this.#requests.miss();
      problems.push(...(await this.#columnProblems(intact, number)));
      for (const { seq } of problems) if (seq !== undefined) named.add(seq);
      yield { records: end - from, problems };
    }
    const holds = [derived.leaves, columns].some(
      (leaves) => leaves.length === size && size > 0 && sameBytes(merkleRoot(leaves), root),
    );
    if (!holds) yield* this.#allSuspect(batch, named);
  }

  /** Neither entries nor leaves lead to the root on chain: no record can be proven, any may be forged. */
  async *#allSuspect(
    { number, firstSeq, size }: BatchOfRecords,
    named: ReadonlySet<number>,
  ): AsyncGenerator<Found> {
    const message = "cannot be proven: the batch's records do not lead to its root on chain";
    for (let from = firstSeq; from < firstSeq + size; from += CHUNK) {
      const rows = await recordRows(this.database, from, Math.min(firstSeq + size, from + CHUNK));
      const unnamed = rows.filter(({ seq }) => !named.has(seq));
      yield {
        problems: unnamed.map((row) => recordProblem(row, number, "records.entry", message)),
      };
    }
  }

  /** The record before each record in its trail, by position; none for a first record. */
  async #previousLeaves(from: number, end: number): Promise<Map<number, Before>> {
    const linked = await linkedRecords(this.database, from, end - from);
    return new Map(
      linked.map(({ seq, previousSeq, previous }) => [seq, { seq: previousSeq, leaf: previous }]),
    );
  }

  /** Columns of records, their requests, evidence and deadlines that do not follow from the entries. */
  async #columnProblems(rows: readonly RecordRow[], batch: number): Promise<Problem[]> {
    const problems: Problem[] = [];
    const read: ReadRecord[] = [];
    for (const row of rows) {
      const entry = readEntry(row);
      if (typeof entry === "string") {
        this.#requests.miss();
        problems.push(recordProblem(row, batch, "records.entry", entry));
      } else {
        problems.push(...rowProblems(row, entry, batch));
        read.push({ row, entry });
      }
    }
    const asked = read.filter(({ entry }) => entry.requestId !== "");
    return [
      ...problems,
      ...(await this.#requests.check(asked, batch)),
      ...(await this.#evidence.check(read, batch)),
      ...(await this.#slas.check(read, batch)),
    ];
  }
}

/** A batch as its records are checked against it. */
interface BatchOfRecords {
  readonly number: number;
  readonly firstSeq: number;
  readonly size: number;
  readonly root: Uint8Array;
}
