import type { ServiceImpl } from "@connectrpc/connect";
import type { EvidenceService } from "../../../gen/ts/anchord/v1/evidence_service_pb.js";
import type { EvidenceRoom } from "../../flow/evidence.js";
import { downloadHandlers } from "./download.js";
import { exportHandlers } from "./export.js";
import { queryHandlers } from "./query.js";
import { takeHandlers } from "./take.js";
import { verifyHandlers } from "./verify.js";

/** EvidenceService, written once for both doors. */
export function evidenceService(room: EvidenceRoom): ServiceImpl<typeof EvidenceService> {
  return {
    ...takeHandlers(room),
    ...verifyHandlers(room),
    ...queryHandlers(room),
    ...downloadHandlers(room),
    ...exportHandlers(room),
  };
}
