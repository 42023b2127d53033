import type { ServiceImpl } from "@connectrpc/connect";
import type { SLAService } from "../../../gen/ts/anchord/v1/sla_service_pb.js";
import type { SlaRoom } from "../../flow/sla.js";
import { changeHandlers } from "./change.js";
import { checkHandlers } from "./check.js";
import { queryHandlers } from "./query.js";

/** SLAService, written once for both doors. */
export function slaService(room: SlaRoom): ServiceImpl<typeof SLAService> {
  return { ...changeHandlers(room), ...checkHandlers(room), ...queryHandlers(room) };
}
