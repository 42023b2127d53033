import { hex0x, unhex } from "../../core/bytes.js";
import { isChainAway } from "../../core/errors.js";
import type { OperationKind } from "../../core/operation.js";
import { gasOfSeals, signingAccounts, unpricedTransactions } from "../../store/report.js";
import type { TimeRange, UnpricedTransaction } from "../../store/report.js";
import type { AuditLog, ChainConnection } from "../audit-log.js";
import { inParallel } from "../follow.js";
import { dayText } from "./day.js";
import type { GasPurpose, GasSpent, MonthGas } from "./facts.js";

const PURPOSES = {
  SEAL: "seals",
  EVIDENCE: "evidence",
  SLA: "deadlines",
  ESCALATION: "escalations",
} as const satisfies Record<OperationKind, GasPurpose>;

/**
 * The gas that this service's accounts spent in a range of time. The database has the gas of seals; of other
 * transactions the chain is asked.
 */
export async function gasSpent(
  { database, connection }: AuditLog,
  range: TimeRange,
): Promise<GasSpent> {
  const months = new Months();
  for (const { day, gas } of await gasOfSeals(database, range)) {
    months.add(day * 86_400, "seals", gas);
  }
  const connected = connection();
  const accounts = await signingAccounts(database);
  if (connected !== undefined && connected.sealer !== "") accounts.push(unhex(connected.sealer));
  const others = await unpricedTransactions(database, accounts, range);
  const prices = await pricesOf(connected, others);
  others.forEach(({ kind, time }, i) => months.add(time, PURPOSES[kind], prices?.[i] ?? 0));
  return { months: months.inOrder(), unknown: prices === undefined ? others.length : 0 };
}

/** The gas of each; 0 for one that no block has. Undefined where the chain does not answer. */
async function pricesOf(
  connection: ChainConnection | undefined,
  transactions: readonly UnpricedTransaction[],
): Promise<readonly number[] | undefined> {
  if (connection === undefined) return transactions.length === 0 ? [] : undefined;
  try {
    return await inParallel(transactions, async ({ hash }) => {
      const mined = await connection.chain.mined(hex0x(hash));
      return mined?.gasUsed ?? 0;
    });
  } catch (error) {
    if (isChainAway(error)) return undefined;
    throw error;
  }
}

class Months {
  readonly #months = new Map<string, Record<GasPurpose, number>>();

  add(time: number, purpose: GasPurpose, gas: number): void {
    if (gas === 0) return;
    const month = dayText(Math.floor(time / 86_400)).slice(0, 7);
    const sums = this.#months.get(month) ?? { seals: 0, evidence: 0, deadlines: 0, escalations: 0 };
    sums[purpose] += gas;
    this.#months.set(month, sums);
  }

  inOrder(): MonthGas[] {
    const months = [...this.#months].map(([month, sums]) => ({ month, ...sums }));
    return months.sort((a, b) => (a.month < b.month ? -1 : 1));
  }
}
