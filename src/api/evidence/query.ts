import type { ServiceImpl } from "@connectrpc/connect";
import { ListOrder } from "../../../gen/ts/anchord/v1/audit_service_pb.js";
import type {
  EvidenceService,
  GetEvidenceRequest,
  ListEvidenceRequest,
} from "../../../gen/ts/anchord/v1/evidence_service_pb.js";
import { ContentState } from "../../../gen/ts/anchord/v1/record_pb.js";
import { unhex } from "../../core/bytes.js";
import { invalidFields } from "../../core/errors.js";
import type { ContentState as ContentName } from "../../core/evidence.js";
import type { EvidenceRoom } from "../../flow/evidence.js";
import type { Database } from "../../store/database.js";
import { listEvidence } from "../../store/evidence.js";
import type { EvidenceQuery, StoredEvidence } from "../../store/evidence.js";
import { pageSize, pageToken, parsePageToken } from "../page-token.js";
import { keysOf } from "../subject-keys.js";
import { requireEvidence, requireEvidenceOf } from "./find.js";
import { evidenceMessages } from "./message.js";

type Handlers = Pick<ServiceImpl<typeof EvidenceService>, "getEvidence" | "listEvidence">;

/** The calls that read the database. */
export function queryHandlers(room: EvidenceRoom): Handlers {
  const { log } = room;
  return {
    async getEvidence(request) {
      const [evidence] = await evidenceMessages(room, [await evidenceAsked(log.database, request)]);
      return { evidence };
    },

    async listEvidence(request) {
      const newestFirst = request.order !== ListOrder.OLDEST_FIRST;
      const { subject, sha256, contentState } = request;
      const question = {
        evidence: { subject, sha256: sha256.toLowerCase(), contentState, newestFirst },
      };
      const behind = parsePageToken(question, request.pageToken);
      const limit = pageSize(request.pageSize);
      const options = { newestFirst, behind, limit: limit + 1 };
      const found = await listEvidence(log.database, queryOf(request), options);
      const shown = found.slice(0, limit);
      return {
        evidence: await evidenceMessages(room, shown),
        nextPageToken: found.length > limit ? pageToken(question, Number(shown.at(-1)?.id)) : "",
      };
    },
  };
}

async function evidenceAsked(
  database: Database,
  { id, subject, sha256 }: GetEvidenceRequest,
): Promise<StoredEvidence> {
  if (id !== "" && (subject !== "" || sha256 !== "")) {
    const description = "names evidence alone: leave subject and sha256 empty, or this";
    throw invalidFields([{ field: "id", description }]);
  }
  if (id !== "") return requireEvidence(database, id);
  const empty = Object.entries({ subject, sha256 }).filter(([, value]) => value === "");
  if (empty.length > 0) {
    const description = "must be set where no id is: set id, or both subject and sha256";
    throw invalidFields(empty.map(([field]) => ({ field, description })));
  }
  return requireEvidenceOf(database, subject, unhex(sha256));
}

function queryOf({ subject, sha256, contentState }: ListEvidenceRequest): EvidenceQuery {
  return {
    subjectKeys: subject === "" ? undefined : keysOf(subject),
    digest: sha256 === "" ? undefined : unhex(sha256),
    content:
      contentState === ContentState.UNSPECIFIED
        ? undefined
        : (ContentState[contentState] as ContentName),
  };
}
