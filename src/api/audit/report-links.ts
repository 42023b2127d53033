import { explorerLink } from "../../core/explorer-link.js";
import type { ReportLinks } from "../../flow/report/facts.js";

const RECEIPT = "anchord.v1.AuditService/GetReceipt?connect=v1&encoding=json&message=";

/** Links that browsers can follow. `publicUrl` is the HTTP door's; `explorer` has {tx} for the hash. */
export function reportLinks(publicUrl: () => string, explorer: string | undefined): ReportLinks {
  return {
    receipt: (recordId) =>
      `${publicUrl()}/${RECEIPT}${encodeURIComponent(JSON.stringify({ recordId }))}`,
    transaction: (hash) => explorerLink(explorer, hash),
  };
}
