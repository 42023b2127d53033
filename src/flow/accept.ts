import { hex } from "../core/bytes.js";
import { AnchordError } from "../core/errors.js";
import type { EncodedRecord } from "../core/record.js";
import type { Reused, StoredRecord, UnitResult } from "../store/append.js";
import type { Database } from "../store/database.js";
import { faultPoint } from "./faults.js";

/** A record that is in the log; `replayed` if an earlier call had put it there. */
export interface Accepted extends StoredRecord {
  readonly replayed: boolean;
}

/** Calls that are recorded in order, and none behind one that fails: a stream. */
export interface Line {
  readonly id: number;
  broken: boolean;
}

/** Records of one commit, and bytes that may wait for it: bounds on memory and on a lock's time. */
const MAX_GROUP_RECORDS = 4_096;
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

interface Waiting {
  readonly records: readonly EncodedRecord[];
  readonly line: Line | undefined;
  readonly bytes: number;
  resolve(accepted: readonly Accepted[]): void;
  reject(error: unknown): void;
}

/** Makes records durable. Calls that come while a commit is on its way share the next one. */
export class Acceptor {
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #committing: Promise<void> | undefined;
  #lines = 0;

  constructor(
    private readonly database: Database,
    /** Called after each commit that added records. */
    private readonly onAccepted: () => void,
  ) {}

  /** A new line. */
  line(): Line {
    return { id: this.#lines++, broken: false };
  }

  /** Resolves once all of the records are durable; rejects when none is recorded. */
  accept(records: readonly EncodedRecord[], line?: Line): Promise<readonly Accepted[]> {
    const bytes = records.reduce((sum, { entry }) => sum + entry.length + 256, 0);
    if (this.#waitingBytes > 0 && this.#waitingBytes + bytes > MAX_WAITING_BYTES) {
      return Promise.reject(
        new AnchordError("OVERLOADED", "too many records are waiting to be stored: try again"),
      );
    }
    this.#waitingBytes += bytes;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ records, line, bytes, resolve, reject });
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
    while (this.#waiting.length > 0) {
      const group = this.#takeGroup();
      await this.#commit(group);
      for (const { bytes } of group) this.#waitingBytes -= bytes;
    }
    this.#committing = undefined;
  }

  #takeGroup(): Waiting[] {
    let records = 0;
    let count = 0;
    while (count < this.#waiting.length) {
      records += (this.#waiting[count] as Waiting).records.length;
      if (count > 0 && records > MAX_GROUP_RECORDS) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  async #commit(group: readonly Waiting[]): Promise<void> {
    try {
      const open = group.filter(({ line }) => line?.broken !== true);
      await faultPoint("accept.before-commit");
      const results = await this.database.append(
        open.map(({ records, line }) => ({ records, line: line?.id })),
      );
      await faultPoint("accept.after-commit");
      for (const [i, result] of results.entries()) settle(open[i] as Waiting, result);
      for (const waiting of group) if (!open.includes(waiting)) settle(waiting, "skipped");
      this.onAccepted();
    } catch (error) {
      if (group.length > 1 && isOnes(error)) {
        for (const each of group) await this.#commit([each]);
        return;
      }
      for (const { line, reject } of group) {
        if (line !== undefined) line.broken = true;
        reject(error);
      }
    }
  }
}

/**
 * Whether one of a group may have failed for all, and surely nothing was written: a row that it meets was edited.
 * After any other failure the group may be stored, and must not be written again.
 */
function isOnes(error: unknown): boolean {
  const { reason } = error as Partial<AnchordError>;
  return reason === "DATABASE_ALTERED" || reason === "INTERNAL";
}

function settle({ records, line, resolve, reject }: Waiting, result: UnitResult): void {
  if (result !== "skipped" && "appended" in result) {
    resolve(
      result.appended.map(({ seq, replayed }, i) => {
        const { id, entry } = replayed ?? (records[i] as EncodedRecord);
        return { seq, id, entry, replayed: replayed !== undefined };
      }),
    );
    return;
  }
  if (line !== undefined) line.broken = true;
  reject(
    result === "skipped"
      ? new AnchordError("INTERNAL", "not recorded: a message before it on the stream failed")
      : reused(result.reused),
  );
}

/** The refusal of a request id that was used before for something else. */
export function reused({ requestId, takenBy, index }: Reused): AnchordError {
  return new AnchordError(
    "REQUEST_ID_REUSED",
    `request_id "${requestId}" was used for another body: use a new one for a new event`,
    { metadata: { record_id: hex(takenBy), event_index: String(index) } },
  );
}
