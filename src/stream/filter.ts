import { Level } from "../store/feed.js";
import type { BatchHappening } from "../store/feed.js";
import type { RecordRow } from "../store/records.js";

/** The kinds of events: the names of EventKind in event.proto. */
export type Kind =
  | "RECORD_ANCHORED"
  | "RECORD_FINAL"
  | "RECORD_RETRACTED"
  | "BATCH_SEALED"
  | "BATCH_FINAL"
  | "BATCH_RETRACTED"
  | "OPERATION_FAILED"
  | "INTEGRITY_BROKEN";

/** Which events are told; what is undefined does not restrict. */
export class EventFilter {
  /** The same for filters that let the same events pass. */
  readonly id: string;

  constructor(
    private readonly parts: {
      readonly kinds?: ReadonlySet<Kind> | undefined;
      readonly subject?: string | undefined;
      readonly type?: string | undefined;
      /** Events of a block are told once it is this sure. */
      readonly minimum?: BatchHappening["level"];
    },
  ) {
    const { kinds, subject = null, type = null } = parts;
    this.id = JSON.stringify([kinds ? [...kinds].sort() : null, subject, type, this.minimum]);
  }

  get minimum(): BatchHappening["level"] {
    return this.parts.minimum ?? Level.Provisional;
  }

  /** Whether events of a kind that belongs to records can pass. */
  tellsRecords(kind: Kind): boolean {
    return this.#tellsKind(kind);
  }

  /** Whether events of a kind that belongs to no record pass. */
  tells(kind: Kind): boolean {
    const { subject, type } = this.parts;
    return subject === undefined && type === undefined && this.#tellsKind(kind);
  }

  /** Whether events of a record pass, given that their kind does. */
  matches(record: RecordRow): boolean {
    const { subject, type } = this.parts;
    return (
      (subject === undefined || record.subject === subject) &&
      (type === undefined || record.type === type)
    );
  }

  #tellsKind(kind: Kind): boolean {
    return this.parts.kinds?.has(kind) ?? true;
  }
}
