import type { JsonObject } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { Command } from "commander";
import { ListOrder } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import type { Record as RecordMessage } from "../../gen/ts/anchord/v1/record_pb.js";
import { formatOption, positive } from "./arguments.js";
import type { Format } from "./arguments.js";
import { placeOf } from "./block-json.js";
import { ExitCode } from "./exit-code.js";
import { afterHelp, CLIENT_CODES } from "./help.js";
import { jsonArray } from "./json-array.js";
import type { Output } from "./write-output.js";
import { auditClient, recordPages } from "./pages.js";
import type { AuditClient } from "./pages.js";
import { recordHeader, recordJson, recordLine } from "./record-json.js";
import type { BlockPlace } from "./record-json.js";
import { parseTime, requirePeriod } from "./time.js";
import { withOutput } from "./with-output.js";
import type { OutputOptions } from "./with-output.js";

interface Options extends OutputOptions {
  readonly type?: string;
  readonly subject?: string;
  readonly startTime?: Timestamp;
  readonly endTime?: Timestamp;
  readonly limit: number;
  readonly format: Format;
}

const HELP = afterHelp({
  notes: `Times are in ISO 8601: a date, or a date and a time; without a zone they are taken as UTC. A record that
is in no block yet has null for block_index and block_hash.`,
  examples: [
    "anchord get-audit-trail --type trade --limit 20",
    "anchord get-audit-trail --start-time 2026-02-01 --end-time 2026-02-02T00:00:00+01:00",
    "anchord get-audit-trail --type system_change --limit 100000 --output changes.json",
  ],
  codes: CLIENT_CODES,
});

/** `anchord get-audit-trail`: prints records, newest first, each with its block. */
export function getAuditTrailCommand(): Command {
  const command = new Command("get-audit-trail")
    .description("Print records, newest first, each with its block.")
    .option("--type <type>", "only records of this type, such as trade or system_change")
    .option("--subject <subject>", "only records with this subject")
    .option("--start-time <time>", "only what happened at this time or after it", parseTime)
    .option("--end-time <time>", "only what happened before this time", parseTime)
    .option("--limit <count>", "at most so many", positive, 100)
    .addOption(formatOption("a JSON array, or columns"))
    .addHelpText("after", HELP);
  return withOutput(command, write);
}

async function write(output: Output, options: Options): Promise<number> {
  requirePeriod(options);
  const client = auditClient(options);
  if (options.format === "json") {
    await jsonArray(output, placed(client, options));
    return ExitCode.ok;
  }
  await output.write(recordHeader());
  for await (const page of found(client, options)) {
    await output.write(page.map(recordLine).join(""));
  }
  return ExitCode.ok;
}

function found(client: AuditClient, options: Options): AsyncGenerator<RecordMessage[]> {
  const { type = "", subject = "", startTime, endTime, limit } = options;
  const filter = { type, subject, ...(startTime && { startTime }), ...(endTime && { endTime }) };
  return recordPages(client, { filter, order: ListOrder.NEWEST_FIRST, limit });
}

/** Records with their blocks. */
async function* placed(client: AuditClient, options: Options): AsyncGenerator<JsonObject> {
  const places = new Map<bigint, BlockPlace>();
  for await (const page of found(client, options)) {
    await readPlaces(client, page, places);
    for (const record of page) yield recordJson(record, places.get(record.batchNumber ?? 0n));
  }
}

/** How many batches are asked for at once. */
const AT_ONCE = 32;

/** Adds the blocks of records that are not known yet: their numbers and hashes never change. */
async function readPlaces(
  client: AuditClient,
  records: readonly RecordMessage[],
  places: Map<bigint, BlockPlace>,
): Promise<void> {
  const numbers = records.flatMap(({ batchNumber }) => batchNumber ?? []);
  const unknown = [...new Set(numbers)].filter((number) => !places.has(number));
  for (let at = 0; at < unknown.length; at += AT_ONCE) {
    await Promise.all(
      unknown.slice(at, at + AT_ONCE).map(async (value) => {
        const { batch } = await client.getBatch({ batch: { case: "number", value } });
        if (batch !== undefined) places.set(value, placeOf(batch));
      }),
    );
  }
}
