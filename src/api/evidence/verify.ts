import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { EvidenceVerdict } from "../../../gen/ts/anchord/v1/evidence_service_pb.js";
import type {
  EvidenceService,
  VerifiedAnchorSchema,
  VerifyEvidenceMetadata,
} from "../../../gen/ts/anchord/v1/evidence_service_pb.js";
import { timeOfSeconds } from "../../core/calendar.js";
import { hex, sameBytes, unhex } from "../../core/bytes.js";
import { invalidFields } from "../../core/errors.js";
import { subjectKey, tooLarge } from "../../core/evidence.js";
import type { EvidenceAnchor, EvidenceRoom } from "../../flow/evidence.js";
import { anchorCandidates } from "../../store/anchor-candidates.js";
import type { AnchorCandidate } from "../../store/anchor-candidates.js";
import type { Database } from "../../store/database.js";
import { storedEntry } from "../../store/entry.js";
import { entriesById } from "../../store/records.js";
import { pipelined } from "../pipeline.js";
import { keysOf } from "../subject-keys.js";
import { mismatch } from "./declared.js";
import { placeOf } from "./message.js";
import { takeParts } from "./parts.js";
import { requireRegistry } from "./registry.js";
import type { Registry } from "./registry.js";

type Handlers = Pick<ServiceImpl<typeof EvidenceService>, "verifyEvidence">;

/** Most anchors that are looked for, and how many the chain is asked for at once. */
const MOST_ANCHORS = 100;
const AT_ONCE = { most: 8, weigh: () => 1 } as const;

/** What the database knows of an anchor, and what the chain says of it. */
interface Confirmed {
  readonly candidate: AnchorCandidate;
  readonly anchor: EvidenceAnchor;
}

/** The call that asks the chain. */
export function verifyHandlers(room: EvidenceRoom): Handlers {
  const { maxBytes } = room;
  const { database } = room.log;
  return {
    async verifyEvidence(messages) {
      const registry = await requireRegistry(room);
      const { subject, digest } = await takeParts(messages, async (metadata, chunks) => ({
        subject: metadata.subject,
        digest: await digestOf(metadata, chunks, maxBytes),
      }));
      const asked = await confirmedFor(database, registry, subject, digest);
      const candidates = await anchorCandidates(database, { digest, limit: MOST_ANCHORS });
      const others = await confirmedAmong(
        registry,
        candidates.filter(
          ({ subjectKey: key }) =>
            asked === undefined || !sameBytes(key, asked.candidate.subjectKey),
        ),
      );
      const found = asked === undefined ? others : [asked, ...others];
      const shown = found.slice(0, MOST_ANCHORS);
      return {
        verdict: verdictOf(subject, asked, others),
        sha256: hex(digest),
        anchors: await anchorMessages(database, shown, subject),
        contract: registry.contract,
        chainId: registry.chainId,
      };
    },
  };
}

/** SHA-256 of a file, as given in place of its bytes or as computed. Throws INVALID_FIELD where they differ. */
async function digestOf(
  { sha256: given }: VerifyEvidenceMetadata,
  chunks: AsyncIterable<Uint8Array>,
  mostBytes: number,
): Promise<Uint8Array> {
  const hash = createHash("sha256");
  let size: number | undefined;
  for await (const chunk of chunks) {
    size = (size ?? 0) + chunk.length;
    if (size > mostBytes) throw tooLarge(mostBytes);
    hash.update(chunk);
  }
  if (given !== "" && size === undefined) return unhex(given);
  const digest = hash.digest();
  if (given === "" || given.toLowerCase() === hex(digest)) return digest;
  throw invalidFields([mismatch("sha256", given.toLowerCase(), hex(digest))]);
}

/** The anchor for the subject that was asked for, whether or not the database knows of it. */
async function confirmedFor(
  database: Database,
  registry: Registry,
  subject: string,
  digest: Uint8Array,
): Promise<Confirmed | undefined> {
  if (subject === "") return undefined;
  const subjectKeys = keysOf(subject);
  const limit = MOST_ANCHORS;
  const candidates = await anchorCandidates(database, { digest, subjectKeys, limit });
  for (const key of subjectKeys) {
    const known = candidates.find(({ subjectKey: other }) => sameBytes(other, key));
    const stranger = { subjectKey: key, digest, recordId: undefined, anchor: undefined };
    const confirmed = await confirm(registry, known ?? stranger);
    if (confirmed !== undefined) return confirmed;
  }
  return undefined;
}

/** Those that the chain has, oldest first. */
async function confirmedAmong(
  registry: Registry,
  candidates: readonly AnchorCandidate[],
): Promise<Confirmed[]> {
  const inputs = Readable.from(candidates);
  const confirmed: Confirmed[] = [];
  for await (const each of pipelined(inputs, AT_ONCE, (candidate) =>
    confirm(registry, candidate),
  )) {
    if (each !== undefined) confirmed.push(each);
  }
  return confirmed.sort((a, b) => a.anchor.blockNumber - b.anchor.blockNumber);
}

async function confirm(
  { chain, contract }: Registry,
  candidate: AnchorCandidate,
): Promise<Confirmed | undefined> {
  const anchor = await chain.evidenceAnchor(contract, candidate.subjectKey, candidate.digest);
  return anchor && { candidate, anchor };
}

function verdictOf(
  subject: string,
  asked: Confirmed | undefined,
  others: readonly Confirmed[],
): EvidenceVerdict {
  if (asked !== undefined) return EvidenceVerdict.VERIFIED;
  if (others.length === 0) return EvidenceVerdict.NOT_ANCHORED;
  return subject === "" ? EvidenceVerdict.VERIFIED : EvidenceVerdict.OTHER_SUBJECT;
}

async function anchorMessages(
  database: Database,
  confirmed: readonly Confirmed[],
  asked: string,
): Promise<MessageInitShape<typeof VerifiedAnchorSchema>[]> {
  const ids = confirmed.flatMap(({ candidate: { recordId } }) => recordId ?? []);
  const entries = await entriesById(database, ids);
  return confirmed.map(({ candidate: { subjectKey: key, recordId, anchor: followed }, anchor }) => {
    const evidenceId = recordId === undefined ? "" : hex(recordId);
    const entry = entries.get(evidenceId);
    const isAsked = sameBytes(subjectKey(asked), key);
    const subject = isAsked ? asked : hex(key);
    return {
      subject:
        entry === undefined ? subject : storedEntry({ id: unhex(evidenceId), entry }).subject,
      subjectKey: hex(key),
      evidenceId,
      anchor: {
        submitter: anchor.submitter,
        blockTime: timeOfSeconds(anchor.time),
        blockNumber: BigInt(anchor.blockNumber),
        ...(followed?.blockNumber === anchor.blockNumber ? placeOf(followed) : {}),
      },
    };
  });
}
