import { storedIdentity } from "../../store/chain-position.js";
import { logLength } from "../../store/records.js";
import type { RecordQuery } from "../../store/records.js";
import { countByDay } from "../../store/report.js";
import type { DayCount, TimeRange } from "../../store/report.js";
import type { AuditLog, ChainConnection } from "../audit-log.js";
import { csvReport } from "./csv.js";
import { dayText } from "./day.js";
import type { ReportFacts, ReportLinks, ReportScope, TypeCount } from "./facts.js";
import { gasSpent } from "./gas.js";
import { htmlReport } from "./html.js";
import { checkIntegrity, uncheckedIntegrity } from "./integrity.js";
import type { CheckProgress } from "./integrity.js";
import { jsonReport } from "./json.js";
import { reportRecords } from "./records.js";

/** What a report can be written as. */
const WRITERS = { json: jsonReport, csv: csvReport, html: htmlReport } as const;

/** What a report is to be. */
export interface ReportRequest extends ReportScope {
  readonly query: Pick<RecordQuery, "type" | "startTime" | "endTime">;
  readonly format: keyof typeof WRITERS;
  /** What the database is compared with; undefined to leave the check out. */
  readonly chain: ChainConnection | undefined;
}

/** A part of the answer, in this order: progress of the check, what was found, bytes of the report. */
export type ReportPart =
  | CheckProgress
  | { readonly type: "facts"; readonly facts: ReportFacts }
  | { readonly type: "chunk"; readonly chunk: Uint8Array };

/**
 * Writes a report. It is about the records that there are when it begins: what is recorded meanwhile is
 * left out. Its records are read as they are written. Throws CHAIN_UNAVAILABLE where the check cannot end.
 */
export async function* generateReport(
  log: AuditLog,
  links: ReportLinks,
  request: ReportRequest,
): AsyncGenerator<ReportPart> {
  const { database } = log;
  const query = { ...request.query, toSeq: await logLength(database) };
  const counts = await countByDay(database, query);
  const integrity =
    request.chain === undefined
      ? await uncheckedIntegrity(database, query)
      : yield* checkIntegrity(database, request.chain, query);
  const facts: ReportFacts = {
    ...request,
    ...summed(counts),
    generatedAt: new Date(),
    gas: await gasSpent(log, secondsOf(query)),
    integrity,
    identity: await storedIdentity(database),
  };
  yield { type: "facts", facts };
  const text = WRITERS[request.format](facts, reportRecords(database, query, links));
  for await (const chunk of inChunks(text)) yield { type: "chunk", chunk };
}

function summed(counts: readonly DayCount[]): Pick<ReportFacts, "count" | "types" | "days"> {
  const sums = new Map<string, number>();
  for (const { type, count } of counts) sums.set(type, (sums.get(type) ?? 0) + count);
  const types = [...sums].map(([type, count]): TypeCount => ({ type, count }));
  return {
    count: types.reduce((sum, { count }) => sum + count, 0),
    types: types.sort((a, b) => b.count - a.count || (a.type < b.type ? -1 : 1)),
    days: counts.map(({ day, type, count }) => ({ day: dayText(day), type, count })),
  };
}

/** The seconds that a range of microseconds is in. */
function secondsOf({ startTime, endTime }: RecordQuery): TimeRange {
  const seconds = (micros: number | undefined) =>
    micros === undefined ? undefined : Math.floor(micros / 1_000_000);
  return { from: seconds(startTime), to: seconds(endTime) };
}

/** Bytes of a chunk; the last one may have fewer. */
const CHUNK_BYTES = 64 * 1024;

async function* inChunks(parts: AsyncIterable<string>): AsyncGenerator<Uint8Array> {
  let waiting: Buffer[] = [];
  let size = 0;
  for await (const part of parts) {
    const bytes = Buffer.from(part, "utf8");
    waiting.push(bytes);
    size += bytes.length;
    if (size < CHUNK_BYTES) continue;
    let rest = Buffer.concat(waiting);
    for (; rest.length >= CHUNK_BYTES; rest = rest.subarray(CHUNK_BYTES)) {
      yield rest.subarray(0, CHUNK_BYTES);
    }
    waiting = [rest];
    size = rest.length;
  }
  if (size > 0) yield Buffer.concat(waiting);
}
