import type { ServiceImpl } from "@connectrpc/connect";
import type { AuditService } from "../../../gen/ts/anchord/v1/audit_service_pb.js";
import type { AuditLog } from "../../flow/audit-log.js";
import type { ReportLinks } from "../../flow/report/facts.js";
import { proofHandlers } from "./proof.js";
import { queryHandlers } from "./query.js";
import { recordHandlers } from "./record.js";
import { reportHandlers } from "./report.js";

/** AuditService, written once for both doors. Links are those of reports. */
export function auditService(log: AuditLog, links: ReportLinks): ServiceImpl<typeof AuditService> {
  return {
    ...recordHandlers(log),
    ...queryHandlers(log),
    ...proofHandlers(log),
    ...reportHandlers(log, links),
  };
}
