import { expect } from "chai";
import { ListOrder } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import type { LogProblem } from "../../gen/ts/anchord/v1/problem_pb.js";
import type { Record } from "../../gen/ts/anchord/v1/record_pb.js";
import type { SealedEvent } from "../../src/chain/port.js";
import { web3Chain } from "../../src/chain/web3.js";
import { hex } from "../../src/core/bytes.js";
import type { LogId } from "../../src/core/head.js";
import type { Daemon } from "./daemon.js";
import { until } from "./until.js";

/** Every record of the log, in log order. */
export async function allRecords({ grpc }: Daemon): Promise<Record[]> {
  const records: Record[] = [];
  let pageToken = "";
  do {
    const page = await grpc.listRecords({
      order: ListOrder.OLDEST_FIRST,
      pageSize: 1000,
      pageToken,
    });
    records.push(...page.records);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return records;
}

/** Everything that VerifyLog finds. */
export async function problemsOf({ grpc }: Daemon): Promise<LogProblem[]> {
  const problems: LogProblem[] = [];
  let done = false;
  for await (const step of grpc.verifyLog({})) {
    problems.push(...step.problems);
    done = step.done;
  }
  expect(done, "VerifyLog came to its end").to.equal(true);
  return problems;
}

/** The parts of GET /health that tests look at. */
export interface HealthAnswer {
  readonly code: number;
  readonly status: string;
  readonly blockchain: { readonly healthy: boolean; readonly error?: string };
  readonly database: { readonly healthy: boolean; readonly error?: string };
  readonly sealing: {
    readonly healthy: boolean;
    readonly error?: string;
    readonly role: string;
    readonly pending: number;
    readonly lastBatch: number;
    readonly failedOperations: number;
  };
  readonly evidence: {
    readonly healthy: boolean;
    readonly error?: string;
    readonly contractAddress?: string;
    readonly missing: number;
    readonly intact: number;
  };
}

/** What the daemon says of its health. */
export async function healthOf({ url }: Daemon): Promise<HealthAnswer> {
  const answer = await fetch(`${url}/health`);
  return { ...((await answer.json()) as Omit<HealthAnswer, "code">), code: answer.status };
}

/** Resolves once every accepted record is on the chain. */
export async function sealed(daemon: Daemon, limitMs = 30_000): Promise<void> {
  const isSealed = async () => {
    const { records, pending } = await daemon.grpc.getStats({});
    return records > 0n && pending === 0n;
  };
  await until("every record is on the chain", isSealed, limitMs);
}

/** The log that the daemon writes to. */
export async function logOf({ grpc }: Daemon): Promise<LogId> {
  const { identity } = await grpc.getStats({});
  if (identity === undefined) throw new Error("the daemon does not know its log");
  const { chainId, contract, log } = identity;
  return { chainId, contract, log };
}

/** The seals of the log, in their order. */
export async function sealsOf(daemon: Daemon): Promise<SealedEvent[]> {
  const chain = web3Chain(daemon.rpcUrl);
  const { number } = await chain.latestBlock();
  const events = await chain.events(
    { ...(await logOf(daemon)), evidence: undefined, sla: undefined },
    0,
    number,
  );
  return events.filter((event) => event.type === "sealed");
}

/**
 * Checks that a log at rest is whole: positions dense from 0, each record once, batches with
 * contiguous numbers that the chain has once each and that hold all records, nothing for VerifyLog to
 * find. Resolves to the records.
 */
export async function expectWhole(daemon: Daemon): Promise<Record[]> {
  const records = await allRecords(daemon);
  expect(records.map(({ sequence }) => Number(sequence))).to.deep.equal([...records.keys()]);
  expect(new Set(records.map(({ id }) => id)).size).to.equal(records.length);
  const seals = await sealsOf(daemon);
  expect(seals.map(({ seal }) => Number(seal.number))).to.deep.equal(seals.map((_, i) => i + 1));
  expect(seals.reduce((sum, { seal }) => sum + Number(seal.size), 0)).to.equal(records.length);
  for (const { seal, transactionHash, blockHash } of seals) {
    const { batch } = await daemon.grpc.getBatch({ batch: { case: "number", value: seal.number } });
    expect(hex(batch?.sealed?.root ?? new Uint8Array())).to.equal(hex(seal.root));
    expect(batch?.anchor?.transactionHash).to.equal(transactionHash);
    expect(batch?.anchor?.blockHash).to.equal(blockHash);
  }
  expect(await problemsOf(daemon)).to.deep.equal([]);
  return records;
}
