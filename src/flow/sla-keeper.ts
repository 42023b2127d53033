import { hex } from "../core/bytes.js";
import type { Purpose } from "../core/operation.js";
import { levelDue } from "../core/sla.js";
import type { Call } from "../chain/port.js";
import { ESCALATION_GAS } from "../chain/sla-registry.js";
import { chainPosition, lockedPosition } from "../store/chain-position.js";
import { insertOperation, mineOperation, waitingOperation } from "../store/operations.js";
import type { StoredSla } from "../store/sla.js";
import {
  dueSlas,
  endEscalation,
  insertEscalation,
  nextDueTime,
  openEscalations,
} from "../store/sla-escalations.js";
import type { StoredEscalation } from "../store/sla-escalations.js";
import type { ChainClock } from "./chain-clock.js";
import { faultPoint } from "./faults.js";
import type { Turn } from "./loop.js";
import type { Errand, Submitter, SubmitterParts } from "./submit.js";

/** What escalating works with. */
export interface SlaKeeperParts extends Pick<SubmitterParts, "database" | "chain"> {
  readonly submitter: Submitter;
  /** Address of the SLARegistry contract. */
  readonly registry: string;
  readonly clock: ChainClock;
  /** Most gas of a transaction. */
  readonly maxGas: number;
}

/** Most transactions that are on their way at once. */
const MOST_ESCALATIONS = 8;

/** Most deadlines of one transaction, whatever gas it may take. */
const MOST_DEADLINES = 500;

/** How often transactions that are on their way are looked at, in milliseconds. */
const LOOK_AGAIN_MS = 1_000;

/** A transaction has gas for the levels that fall due within this time as well, in seconds. */
const MINED_WITHIN = 3_600;

/** Deadlines of one transaction, and most levels that it raises. */
interface Group {
  readonly slas: StoredSla[];
  levels: number;
}

/**
 * Raises the levels of overdue deadlines, in transactions of many each. The contract decides by the time of
 * the block, so none is asked of it before; a transaction that finds nothing due does no harm. Requires that
 * the chain was followed to its end.
 */
export class SlaKeeper {
  /** Levels that a transaction was sent for already: the deadline's id, and when the level was due. */
  readonly #tried = new Map<number, number>();

  constructor(private readonly parts: SlaKeeperParts) {}

  /** Sees to the transactions that are on their way, and sends what is due and not among it. */
  async turn(): Promise<Turn> {
    const { database } = this.parts;
    const open = await openEscalations(database);
    let hasMore = false;
    for (const escalation of open) hasMore = (await this.#pursue(escalation)) || hasMore;
    if (hasMore) return "again";
    const room = MOST_ESCALATIONS - open.length;
    const groups = room > 0 ? this.#groups(await this.#due(open, room)) : [];
    for (const group of groups.slice(0, room)) await this.#begin(group);
    return "idle";
  }

  /** Milliseconds until there is something to see to; undefined where nothing is to come. */
  async restMs(): Promise<number | undefined> {
    const { database, clock } = this.parts;
    const open = await openEscalations(database);
    const next = await nextDueTime(
      database,
      open.flatMap(({ keys }) => keys),
    );
    // What is due now was tried in vain, or has to wait for others.
    const until = next && clock.msUntil(Math.max(next, clock.now() + 1));
    return open.length === 0 ? until : Math.min(LOOK_AGAIN_MS, until ?? Infinity);
  }

  /** Deadlines with a level due, for which no transaction is on its way. */
  async #due(open: readonly StoredEscalation[], room: number): Promise<StoredSla[]> {
    const { database, clock } = this.parts;
    const taken = open.flatMap(({ keys }) => keys);
    const due = await dueSlas(database, clock.now(), taken, room * MOST_DEADLINES);
    if (due.length === 0 && open.length === 0) this.#tried.clear();
    const isTried = ({ id, nextTime }: StoredSla) => this.#tried.get(id) === nextTime;
    const again = await this.#worthTrying(due.filter(isTried));
    return [...due.filter((sla) => !isTried(sla)), ...again];
  }

