import { toJson } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { SLAState } from "../../../gen/ts/anchord/v1/sla_pb.js";
import { ListSLAsRequestSchema, SLAOrder } from "../../../gen/ts/anchord/v1/sla_service_pb.js";
import type { ListSLAsRequest, SLAService } from "../../../gen/ts/anchord/v1/sla_service_pb.js";
import { certificateOf } from "../../flow/certificate.js";
import type { SlaRoom } from "../../flow/sla.js";
import { listSlas } from "../../store/sla.js";
import type { SlaOrder, SlaPlace, SlaQuery, SlaState } from "../../store/sla.js";
import { pageSize, parseValuePageToken, valuePageToken } from "../page-token.js";
import { keysOf } from "../subject-keys.js";
import { requireSla } from "./find.js";
import { slaMessages, slaWithChanges } from "./message.js";
import { requireRegistry } from "./registry.js";

type Handlers = Pick<ServiceImpl<typeof SLAService>, "getSLA" | "listSLAs" | "getCertificate">;

const ORDERS: Readonly<Record<SLAOrder, SlaOrder>> = {
  [SLAOrder.SLA_ORDER_UNSPECIFIED]: "newest",
  [SLAOrder.SLA_ORDER_OLDEST_FIRST]: "oldest",
  [SLAOrder.SLA_ORDER_DEADLINE]: "deadline",
};

/** The calls that read. */
export function queryHandlers(room: SlaRoom): Handlers {
  const { database } = room.log;
  return {
    async getSLA(request) {
      return { sla: await slaWithChanges(room, await requireSla(database, request)) };
    },

    async listSLAs(request) {
      const question = {
        slas: toJson(ListSLAsRequestSchema, { ...request, pageSize: 0, pageToken: "" }),
      };
      const place = parseValuePageToken(question, request.pageToken);
      const behind: SlaPlace | undefined = place && { deadline: place.value, id: place.position };
      const limit = pageSize(request.pageSize);
      const options = { order: ORDERS[request.order], behind, limit: limit + 1 };
      const found = await listSlas(database, queryOf(request, room.now()), options);
      const shown = found.slice(0, limit);
      const last = found.length > limit ? shown.at(-1) : undefined;
      return {
        slas: await slaMessages(room, shown),
        nextPageToken: last === undefined ? "" : valuePageToken(question, last.deadline, last.id),
      };
    },

    async getCertificate(request) {
      await requireRegistry(room);
      const sla = await requireSla(database, request);
      return { certificate: await certificateOf(room, sla) };
    },
  };
}

function queryOf(
  { subject, state, dueBefore, minLevel, breached }: ListSLAsRequest,
  now: number,
): SlaQuery {
  return {
    subjectKeys: subject === "" ? undefined : keysOf(subject),
    state: stateName(state),
    // A deadline is a whole second: before a fraction of one is before the next.
    dueBefore: dueBefore && Number(dueBefore.seconds) + Math.sign(dueBefore.nanos),
    minLevel: minLevel === 0 ? undefined : minLevel,
    breached,
    now,
  };
}

function stateName(state: SLAState): SlaState | undefined {
  if (state === SLAState.SLA_STATE_UNSPECIFIED) return undefined;
  return SLAState[state].replace("SLA_STATE_", "") as SlaState;
}
