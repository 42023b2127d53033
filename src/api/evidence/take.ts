import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  EvidenceService,
  UploadEvidenceMetadata,
} from "../../../gen/ts/anchord/v1/evidence_service_pb.js";
import { RecordState } from "../../../gen/ts/anchord/v1/record_pb.js";
import { hex } from "../../core/bytes.js";
import { subjectKey } from "../../core/evidence.js";
import { requireDetails } from "../../core/record.js";
import type { AcceptedEvidence, EvidenceDraft, EvidenceRoom } from "../../flow/evidence.js";
import { evidenceByKey } from "../../store/evidence.js";
import type { EvidenceKey, StoredEvidence } from "../../store/evidence.js";
import { callerKey } from "../auth.js";
import { beforeDeadline } from "../deadline.js";
import { lastFinal, stateIn } from "../finality.js";
import { declaredIn, noMoreThan, requireDeclared } from "./declared.js";
import { anchorDraft, uploadDraft } from "./draft.js";
import { evidenceMessages } from "./message.js";
import type { EvidenceMessage } from "./message.js";
import { requireCaller, takeParts } from "./parts.js";
import { requireConfigured } from "./registry.js";

type Handlers = Pick<ServiceImpl<typeof EvidenceService>, "uploadEvidence" | "anchorEvidence">;

/** The calls that take evidence in. */
export function takeHandlers(room: EvidenceRoom): Handlers {
  const { desk } = room;
  return {
    async uploadEvidence(messages, context) {
      await requireConfigured(room);
      const { draft, waitFor } = await takeParts(messages, async (metadata, chunks) => ({
        draft: await staged(room, metadata, chunks, context),
        waitFor: metadata.waitFor,
      }));
      return answer(room, draft, await desk.accept(draft), waitFor, context);
    },

    async anchorEvidence(request, context) {
      await requireConfigured(room);
      const draft = anchorDraft(request, context.values.get(callerKey));
      return answer(room, draft, await desk.accept(draft), request.waitFor, context);
    },
  };
}

/** Reads a file to its end. What is not as declared, or was cut, leaves nothing behind. */
async function staged(
  { files, maxBytes }: EvidenceRoom,
  metadata: UploadEvidenceMetadata,
  chunks: AsyncIterable<Uint8Array>,
  { signal, values }: HandlerContext,
): Promise<EvidenceDraft> {
  requireDetails(metadata.details, "metadata.details");
  const declared = declaredIn(metadata, maxBytes);
  const file = await files.stage(noMoreThan(declared, chunks), maxBytes);
  try {
    requireCaller(signal);
    requireDeclared(declared, file);
    return uploadDraft(metadata, file, values.get(callerKey));
  } catch (error) {
    await file.discard();
    throw error;
  }
}

/** Answers at the state that was waited for, or that was reached before the caller's deadline. */
async function answer(
  room: EvidenceRoom,
  draft: EvidenceDraft,
  accepted: AcceptedEvidence,
  waitFor: RecordState,
  context: HandlerContext,
): Promise<{ readonly evidence: EvidenceMessage; readonly replayed: boolean }> {
  const { replayed } = accepted;
  try {
    const key = { subjectKey: subjectKey(draft.subject), digest: draft.digest };
    await awaitState(room, key, waitFor, context);
    const [evidence] = await evidenceMessages(room, [await requireStored(room, key)]);
    if (evidence !== undefined) return { evidence, replayed };
  } catch {
    // it is recorded: no error may hide that
  }
  return { evidence: bare(draft, accepted), replayed };
}

/** Waits until evidence has come so far, or the caller is about to give up. */
async function awaitState(
  room: EvidenceRoom,
  key: EvidenceKey,
  waitFor: RecordState,
  context: HandlerContext,
): Promise<void> {
  if (waitFor <= RecordState.ACCEPTED) return;
  const { database, watch } = room.log;
  const isMet = async () => {
    const { anchor } = await requireStored(room, key);
    return stateIn(anchor?.blockNumber, await lastFinal(database)) >= waitFor;
  };
  await beforeDeadline(context, (signal) => watch.until(isMet, signal));
}

/** Evidence is looked up by what it is known by on chain: where a database was restored, its id can change. */
async function requireStored({ log }: EvidenceRoom, key: EvidenceKey): Promise<StoredEvidence> {
  const evidence = await log.database.read((db) => evidenceByKey(db, key));
  if (evidence === undefined) throw new Error("evidence that was accepted is not in the database");
  return evidence;
}

/** What is known of evidence that was accepted, where the database does not answer any more. */
function bare(draft: EvidenceDraft, { recordId }: AcceptedEvidence): EvidenceMessage {
  const { subject, digest, cid, size } = draft;
  return {
    id: hex(recordId),
    subject,
    subjectKey: hex(subjectKey(subject)),
    sha256: hex(digest),
    cid,
    size: size === undefined ? undefined : BigInt(size),
    state: RecordState.ACCEPTED,
  };
}