  /**
   * Of deadlines that were tried in vain, those whose level is due by the chain's own clock. Where a block has
   * shown that it is, the contract is asked: it may have been raised by another just now.
   */
  async #worthTrying(tried: readonly StoredSla[]): Promise<StoredSla[]> {
    const { chain, registry, clock } = this.parts;
    const { blockTime, atLeast } = clock;
    const isPast = (time: number | undefined) => (sla: StoredSla) =>
      time === undefined || (sla.nextTime ?? Infinity) <= time;
    const ready = tried.filter(isPast(atLeast));
    const shown = blockTime === undefined ? [] : ready.filter(isPast(blockTime));
    if (shown.length === 0) return ready;
    const keys = shown.map(({ subjectKey }) => subjectKey);
    const due = new Set((await chain.slaDue(registry, keys)).map(hex));
    return ready.filter((sla) => !shown.includes(sla) || due.has(hex(sla.subjectKey)));
  }

  /** As few groups as the gas of a transaction allows. */
  #groups(due: readonly StoredSla[]): Group[] {
    const { maxGas, clock } = this.parts;
    const by = clock.now() + MINED_WITHIN;
    const groups: Group[] = [];
    let gas = Infinity;
    for (const sla of due) {
      const levels = levelDue({ ...sla, number: sla.cycle, state: "OPEN" }, by) - sla.raised;
      const more = ESCALATION_GAS.each + levels * ESCALATION_GAS.level;
      gas += more;
      let group = groups.at(-1);
      if (group === undefined || gas > maxGas || group.slas.length === MOST_DEADLINES) {
        groups.push((group = { slas: [], levels: 0 }));
        gas = ESCALATION_GAS.call + more;
      }
      group.slas.push(sla);
      group.levels += levels;
    }
    return groups;
  }

  async #begin({ slas, levels }: Group): Promise<void> {
    const { database, submitter } = this.parts;
    const escalation = { keys: slas.map(({ subjectKey }) => subjectKey), levels };
    await submitter.issue(this.#call(escalation), async (call) => {
      await faultPoint("keeper.before-commit");
      const purpose = await database.transact(async (trx): Promise<Purpose> => {
        const number = await insertEscalation(trx, escalation);
        await insertOperation(trx, { kind: "ESCALATION", number }, call, Date.now());
        return { kind: "ESCALATION", number };
      });
      await faultPoint("keeper.after-commit");
      for (const { id, nextTime } of slas) this.#tried.set(id, nextTime ?? 0);
      return purpose;
    });
  }

  /** The call of an escalation. Eight levels of one deadline take less gas than any bound may be. */
  #call({ keys, levels }: Pick<StoredEscalation, "keys" | "levels">): Call {
    const { chain, registry, maxGas } = this.parts;
    const call = chain.escalateCall(registry, keys, levels);
    return { ...call, gas: Math.min(call.gas, maxGas) };
  }

  /**
   * Sees to a transaction. What has ended without effect is not sent again: what is still due goes into
   * another. Returns whether there is more to do at once.
   */
  async #pursue(escalation: StoredEscalation): Promise<boolean> {
    const { database, submitter } = this.parts;
    const errand = this.#errand(escalation);
    const operation = await waitingOperation(database, errand);
    if (operation !== undefined) {
      const isFollowed = (block: number) => this.#end(errand, block, operation.transactionHash);
      return (await submitter.submit({ ...errand, isFollowed })) === "again";
    }
    const followed = (await chainPosition(database))?.blockNumber ?? 0;
    return this.#end(errand, followed, undefined);
  }

  /** What the submitter has to know of an escalation. */
  #errand(escalation: StoredEscalation): Omit<Errand, "isFollowed"> {
    return {
      kind: "ESCALATION",
      number: escalation.number,
      call: this.#call(escalation),
      isSilent: true,
      isDone: () => Promise.resolve(false),
      requireRole: () => Promise.resolve(), // anyone may
    };
  }

  /** Notes in which block an escalation has ended, and by which transaction, where it had one. */
  async #end(
    purpose: Purpose,
    blockNumber: number,
    transactionHash: Uint8Array | undefined,
  ): Promise<true> {
    await this.parts.database.transact(async (trx) => {
      const { blockNumber: followed } = await lockedPosition(trx);
      if (followed < blockNumber) throw new Error(`block ${blockNumber} has left the chain`);
      await endEscalation(trx, purpose.number, blockNumber);
      if (transactionHash !== undefined) await mineOperation(trx, purpose, transactionHash);
    });
    return true;
  }
}
