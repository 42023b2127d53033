import { setTimeout as delay } from "node:timers/promises";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { SLAService } from "../gen/ts/anchord/v1/sla_service_pb.js";
import { ESCALATION_GAS } from "../src/chain/sla-registry.js";
import { web3Chain } from "../src/chain/web3.js";
import { hex } from "../src/core/bytes.js";
import { subjectKey } from "../src/core/evidence.js";
import { startDaemon, temporaryFolder } from "../test/support/daemon.js";
import {
  anvilBinary,
  startAnvilChain,
  startExternalChain,
} from "../test/support/external-chain.js";
import type { ExternalChain } from "../test/support/external-chain.js";
import { slaIdOf } from "../test/support/sla-registry.js";
import { until } from "../test/support/until.js";
import { row } from "./row.js";
import type { Measurement, Row } from "./row.js";
import { BareTransactions } from "./support/bare-transactions.js";

const HOUR = 3_600;

/** How often it is looked whether all are escalated, in milliseconds: looking takes the chain's time. */
const LOOK_MS = 100;

const NO_REF = `0x${"0".repeat(64)}`;

/** How many deadlines go into a transaction, and what the rate is meant to reach with so many. */
const SIZES = [
  { size: 10, reach: 2 },
  { size: 50, reach: 5 },
  { size: 200, reach: 5 },
] as const;

/** What raising levels comes to. */
interface Raised {
  /** Levels a second. */
  readonly rate: number;
  /** Gas of one. */
  readonly gas: number;
}

/** Overdue deadlines escalated a second, and the gas of each, against one transaction each. */
export const escalation: Measurement = async ({ quick }) => {
  const rows = await onNode("Ganache", await startExternalChain(), quick);
  if (anvilBinary() === undefined) {
    process.stderr.write("anvil is not installed: its rows are left out\n");
    return rows;
  }
  return [...rows, ...(await onNode("anvil", await startAnvilChain(), quick))];
};

async function onNode(node: string, chain: ExternalChain, quick: boolean): Promise<Row[]> {
  const { MANAGER_ROLE, grantRole } = chain.slaRegistry.methods;
  await grantRole(await MANAGER_ROLE().call(), chain.admin).send({ from: chain.admin });
  const single = await oneEach(chain, quick ? 100 : 300);
  const rows: Row[] = [];
  for (const { size, reach } of SIZES) {
    const batched = await kept(chain, quick ? 1_000 : 2_000, size);
    const name = `escalations, ${node}, ${size} a transaction / one each`;
    const rate = { value: batched.rate, against: single.rate, unit: "1/s" };
    rows.push(row({ name, ...rate, reach, better: "higher" }));
    const gas = { value: batched.gas, against: single.gas, unit: "gas each" };
    rows.push(row({ name, ...gas, reach: 0.5, better: "lower" }));
  }
  await chain.stop();
  return rows;
}

/** Each by a transaction of its own, signed while the one before is on its way. */
async function oneEach(chain: ExternalChain, count: number): Promise<Raised> {
  const subjects = await setDeadlines(chain, "single", count);
  const keys = subjects.map(subjectKey);
  const account = {
    rpcUrl: chain.url,
    contract: chain.sla,
    privateKey: chain.environment["PRIVATE_KEY"] ?? "",
  };
  const transactions = new BareTransactions(account, (node, contract) =>
    node.escalateCall(contract, keys.splice(0, 1), 1),
  );
  await passTime(chain);
  await transactions.prepare();
  const from = await blockNumber(chain);
  const start = performance.now();
  let next = transactions.sign();
  for (let left = count; left > 0; left--) {
    const delivered = transactions.deliver(await next);
    if (left > 1) next = transactions.sign();
    await delivered;
  }
  const seconds = (performance.now() - start) / 1_000;
  return { rate: count / seconds, gas: (await gasSince(chain, from)) / count };
}

/** By the service's keeper, so many a transaction, from the moment on that they are overdue. */
async function kept(chain: ExternalChain, count: number, size: number): Promise<Raised> {
  const { call, each, level } = ESCALATION_GAS;
  const daemon = await startDaemon({
    ...chain.environment,
    DATA_DIR: temporaryFolder(),
    LOG_NAME: `bench ${size}`,
    CONFIRMATIONS: "0",
    FINALITY: "confirmations",
    SLA_MAX_GAS: String(call + size * (each + level)),
  });
  const { grpcPort } = daemon;
  const transport = createGrpcTransport({ baseUrl: `http://127.0.0.1:${grpcPort}` });
  const slas = createClient(SLAService, transport);
  const subjects = await setDeadlines(chain, String(size), count);
  const last = hex(subjectKey(subjects.at(-1) ?? ""));
  await until("they are followed", async () => {
    const { slas: found } = await slas.listSLAs({ subject: last });
    return found.length > 0;
  });
  const from = await blockNumber(chain);
  const start = performance.now();
  await passTime(chain);
  const keys = subjects.map(subjectKey);
  const node = web3Chain(chain.url);
  // The keeper takes them in the order in which they were set, so one look tells of all.
  const isLastRaised = async () => (await node.slaDue(chain.sla, keys.slice(-1))).length === 0;
  while (!(await isLastRaised())) await delay(LOOK_MS);
  const seconds = (performance.now() - start) / 1_000;
  const gas = (await gasSince(chain, from)) / count;
  const due = await node.slaDue(chain.sla, keys);
  if (due.length > 0) throw new Error(`${due.length} deadlines were not escalated`);
  await daemon.stop();
  return { rate: count / seconds, gas };
}

/** Sets deadlines in an hour, without the service. Returns their subjects. */
async function setDeadlines(chain: ExternalChain, name: string, count: number): Promise<string[]> {
  const { number } = await web3Chain(chain.url).latestBlock();
  const now = (await web3Chain(chain.url).block(number))?.time ?? 0;
  const subjects = Array.from({ length: count }, (_, i) => `${name}/${i}`);
  const { admin: from, sla: to } = chain;
  for (const subject of subjects) {
    const { setSLADeadline } = chain.slaRegistry.methods;
    const data = setSLADeadline(slaIdOf(subject), now + HOUR, [0], NO_REF).encodeABI();
    await chain.rpc("eth_sendTransaction", { from, to, data, gas: "0x30d40" });
  }
  return subjects;
}

/** More time than any deadline has passes on chain, and a block shows it. */
async function passTime(chain: ExternalChain): Promise<void> {
  await chain.rpc("evm_increaseTime", 2 * HOUR);
  await chain.mine(1);
}

async function blockNumber(chain: ExternalChain): Promise<number> {
  return Number(await chain.rpc<string>("eth_blockNumber"));
}

/** Gas of all calls of the registry behind a block. */
async function gasSince(chain: ExternalChain, block: number): Promise<number> {
  let gas = 0;
  for (let number = block + 1; number <= (await blockNumber(chain)); number++) {
    const at = `0x${number.toString(16)}`;
    const { transactions } = await chain.rpc<{
      transactions: readonly { readonly hash: string; readonly to: string | null }[];
    }>("eth_getBlockByNumber", at, true);
    for (const { hash, to } of transactions) {
      if (to?.toLowerCase() !== chain.sla) continue;
      gas += (await web3Chain(chain.url).mined(hash))?.gasUsed ?? 0;
    }
  }
  return gas;
}
