import type { JsonObject } from "@bufbuild/protobuf";
import type { StoredIdentity } from "../../store/chain-position.js";
import type { Problem } from "../verify/problem.js";

/** What a report is asked for. Times are RFC 3339. */
export interface ReportScope {
  /** Undefined for every type. */
  readonly type: string | undefined;
  readonly start: string | undefined;
  readonly end: string | undefined;
  /** Whether each record is in it. */
  readonly detailed: boolean;
}

/** Everything that a report says, apart from its records. */
export interface ReportFacts extends ReportScope {
  readonly generatedAt: Date;
  readonly count: number;
  /** The most frequent first. */
  readonly types: readonly TypeCount[];
  /** In the order of days, then of types; days without records are left out. */
  readonly days: readonly DayTypeCount[];
  readonly gas: GasSpent;
  readonly integrity: Integrity;
  /** The log, and where it is sealed; undefined before the chain was first reached. */
  readonly identity: StoredIdentity | undefined;
}

/** How many records have a type. */
export interface TypeCount {
  readonly type: string;
  readonly count: number;
}

/** How many records of a type happened on a day. */
export interface DayTypeCount extends TypeCount {
  /** Such as 2026-02-01, in UTC. */
  readonly day: string;
}

/** What gas was spent on, in the words of reports. */
export const GAS_PURPOSES = ["seals", "evidence", "deadlines", "escalations"] as const;

/** One of them. */
export type GasPurpose = (typeof GAS_PURPOSES)[number];

/** The gas of a month. */
export interface MonthGas extends Readonly<Record<GasPurpose, number>> {
  /** Such as 2026-02, in UTC. */
  readonly month: string;
}

/** The gas that was spent by month; a month without transactions is left out. */
export interface GasSpent {
  readonly months: readonly MonthGas[];
  /** Transactions whose gas only the chain knows, which did not answer. */
  readonly unknown: number;
}

/** What the comparison of the database with the chain found. */
export interface Integrity {
  readonly verdict: "intact" | "broken" | "not_checked";
  /** When the check ended; undefined where there was none. */
  readonly checkedAt: Date | undefined;
  readonly batchesChecked: number;
  readonly recordsChecked: number;
  /** Records of the report that are not on the chain yet. */
  readonly recordsNotAnchored: number;
  readonly problemsTotal: number;
  /** The first of them. */
  readonly problems: readonly Problem[];
}

/** A record as reports show it. Times are RFC 3339, in UTC. */
export interface ReportRecord {
  /** 64 hex digits. */
  readonly id: string;
  /** Position in the log, from 0. */
  readonly sequence: number;
  readonly type: string;
  readonly subject: string;
  readonly actor: string;
  readonly caller: string;
  readonly occurTime: string;
  readonly acceptTime: string;
  readonly state: "accepted" | "anchored" | "final";
  /** The fact itself, by the names of the proto files and the words of enums. */
  readonly data: JsonObject;
  readonly batch: RecordBatch | undefined;
  readonly anchor: RecordAnchor | undefined;
  readonly receiptUrl: string;
}

/** The batch of a record. */
export interface RecordBatch {
  readonly number: number;
  /** The head after it: 64 hex digits. */
  readonly head: string;
}

/** Where a record's batch stands on the chain. */
export interface RecordAnchor {
  /** 0x and 64 hex digits. */
  readonly transaction: string;
  readonly block: number;
  readonly blockTime: string;
  /** Undefined where there is no explorer. */
  readonly explorerUrl: string | undefined;
}

/** Where what a report names can be looked up. */
export interface ReportLinks {
  /** Address of a record's receipt; the id has 64 hex digits. */
  readonly receipt: (recordId: string) => string;
  /** Address of a transaction in an explorer, where there is one; the hash is 0x and 64 hex digits. */
  readonly transaction: (hash: string) => string | undefined;
}
