import { hex } from "../core/bytes.js";
import { parseCid } from "../core/cid.js";
import type { EvidenceItem } from "../chain/port.js";
import { eventsBetween } from "../chain/tail.js";
import { chainPosition } from "../store/chain-position.js";
import { insertOperation } from "../store/operations.js";
import {
  firstUnanchoredGroup,
  groupEvidence,
  nextGroupNumber,
  ungroupedEvidence,
} from "../store/evidence-anchors.js";
import type { StoredEvidence } from "../store/evidence.js";
import { faultPoint } from "./faults.js";
import { inParallel } from "./follow.js";
import type { Turn } from "./loop.js";
import { mendEvidence } from "./sync.js";
import type { Errand, Submitter, SubmitterParts } from "./submit.js";
import { keyText } from "./verify/evidence-rows.js";

/** What anchoring works with. */
export interface AnchorerParts extends Pick<
  SubmitterParts,
  "database" | "chain" | "signer" | "identity"
> {
  readonly submitter: Submitter;
  /** Address of the EvidenceRegistry contract. */
  readonly registry: string;
}

/** Most evidence of one transaction: far below any block's gas limit. */
const MOST_EVIDENCE = 32;

/**
 * Anchors evidence, one group after the other: the next begins when the last is on the chain, so its size
 * adapts to what has gathered meanwhile. The contract takes no notice of what it has already.
 */
export class Anchorer {
  constructor(private readonly parts: AnchorerParts) {}

  /** Brings the groups there are to the chain, or makes the next one. */
  async turn(): Promise<Turn> {
    const { database, submitter } = this.parts;
    const waiting = await firstUnanchoredGroup(database);
    if (waiting !== undefined) {
      return submitter.submit(this.#errand(waiting.number, waiting.evidence));
    }
    return this.#anchorNext();
  }

  async #anchorNext(): Promise<Turn> {
    const { database, submitter } = this.parts;
    const waiting = await ungroupedEvidence(database, MOST_EVIDENCE);
    const { members, mended } = await this.#mend(waiting);
    if (members.length === 0) return mended ? "again" : "idle";
    const errand = this.#errand(await nextGroupNumber(database), members);
    if (!(await submitter.isAccepted(errand))) return "again";
    await submitter.issue(errand.call, async (call) => {
      await faultPoint("anchor.before-commit");
      await database.transact(async (trx) => {
        await groupEvidence(trx, errand.number, members);
        await insertOperation(trx, errand, call, Date.now());
      });
      await faultPoint("anchor.after-commit");
      return errand;
    });
    return "idle";
  }

  /** What the submitter has to know of a group, or of what is left of it. */
  #errand(number: number, members: readonly StoredEvidence[]): Errand {
    const { chain, registry } = this.parts;
    return {
      kind: "EVIDENCE",
      number,
      call: chain.anchorCall(registry, members.map(itemOf)),
      isDone: async () => {
        for (const { subjectKey, digest } of members) {
          const anchor = await chain.evidenceAnchor(registry, subjectKey, digest);
          if (anchor === undefined) return false;
        }
        return true;
      },
      isFollowed: async () => {
        if (!(await this.#isWaiting(number))) return true;
        await this.#mend(members);
        return !(await this.#isWaiting(number));
      },
      requireRole: () => this.#requireRole(),
    };
  }

  async #isWaiting(group: number): Promise<boolean> {
    return (await firstUnanchoredGroup(this.parts.database))?.number === group;
  }

  /**
   * The contract announces an anchor once. What was anchored before the chain was followed, as in a
   * database that was rebuilt, or that has this registry only since, is looked up where it is. Returns
   * those that the registry does not have.
   */
  async #mend(
    waiting: readonly StoredEvidence[],
  ): Promise<{ readonly members: StoredEvidence[]; readonly mended: boolean }> {
    const { database, chain, registry } = this.parts;
    const anchors = await inParallel(waiting, ({ subjectKey, digest }) =>
      chain.evidenceAnchor(registry, subjectKey, digest),
    );
    const followed = (await chainPosition(database))?.blockNumber ?? -1;
    const byBlock = new Map<number, StoredEvidence[]>();
    for (const [i, evidence] of waiting.entries()) {
      const number = anchors[i]?.blockNumber;
      if (number === undefined || number > followed) continue; // following will see it
      byBlock.set(number, [...(byBlock.get(number) ?? []), evidence]);
    }
    for (const [number, evidence] of byBlock) await this.#mendFrom(number, evidence);
    const members = waiting.filter((_, i) => anchors[i] === undefined);
    return { members, mended: byBlock.size > 0 };
  }

  /** Notes what a block has announced. Throws where it has not announced evidence that is anchored in it. */
  async #mendFrom(blockNumber: number, anchored: readonly StoredEvidence[]): Promise<void> {
    const { database, chain, identity } = this.parts;
    const unseen = new Map(anchored.map((evidence) => [keyText(evidence), evidence]));
    for await (const { events } of eventsBetween(chain, identity, blockNumber, blockNumber)) {
      for (const event of events) {
        if (event.type !== "evidence") continue;
        await mendEvidence(database, event);
        unseen.delete(keyText(event));
      }
    }
    const [missed] = unseen.values();
    if (missed === undefined) return;
    throw new Error(
      `evidence ${hex(missed.recordId)} is anchored in block ${blockNumber}, but the node has no event of ` +
        "that: it must search old blocks. What comes after it waits",
    );
  }

  async #requireRole(): Promise<void> {
    const { chain, registry, signer } = this.parts;
    if (await chain.mayAnchor(registry, signer.address)) return;
    throw new Error(
      `account ${signer.address} has no ANCHORER_ROLE on ${registry}: grant it, or set PRIVATE_KEY ` +
        "to an account that has it",
    );
  }
}

function itemOf({ subjectKey, digest, recordId, cid }: StoredEvidence): EvidenceItem {
  const bytes = parseCid(cid)?.bytes ?? new Uint8Array();
  return { subjectKey, digest, ref: recordId, cid: bytes };
}
