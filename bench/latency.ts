import { RecordState } from "../gen/ts/anchord/v1/record_pb.js";
import type { Daemon } from "../test/support/daemon.js";
import { median, row } from "./row.js";
import type { Measurement } from "./row.js";
import { BareTransactions, embeddedAccount, sealCalls } from "./support/bare-transactions.js";
import { threatRequest } from "./support/messages.js";
import { startService } from "./support/service.js";

const WARM_UP = 10;
const PAUSE_MS = 150;

/** Milliseconds until one record is on the chain, nothing else going on, against the same transaction by hand. */
export const latency: Measurement = async ({ quick }) => {
  const service = await startService();
  const transactions = new BareTransactions(await embeddedAccount(service), sealCalls());
  const samples = quick ? 10 : 30;
  // The rival goes first and last: the machine may be quicker at one time than at another.
  const before = await bareTimes(transactions, samples);
  const value = median(await times(samples, (i) => anchorOne(service, i)));
  const after = await bareTimes(transactions, samples);
  await service.stop();
  const name = "one record anchored / one bare transaction";
  const against = median([...before, ...after]);
  return [row({ name, value, against, unit: "ms", reach: 3, better: "lower" })];
};

async function bareTimes(transactions: BareTransactions, samples: number): Promise<number[]> {
  await transactions.prepare();
  return times(samples, () => transactions.send());
}

async function anchorOne({ grpc }: Daemon, i: number): Promise<void> {
  const request = { ...threatRequest(i), waitFor: RecordState.ANCHORED };
  const { state } = await grpc.recordEvent(request, { timeoutMs: 30_000 });
  if (state < RecordState.ANCHORED) throw new Error("the record was not anchored in time");
}

/** How long each of so many takes, with a pause before each, after some that do not count. */
async function times(samples: number, work: (i: number) => Promise<void>): Promise<number[]> {
  const taken: number[] = [];
  for (let i = 0; i < WARM_UP + samples; i++) {
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    const start = performance.now();
    await work(i);
    taken.push(performance.now() - start);
  }
  return taken.slice(WARM_UP);
}
