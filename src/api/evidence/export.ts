import type { ServiceImpl } from "@connectrpc/connect";
import type { EvidenceService } from "../../../gen/ts/anchord/v1/evidence_service_pb.js";
import { unhex } from "../../core/bytes.js";
import { exportBundle } from "../../flow/bundle.js";
import type { EvidenceRoom } from "../../flow/evidence.js";

type Handlers = Pick<ServiceImpl<typeof EvidenceService>, "exportEvidence">;

/** The call that gives bundles out. */
export function exportHandlers(room: EvidenceRoom): Handlers {
  return {
    async *exportEvidence({ id }, { signal }) {
      // A block and what stands before it in the file are few enough bytes for one message.
      for await (const chunk of exportBundle(room, unhex(id), signal)) yield { chunk };
    },
  };
}
