import { toJsonString } from "@bufbuild/protobuf";
import type { Logger } from "pino";
import { LogProblemSchema } from "../../gen/ts/anchord/v1/problem_pb.js";
import { hex0x } from "../core/bytes.js";
import { beginPass, endPass, noteProblem, setNextBatch, storedAudit } from "../store/audit.js";
import type { StoredAudit } from "../store/audit.js";
import { progress } from "../store/batches.js";
import { chainPosition, followedBlocks } from "../store/chain-position.js";
import type { FollowedBlock } from "../store/chain-position.js";
import type { Database } from "../store/database.js";
import { appendFeed } from "../store/feed.js";
import type { ChainConnection } from "./audit-log.js";
import { Loop } from "./loop.js";
import type { Turn } from "./loop.js";
import { verifyLog } from "./verify/log.js";
import { problemMessage } from "./verify/problem.js";
import type { Problem } from "./verify/problem.js";

/** What the auditor works with. */
export interface AuditorParts {
  readonly database: Database;
  /** The chain, while this daemon is the one to audit. */
  readonly connection: () => ChainConnection | undefined;
  /** Share of the time that it takes, from 1 to 100; at 100 it never rests. */
  readonly percent: number;
  readonly log: Logger;
}

/** A pass begins at most this often, unless the auditor never rests. */
const PASS_MS = 60_000;

/** How long to wait where there is nothing to audit, or a difference has to be looked at again. */
const IDLE_MS = 500;

/**
 * Compares the database with the chain without end, batch by batch, pass after pass. A pass ends at the
 * first difference. It counts once it was found twice, the second time while the chain had the last
 * block that was followed: what following has yet to undo is no difference.
 */
export class Auditor {
  readonly #loop: Loop;
  /** Number of the last batch of the pass; undefined before it was looked for. */
  #last: number | undefined;
  /** JSON of a difference that was found once. */
  #suspicion: string | undefined;

  constructor(private readonly parts: AuditorParts) {
    const { log } = parts;
    this.#loop = new Loop("audit", () => this.#turn(), { idleMs: IDLE_MS, log });
  }

  start(): void {
    this.#loop.start();
  }

  /** Lets the check of a batch finish, then ends. */
  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  async #turn(): Promise<Turn> {
    const connection = this.parts.connection();
    if (connection === undefined) {
      this.#last = undefined; // another daemon goes on meanwhile
      return "idle";
    }
    const since = performance.now();
    const audit = await storedAudit(this.parts.database);
    if (audit === undefined || isOver(audit) || !isPossible(audit)) return this.#begin(audit);
    this.#last ??= await this.#lastFollowed(connection);
    if (audit.nextBatch > this.#last) return this.#end(audit);
    const isChecked = await this.#check(connection, audit);
    return isChecked ? this.#rest(performance.now() - since) : "idle";
  }

  /** So long that work and rest together are shared as the percentage says. */
  #rest(workedMs: number): Turn {
    const { percent } = this.parts;
    return percent === 100 ? "again" : { restMs: (workedMs * (100 - percent)) / percent };
  }

  async #begin(before: StoredAudit | undefined): Promise<Turn> {
    const { database, percent } = this.parts;
    const restMs = (before?.passStartTime ?? 0) + PASS_MS - Date.now();
    // A pass of the future is one before the clock was set back, or an edit: neither puts off the next.
    if (percent < 100 && restMs > 0 && restMs <= PASS_MS) return { restMs };
    const noted = before === undefined ? 0 : lastNoted(before);
    const start = isSoon(noted) ? Math.max(Date.now(), noted + 1) : Date.now();
    await database.transact((trx) => beginPass(trx, start));
    this.#last = undefined;
    return "again";
  }

  async #end({ passStartTime }: StoredAudit): Promise<Turn> {
    const time = Math.max(Date.now(), passStartTime);
    await this.parts.database.transact((trx) => endPass(trx, time));
    return this.#last === 0 ? "idle" : "again";
  }

  /**
   * The last batch that is on the chain and followed: the last one marked so, also where the chain has lost it.
   * While following is not behind the chain, that knows of one more whose row is gone.
   */
  async #lastFollowed({ chain, identity }: ChainConnection): Promise<number> {
    const { database } = this.parts;
    const sealed = await chain.lastSealed(identity);
    const { number: head } = await chain.latestBlock();
    const position = await chainPosition(database);
    const { lastBatch } = await progress(database);
    const isBehind = position === undefined || position.blockNumber < head;
    return isBehind ? lastBatch : Math.max(lastBatch, Number(sealed.number));
  }

  /** Checks the next batch. Returns false where it has to be looked at again. */
  async #check(connection: ChainConnection, audit: StoredAudit): Promise<boolean> {
    const { database } = this.parts;
    const suspicion = this.#suspicion;
    const [block] = suspicion === undefined ? [] : await followedBlocks(database);
    const isFollowed = suspicion !== undefined && (await hasBlock(connection, block));
    const found = await firstProblem(database, connection, audit.nextBatch);
    if (found === undefined) {
      this.#suspicion = undefined;
      await database.transact((trx) => setNextBatch(trx, audit.nextBatch + 1));
      return true;
    }
    const json = toJsonString(LogProblemSchema, problemMessage(found));
    this.#suspicion = json;
    const isCertain = isFollowed && suspicion === json && (await hasBlock(connection, block));
    if (!isCertain) return false;
    this.#suspicion = undefined;
    await this.#note(audit, found, json);
    return true;
  }

  /** Ends the pass with a difference, and tells of it unless it was told. */
  async #note({ passStartTime }: StoredAudit, found: Problem, json: string): Promise<void> {
    const { database, log } = this.parts;
    const told = (await chainPosition(database))?.finalNumber ?? -1;
    const time = Math.max(Date.now(), passStartTime);
    const isNew = await database.transact(async (trx) => {
      const isOther = await noteProblem(trx, json, time);
      if (isOther) {
        const { batch: batchNumber } = found;
        await appendFeed(trx, [{ kind: "INTEGRITY_BROKEN", batchNumber, detail: json }], told);
      }
      return isOther;
    });
    const { batch, seq, recordId, column } = found;
    if (isNew) log.error({ batch, seq, recordId, column }, "a row does not agree with the chain");
  }
}

/** When a pass last came to an end, at a difference or as a whole. */
function lastNoted({ passEndTime = 0, problemTime = 0 }: StoredAudit): number {
  return Math.max(passEndTime, problemTime);
}

/** Whether an auditor can have come so far at all; else somebody has edited it. */
function isPossible({ nextBatch, passStartTime }: StoredAudit): boolean {
  return Number.isSafeInteger(nextBatch) && nextBatch >= 1 && isSoon(passStartTime);
}

/** Whether a time has come, or will within a pass. */
function isSoon(time: number): boolean {
  return time <= Date.now() + PASS_MS;
}

function isOver(audit: StoredAudit): boolean {
  return lastNoted(audit) >= audit.passStartTime;
}

/** Whether the chain has a block that was followed; true before there is one. */
async function hasBlock(
  { chain }: ChainConnection,
  block: FollowedBlock | undefined,
): Promise<boolean> {
  return block === undefined || (await chain.block(block.number))?.hash === hex0x(block.hash);
}

async function firstProblem(
  database: Database,
  { chain, identity }: ChainConnection,
  batch: number,
): Promise<Problem | undefined> {
  for await (const { problems } of verifyLog(database, chain, identity, {
    first: batch,
    last: batch,
  })) {
    if (problems.length > 0) return problems[0];
  }
  return undefined;
}
