import {
  accessSync,
  constants,
  existsSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { toJson } from "@bufbuild/protobuf";
import type { JsonObject, MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { Command, InvalidArgumentError, Option } from "commander";
import { EventKind, EventSchema, Finality } from "../../gen/ts/anchord/v1/event_pb.js";
import type { Event } from "../../gen/ts/anchord/v1/event_pb.js";
import { EventService, StartPoint } from "../../gen/ts/anchord/v1/event_service_pb.js";
import type {
  SubscribeEventsRequestSchema,
  SubscribeEventsResponse,
} from "../../gen/ts/anchord/v1/event_service_pb.js";
import { ErrorInfoSchema } from "../../gen/ts/google/rpc/error_details_pb.js";
import { messageOf } from "../core/errors.js";
import { formatOption, positive } from "./arguments.js";
import type { Format } from "./arguments.js";
import { jsonLine } from "./columns.js";
import { eventHeader, eventLine, kindName } from "./event-line.js";
import { ExitCode } from "./exit-code.js";
import { afterHelp, CLIENT_CODES } from "./help.js";
import { printable } from "./printable.js";
import { connectServer, reportFailure, reporting, withServer } from "./server.js";
import type { ServerOptions } from "./server.js";

interface Options extends ServerOptions {
  readonly kind?: EventKind[];
  readonly subject?: string;
  readonly type?: string;
  readonly finality: Finality;
  readonly from: string;
  readonly subscription?: string;
  readonly cursorFile?: string;
  readonly limit?: number;
  readonly format: Format;
}

/** How long to wait before another attempt, in milliseconds. */
const RETRY_MS = 1_000;

/** `anchord listen`: prints events as they come, across restarts of the service. */
export function listenCommand(): Command {
  const command = new Command("listen")
    .description("Print events as they happen. Goes on by itself when the service was away.")
    .option("--kind <kinds...>", `only these: ${KINDS.join(", ")}`, eventKind)
    .option("--subject <subject>", "only events of records with this subject")
    .option("--type <type>", "only events of records of this type")
    .addOption(
      new Option(
        "--finality <level>",
        "tell each event once its block is provisional, confirmed or final",
      )
        .default(Finality.PROVISIONAL, "provisional")
        .argParser(finality),
    )
    .option("--from <point>", "start, now, or the cursor of an event", "now")
    .option(
      "--subscription <name>",
      "go on where this named subscription is; acknowledges what is printed",
    )
    .option(
      "--cursor-file <file>",
      "go on from the cursor in this file, and keep it up to date there",
    )
    .option("--limit <count>", "end after this many events", positive)
    .addOption(formatOption())
    .addHelpText(
      "after",
      afterHelp({
        notes: `In JSON, the last event of each answer has a "cursor": give it to --from to go on behind it. An event may
come twice, with the same "key".`,
        examples: [
          "anchord listen --from start",
          "anchord listen --kind record.final --subject user/42 --cursor-file cursor.txt",
        ],
        codes: {
          ...CLIENT_CODES,
          ok: "--limit reached",
          unreachable: "the service could not be reached at first",
          failed: "ended by the service",
        },
      }),
    );
  return withServer(command).action(async (options: Options) => {
    process.exit(await reporting(options, () => listen(options)));
  });
}

async function listen(options: Options): Promise<number> {
  const client = createClient(EventService, connectServer(options));
  const { subscription = "", cursorFile, format } = options;
  let cursor = cursorFile === undefined ? "" : readCursor(cursorFile);
  let left = options.limit ?? Infinity;
  let connected = false;
  if (format === "table") process.stdout.write(eventHeader());
  for (;;) {
    try {
      for await (const answer of client.subscribeEvents(requestOf(options, cursor))) {
        connected = true;
        await print(answer, format);
        left -= answer.events.length;
        if (subscription !== "" && answer.events.length > 0)
          await client.acknowledgeEvents({ subscription, cursor: answer.cursor });
        ({ cursor } = answer);
        if (cursorFile !== undefined) writeCursor(cursorFile, cursor);
        if (left === 0) return ExitCode.ok;
      }
    } catch (error) {
      if (!connected || !isPassing(error)) return reportFailure(error, options);
      const { rawMessage } = ConnectError.from(error);
      process.stderr.write(`the service is away (${printable(rawMessage)}): trying again\n`);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

/** Whether a failure is of the connection, or one that the service says will pass. */
function isPassing(error: unknown): boolean {
  if (!(error instanceof ConnectError)) return false; // such as a file that cannot be written
  return error.code === Code.Unavailable || error.findDetails(ErrorInfoSchema).length === 0;
}

function requestOf(
  { kind = [], subject = "", type = "", finality: level, from, subscription = "", limit }: Options,
  cursor: string,
): MessageInitShape<typeof SubscribeEventsRequestSchema> {
  const filter = { kinds: kind, subject, type, minimumFinality: level };
  // Where listening may end after any event, each has a cursor of its own to go on from.
  const maxEvents = limit === undefined ? 0 : 1;
  if (cursor !== "")
    return { filter, subscription, maxEvents, from: { case: "cursor", value: cursor } };
  if (from === "start" || from === "now") {
    const value = from === "start" ? StartPoint.START : StartPoint.NOW;
    return { filter, subscription, maxEvents, from: { case: "start", value } };
  }
  return { filter, subscription, maxEvents, from: { case: "cursor", value: from } };
}

/** Prints the events of an answer; resolves once they are written. */
async function print({ events, cursor }: SubscribeEventsResponse, format: Format): Promise<void> {
  const lines = events.map((event, i) => {
    if (format === "table") return eventLine(event);
    return jsonLine(withCursor(event, i === events.length - 1 ? cursor : undefined));
  });
  if (lines.length === 0) return;
  await new Promise<void>((resolve) => {
    process.stdout.write(lines.join(""), () => resolve());
  });
}

function withCursor(event: Event, cursor: string | undefined): JsonObject {
  const json = toJson(EventSchema, event) as JsonObject;
  return cursor === undefined ? json : { ...json, cursor };
}

/** The cursor in a file; empty where there is no file yet. Throws InvalidArgumentError where none can be kept. */
function readCursor(file: string): string {
  try {
    accessSync(dirname(file), constants.W_OK);
    return existsSync(file) ? readFileSync(file, "utf8").trim() : "";
  } catch (error) {
    throw new InvalidArgumentError(`${file} cannot be read and written: ${messageOf(error)}`);
  }
}

/** In one step, so that a reader never finds half a cursor. */
function writeCursor(file: string, cursor: string): void {
  const part = `${file}.part`;
  writeFileSync(part, `${cursor}\n`);
  renameSync(part, file);
}

const KINDS = Object.values(EventKind)
  .filter((kind): kind is EventKind => typeof kind === "number" && kind !== EventKind.UNSPECIFIED)
  .map(kindName);

function eventKind(text: string, before: EventKind[] = []): EventKind[] {
  const kind = EventKind[text.toUpperCase().replaceAll(".", "_") as keyof typeof EventKind];
  if (kind === undefined || !KINDS.includes(text)) {
    throw new InvalidArgumentError(`must be one of ${KINDS.join(", ")}`);
  }
  return [...before, kind];
}

function finality(text: string): Finality {
  const level = Finality[text.toUpperCase() as keyof typeof Finality];
  if (typeof level !== "number" || level === Finality.UNSPECIFIED) {
    throw new InvalidArgumentError("must be provisional, confirmed or final");
  }
  return level;
}
