import type { MessageInitShape } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import type { Client } from "@connectrpc/connect";
import type { SLA } from "../../gen/ts/anchord/v1/sla_pb.js";
import { SLAService } from "../../gen/ts/anchord/v1/sla_service_pb.js";
import type { SetDeadlineRequestSchema } from "../../gen/ts/anchord/v1/sla_service_pb.js";
import type { Daemon } from "./daemon.js";
import type { Door } from "./doors.js";
import type { ExternalChain } from "./external-chain.js";
import { until } from "./until.js";

/** A client of the service of deadlines. */
export type SlaClient = Client<typeof SLAService>;

/** A client of the service of deadlines that sends this bearer token with every call. */
export function slaClient(door: Door, daemon: Daemon, token?: string): SlaClient {
  return createClient(SLAService, door.transport(daemon, token));
}

/** A deadline so many seconds from when it is accepted. */
export function within(seconds: number) {
  return { case: "within" as const, value: { seconds: BigInt(seconds) } };
}

/** Sets a deadline, and gives it as it stands. */
export async function setSla(
  client: SlaClient,
  request: MessageInitShape<typeof SetDeadlineRequestSchema>,
): Promise<SLA> {
  return (await client.setDeadline(request)).sla as SLA;
}

/**
 * Moves the clock of a Ganache, and mines a block that shows it. Not while a transaction waits: one that comes
 * in the midst of evm_mine may be left waiting until the next.
 */
export async function advance({ rpc }: Pick<ExternalChain, "rpc">, seconds: number): Promise<void> {
  await until("no transaction waits", async () => {
    const { pending } = await rpc<{ pending: object }>("txpool_content");
    return Object.keys(pending).length === 0;
  });
  await rpc("evm_increaseTime", seconds);
  await rpc("evm_mine");
}
