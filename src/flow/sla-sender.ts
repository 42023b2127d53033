import { create } from "@bufbuild/protobuf";
import type { Logger } from "pino";
import { DeadlineRefusedSchema } from "../../gen/ts/anchord/v1/record_pb.js";
import { hex, sameBytes } from "../core/bytes.js";
import { SERVICE_CALLER } from "../core/evidence.js";
import { encodeRecord } from "../core/record.js";
import { refusalOf } from "../core/sla.js";
import type { Cycle } from "../core/sla.js";
import { eventsBetween } from "../chain/tail.js";
import { chainPosition } from "../store/chain-position.js";
import {
  refuseSlaChange,
  slaChangeByRecord,
  subjectSla,
  waitingSlaChanges,
} from "../store/sla-changes.js";
import type { StoredSlaChange } from "../store/sla-changes.js";
import type { ChainClock } from "./chain-clock.js";
import type { Turn } from "./loop.js";
import type { Errand, Submitter, SubmitterParts } from "./submit.js";

/** What sending changes of deadlines works with. */
export interface SlaSenderParts extends Pick<
  SubmitterParts,
  "database" | "chain" | "signer" | "identity"
> {
  readonly submitter: Submitter;
  /** Address of the SLARegistry contract. */
  readonly registry: string;
  readonly clock: ChainClock;
  /** Called when something was recorded. */
  readonly onRecorded: () => void;
  readonly log: Logger;
}

/** Most changes that are on their way at once, each of another subject. */
const MOST_CHANGES = 32;

/**
 * Brings changes of deadlines to the chain: of each subject one after the other, since the contract takes each
 * on what the last has left. Requires that the chain was followed to its end.
 */
export class SlaSender {
  /** Changes whose last turn threw: the others come before them. */
  #failing = new Set<number>();

  constructor(private readonly parts: SlaSenderParts) {}

  /** Sees to every change that waits. Throws what the first that fails fails with. */
  async turn(): Promise<Turn> {
    const { database, submitter } = this.parts;
    const waiting = await waitingSlaChanges(database, MOST_CHANGES);
    const failing = waiting.filter(({ id }) => this.#failing.has(id));
    this.#failing = new Set(failing.map(({ id }) => id));
    let turn: Turn = "idle";
    for (const change of [...waiting.filter((one) => !failing.includes(one)), ...failing]) {
      this.#failing.add(change.id);
      if ((await submitter.submit(this.#errand(change))) === "again") turn = "again";
      this.#failing.delete(change.id);
    }
    return turn;
  }

  /** What the submitter has to know of a change. */
  #errand(change: StoredSlaChange): Errand {
    const { chain, registry } = this.parts;
    const { id, subjectKey, intent, recordId } = change;
    return {
      kind: "SLA",
      number: id,
      call: chain.slaCall(registry, subjectKey, intent, recordId),
      isDone: () => this.#isDone(change),
      isFollowed: async () => !(await this.#isWaiting(change)),
      requireRole: () => this.#requireRole(),
      onRefused: (refusal) => this.#refuse(change, refusal),
    };
  }

  async #isWaiting({ recordId }: StoredSlaChange): Promise<boolean> {
    const { database } = this.parts;
    const now = await database.read((db) => slaChangeByRecord(db, recordId));
    return now?.state === "WAITING";
  }

  /** What was followed of the chain is known; the rest is looked through for an event that names the record. */
  async #isDone(change: StoredSlaChange): Promise<boolean> {
    const { database, chain, identity } = this.parts;
    const { number: latest } = await chain.latestBlock();
    const followed = (await chainPosition(database))?.blockNumber ?? -1;
    for await (const { events } of eventsBetween(chain, identity, followed + 1, latest)) {
      const isIt = events.some(
        (event) => event.type === "sla" && sameBytes(event.ref, change.recordId),
      );
      if (isIt) return true;
    }
    return !(await this.#isWaiting(change));
  }

  /**
   * Ends a change for good that the contract refuses. Throws where nothing that is known calls for that: a node
   * that lags would refuse what it takes a moment later.
   */
  async #refuse(change: StoredSlaChange, reason: string): Promise<void> {
    const { database, clock, onRecorded, log } = this.parts;
    const { subjectKey, recordId, intent, entry } = change;
    const { cycle } = await database.read((db) => subjectSla(db, subjectKey));
    const isExpected = refusalOf(cycle, intent, clock.now()) !== undefined;
    if (!isExpected && !(await this.#isForeign(subjectKey, cycle))) {
      throw new Error(
        `the contract refuses a change of the deadline for ${entry.subject}: ${reason}. By what was followed it ` +
          "should not: trying again",
      );
    }
    const record = refusalRecord(change, reason);
    const isRefused = await database.transact((trx) => refuseSlaChange(trx, change, record));
    if (!isRefused) return;
    log.warn({ record: hex(recordId), subject: entry.subject, reason }, REFUSED);
    onRecorded();
  }

  /** Whether the registry's deadline is one that following does not know, as from before it began. */
  async #isForeign(subjectKey: Uint8Array, cycle: Cycle | undefined): Promise<boolean> {
    const { chain, database, registry } = this.parts;
    const onChain = await chain.slaCycle(registry, subjectKey);
    if (onChain?.number === cycle?.number) return false;
    const followed = (await chainPosition(database))?.blockNumber ?? -1;
    return (await chain.latestBlock()).number >= followed;
  }

  async #requireRole(): Promise<void> {
    const { chain, registry, signer } = this.parts;
    if (await chain.mayManage(registry, signer.address)) return;
    throw new Error(
      `account ${signer.address} has no MANAGER_ROLE on ${registry}: grant it, or set PRIVATE_KEY ` +
        "to an account that has it",
    );
  }
}

const REFUSED = "the contract refuses a change of a deadline: it had no effect";

function refusalRecord({ recordId, entry }: StoredSlaChange, reason: string) {
  const value = create(DeadlineRefusedSchema, { recordId: hex(recordId), reason });
  return encodeRecord({
    caller: SERVICE_CALLER,
    subject: entry.subject,
    actor: "",
    occurTime: undefined,
    request: undefined,
    body: { case: "deadlineRefused", value },
  });
}
