import type { JsonValue } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { Command, InvalidArgumentError, Option } from "commander";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import { messageOf } from "../core/errors.js";
import { objectFormatOption, waitOption } from "./arguments.js";
import type { Format } from "./arguments.js";
import { fieldLines, jsonLine } from "./columns.js";
import { exactJson } from "./exact-json.js";
import { ExitCode } from "./exit-code.js";
import { afterHelp, CLIENT_CODES } from "./help.js";
import { Input } from "./input.js";
import { auditClient } from "./pages.js";
import { factOf } from "./record-body.js";
import { stateName } from "./record-json.js";
import { reporting, withServer } from "./server.js";
import type { ServerOptions } from "./server.js";
import { parseTime } from "./time.js";

interface Options extends ServerOptions {
  readonly type: string;
  readonly data?: JsonValue;
  readonly dataFile?: string;
  readonly subject?: string;
  readonly actor?: string;
  readonly time?: Timestamp;
  readonly requestId?: string;
  readonly wait: RecordState;
  readonly format: Format;
}

const HELP = afterHelp({
  notes: `The data of a trade, order, system_change, login, config_change, threat or complaint has the fields of
docs/cli.md; what it has besides is kept as details. Any other type is yours, and its data is kept as it is.`,
  examples: [
    `anchord record-event --type trade --data '{"trade_id":"t-1","symbol":"BTC/USDT","side":"buy",
      "quantity":0.1,"price":50000,"timestamp":"2026-02-01T12:00:00Z"}'`,
    `anchord record-event --type system_change --data-file change.json --wait anchored`,
    `echo '{"door":4}' | anchord record-event --type door.opened --data-file - --subject door/4`,
  ],
  codes: { ...CLIENT_CODES, notAnchored: "recorded, but not as far as --wait says yet" },
});

/** `anchord record-event`: records a fact. */
export function recordEventCommand(): Command {
  const command = new Command("record-event")
    .description("Record a fact, and print the id of its record.")
    .usage("--type <type> (--data <json> | --data-file <file>) [options]")
    .requiredOption("--type <type>", "record type, such as trade, or one of yours")
    .addOption(
      new Option("--data <json>", "the fact, as a JSON object")
        .argParser(exactJson)
        .conflicts("dataFile"),
    )
    .option("--data-file <file>", "file with the fact, or - for standard input")
    .option("--subject <subject>", "what it is about; by default made of the data, or the type")
    .option("--actor <name>", "who did it; by default the user of a change")
    .option("--time <time>", "when it happened; by default the data's timestamp, or now", parseTime)
    .option("--request-id <id>", "makes it safe to repeat")
    .addOption(waitOption(RecordState.ACCEPTED))
    .addOption(objectFormatOption())
    .addHelpText("after", HELP);
  return withServer(command).action(async (options: Options) => {
    process.exitCode = await reporting(options, () => record(options));
  });
}

async function record(options: Options): Promise<number> {
  const { type, requestId = "", wait: waitFor, format } = options;
  const { body, subject, actor = "", occurTime } = factOf(type, await dataOf(options), options);
  const answer = await auditClient(options).recordEvent({
    body,
    subject,
    actor,
    requestId,
    waitFor,
    ...(occurTime && { occurTime }),
  });
  const { recordId, state, replayed } = answer;
  const printed = { record_id: recordId, state: stateName(state), type, subject, replayed };
  process.stdout.write(format === "json" ? jsonLine(printed) : fieldLines(printed));
  return state < waitFor ? ExitCode.notAnchored : ExitCode.ok;
}

async function dataOf({ data, dataFile }: Options): Promise<JsonValue> {
  if (data !== undefined) return data;
  if (dataFile === undefined) throw new InvalidArgumentError("--data or --data-file must be given");
  try {
    return exactJson(await (await Input.open(dataFile)).text());
  } catch (error) {
    throw new InvalidArgumentError(`${dataFile}: ${messageOf(error)}`);
  }
}
