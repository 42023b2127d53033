import { web3Chain } from "../src/chain/web3.js";
import { checkReceipt } from "../src/core/receipt.js";
import type { Daemon } from "../test/support/daemon.js";
import { row } from "./row.js";
import type { Measurement } from "./row.js";
import { embeddedAccount } from "./support/bare-transactions.js";
import { runScript } from "./support/script.js";
import { settled, startService, streamRecords } from "./support/service.js";

/** Records anchored a second, from the first write until nothing is pending, against one transaction each. */
export const anchoring: Measurement = async ({ quick }) => {
  const service = await startService();
  await streamRecords(service, 30_000); // warm up
  await settled(service);
  const records = quick ? 50_000 : 200_000;
  const start = performance.now();
  const { someId } = await streamRecords(service, records);
  await settled(service);
  const value = (records / (performance.now() - start)) * 1000;
  await requireValid(service, someId);

  const account = JSON.stringify(await embeddedAccount(service));
  const against = await runScript<number>("transaction-load", account, quick ? 4 : 10);
  await service.stop();
  const name = "records anchored / one transaction each";
  return [row({ name, value, against, unit: "records/s", reach: 100, better: "higher" })];
};

async function requireValid({ grpc, rpcUrl }: Daemon, recordId: string): Promise<void> {
  const { receipt } = await grpc.getReceipt({ recordId });
  if (receipt === undefined) throw new Error(`there is no receipt of ${recordId}`);
  const check = await checkReceipt(receipt, web3Chain(rpcUrl));
  if (check.verdict !== "valid") throw new Error(`the receipt of ${recordId} is ${check.verdict}`);
}
