import type { ServiceImpl } from "@connectrpc/connect";
import type { AuditService } from "../../../gen/ts/anchord/v1/audit_service_pb.js";
import type { AuditLog } from "../../flow/audit-log.js";
import { proofHandlers } from "./proof.js";
import { queryHandlers } from "./query.js";
import { recordHandlers } from "./record.js";

/** AuditService, written once for both doors. */
export function auditService(log: AuditLog): ServiceImpl<typeof AuditService> {
  return { ...recordHandlers(log), ...queryHandlers(log), ...proofHandlers(log) };
}
