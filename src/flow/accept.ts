import { AnchordError } from "../core/errors.js";
import type { Database } from "../store/database.js";
import { appendUnits } from "../store/records.js";
import type { Appended, Unit } from "../store/records.js";
import { faultPoint } from "./faults.js";

/** Records of one commit, and bytes that may wait for it: bounds on memory and on a lock's time. */
const MAX_GROUP_RECORDS = 4_096;
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

interface Waiting {
  readonly unit: Unit;
  readonly bytes: number;
  resolve(appended: readonly Appended[]): void;
  reject(error: unknown): void;
}

/** Makes records durable. Calls that come while a commit is on its way share the next one. */
export class Acceptor {
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #committing: Promise<void> | undefined;

  constructor(
    private readonly database: Database,
    /** Called after each commit that added records. */
    private readonly onAccepted: () => void,
  ) {}

  /** Resolves once all records of the unit are durable; rejects when none is recorded. */
  accept(unit: Unit): Promise<readonly Appended[]> {
    const bytes = unit.records.reduce((sum, { entry }) => sum + entry.length + 256, 0);
    if (this.#waitingBytes > 0 && this.#waitingBytes + bytes > MAX_WAITING_BYTES) {
      return Promise.reject(
        new AnchordError("OVERLOADED", "too many records are waiting to be stored: try again"),
      );
    }
    this.#waitingBytes += bytes;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ unit, bytes, resolve, reject });
      this.#committing ??= this.#commitAll();
    });
  }

  /** Resolves once nothing is waiting any more. */
  async drained(): Promise<void> {
    await this.#committing;
  }

  async #commitAll(): Promise<void> {
    // Calls that arrive in this turn of the event loop still join the first group.
    await new Promise(setImmediate);
    while (this.#waiting.length > 0) await this.#commit(this.#takeGroup());
    this.#committing = undefined;
  }

  #takeGroup(): Waiting[] {
    let records = 0;
    let count = 0;
    while (count < this.#waiting.length) {
      records += (this.#waiting[count] as Waiting).unit.records.length;
      if (count > 0 && records > MAX_GROUP_RECORDS) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  async #commit(group: readonly Waiting[]): Promise<void> {
    try {
      await faultPoint("accept.before-commit");
      const units = group.map(({ unit }) => unit);
      const results = await this.database.transact((trx) => appendUnits(trx, units));
      await faultPoint("accept.after-commit");
      for (const [i, result] of results.entries()) {
        const waiting = group[i] as Waiting;
        if (result instanceof AnchordError) waiting.reject(result);
        else waiting.resolve(result);
      }
      this.onAccepted();
    } catch (error) {
      for (const { unit, reject } of group) {
        if (unit.line !== undefined) unit.line.broken = true;
        reject(error);
      }
    } finally {
      for (const { bytes } of group) this.#waitingBytes -= bytes;
    }
  }
}
