import { create } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { RecordFilterSchema } from "../../../gen/ts/anchord/v1/audit_service_pb.js";
import type {
  AuditService,
  GenerateReportRequest,
  GenerateReportResponseSchema,
} from "../../../gen/ts/anchord/v1/audit_service_pb.js";
import { IntegrityVerdict, ReportFormat } from "../../../gen/ts/anchord/v1/report_pb.js";
import { invalidFields } from "../../core/errors.js";
import type { AuditLog } from "../../flow/audit-log.js";
import type { Integrity, ReportLinks } from "../../flow/report/facts.js";
import { timeText } from "../../flow/report/records.js";
import { generateReport } from "../../flow/report/report.js";
import type { ReportPart, ReportRequest } from "../../flow/report/report.js";
import { progress } from "../../store/batches.js";
import { queryOf } from "../convert.js";
import { requireChain } from "./proof.js";

type Handlers = Pick<ServiceImpl<typeof AuditService>, "generateReport">;

/** The call that reports. */
export function reportHandlers(log: AuditLog, links: ReportLinks): Handlers {
  return {
    async *generateReport(request) {
      const wanted = await reportRequest(log, request);
      for await (const part of generateReport(log, links, wanted)) yield message(part);
    },
  };
}

async function reportRequest(
  log: AuditLog,
  request: GenerateReportRequest,
): Promise<ReportRequest> {
  const { type, startTime, endTime, detailed, format, skipIntegrityCheck } = request;
  const filter = create(RecordFilterSchema, { type, startTime, endTime });
  const query = queryOf(filter, await progress(log.database));
  if (query.startTime !== undefined && query.endTime !== undefined) {
    if (query.endTime <= query.startTime) {
      throw invalidFields([{ field: "end_time", description: "must be after start_time" }]);
    }
  }
  return {
    query,
    type: query.type,
    start: startTime && timeText(startTime),
    end: endTime && timeText(endTime),
    detailed,
    format: FORMATS[format],
    chain: skipIntegrityCheck ? undefined : requireChain(log),
  };
}

const FORMATS = {
  [ReportFormat.UNSPECIFIED]: "json",
  [ReportFormat.JSON]: "json",
  [ReportFormat.CSV]: "csv",
  [ReportFormat.HTML]: "html",
} as const satisfies Record<ReportFormat, ReportRequest["format"]>;

const VERDICTS = {
  intact: IntegrityVerdict.INTACT,
  broken: IntegrityVerdict.BROKEN,
  not_checked: IntegrityVerdict.NOT_CHECKED,
} as const satisfies Record<Integrity["verdict"], IntegrityVerdict>;

function message(part: ReportPart): MessageInitShape<typeof GenerateReportResponseSchema> {
  switch (part.type) {
    case "progress": {
      const { recordsChecked, recordsTotal } = part.progress;
      const value = {
        recordsChecked: BigInt(recordsChecked),
        recordsTotal: BigInt(recordsTotal),
      };
      return { part: { case: "progress", value } };
    }
    case "facts": {
      const { count, integrity } = part.facts;
      const value = {
        recordCount: BigInt(count),
        verdict: VERDICTS[integrity.verdict],
        problemsTotal: BigInt(integrity.problemsTotal),
      };
      return { part: { case: "summary", value } };
    }
    case "chunk":
      return { part: { case: "chunk", value: part.chunk } };
  }
}
