import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { RecordEventsRequestSchema } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import type { RecordEventRequestSchema } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { Side } from "../../gen/ts/anchord/v1/record_pb.js";
import { openEmbeddedContent } from "../../src/content/embedded.js";
import type { Daemon } from "./daemon.js";
import { sealsOf } from "./log-checks.js";
import type { Random } from "./random.js";
import { repositoryRoot } from "./repository.js";
import { run } from "./run.js";
import type { Ended } from "./run.js";
import { until } from "./until.js";

/** An event as a client sends it. */
export type Event = MessageInitShape<typeof RecordEventRequestSchema>;

/** Runs `anchord rebuild` to its end, in a process of its own with nothing but these settings. */
export function rebuild(settings: Readonly<Record<string, string>>): Promise<Ended> {
  const all = { LOG_LEVEL: "error", EMBEDDED_CHAIN_PORT: "0", ...settings };
  return run("env", [
    "-i",
    ...Object.entries(all).map(([name, value]) => `${name}=${value}`),
    process.execPath,
    join(repositoryRoot, "bin/anchord.js"),
    "rebuild",
  ]);
}

/** Records events of every kind at random, about a few subjects. Resolves to the ids. */
export async function recordSome(
  { grpc }: Daemon,
  random: Random,
  count: number,
): Promise<string[]> {
  const events = Array.from({ length: count }, (_, i) => randomEvent(random, i));
  const ids: string[] = [];
  const requests = async function* () {
    for (let at = 0; at < count;) {
      const next = at + random.between(1, 5);
      yield create(RecordEventsRequestSchema, { events: events.slice(at, next) });
      at = next;
    }
  };
  for await (const { recordIds } of grpc.recordEvents(requests())) ids.push(...recordIds);
  return ids;
}

function randomEvent(random: Random, n: number): Event {
  const details = { n, note: "ä".repeat(random.between(0, 40)), of: [n, null, { deep: true }] };
  const bodies: readonly NonNullable<Event["body"]>[] = [
    { case: "threat", value: { score: random.between(0, 100), durationMinutes: 1.5, details } },
    { case: "trade", value: { tradeId: `t${n}`, symbol: "BTC/USDT", side: Side.BUY, details } },
    { case: "systemChange", value: { component: "core", changeType: "deploy", details } },
    { case: "login", value: { user: "ada", success: n % 2 === 0, details } },
    { case: "complaint", value: { eventType: "COMPLAINT_OPENED", assignee: "bo", details } },
    { case: "custom", value: { type: `type_${n % 3}`, data: details } },
  ];
  return {
    subject: `user/${random.between(0, 3)}`,
    actor: random.pick(["", "actor"]),
    requestId: random.between(0, 2) === 0 ? "" : `request/${random.between(0, 2 ** 40)}`,
    body: random.pick(bodies),
  };
}

/** Resolves once every record is final, and every batch on the chain in database and content store. */
export async function settled(daemon: Daemon): Promise<void> {
  const isSettled = async () => {
    const seals = await sealsOf(daemon);
    const { records, final, batches } = await daemon.grpc.getStats({});
    return final === records && batches === BigInt(seals.length);
  };
  await until("every record is final", isSettled, 60_000);
  await published(daemon);
}

/** Resolves once every batch on the chain is in the content store. */
export async function published(daemon: Daemon): Promise<void> {
  const folder = join(daemon.dataDir, "ipfs");
  const content = openEmbeddedContent({ folder, listen: [], peers: [] });
  for (const { seal } of await sealsOf(daemon)) {
    const isThere = async () => (await content.check(seal.manifestDigest)) === "intact";
    await until(`batch ${seal.number} is published`, isThere);
  }
}
