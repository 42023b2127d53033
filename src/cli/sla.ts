import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import type { Client } from "@connectrpc/connect";
import { Command, Option } from "commander";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import { SLAChangeKind, SLAState } from "../../gen/ts/anchord/v1/sla_pb.js";
import type { SLA } from "../../gen/ts/anchord/v1/sla_pb.js";
import { SLAOrder, SLAService } from "../../gen/ts/anchord/v1/sla_service_pb.js";
import type {
  ListSLAsRequestSchema,
  SetDeadlineRequestSchema,
} from "../../gen/ts/anchord/v1/sla_service_pb.js";
import { choice, duration, durations, formatOption, positive, waitOption } from "./arguments.js";
import type { Format } from "./arguments.js";
import { ExitCode } from "./exit-code.js";
import { afterHelp, CLIENT_CODES } from "./help.js";
import { printable } from "./printable.js";
import { connectServer, reporting, withServer } from "./server.js";
import type { ServerOptions } from "./server.js";
import { slaLines } from "./sla-line.js";
import { parseTime } from "./time.js";

type SlaClient = Client<typeof SLAService>;

interface Options extends ServerOptions {
  readonly format: Format;
}

interface ListOptions extends Options {
  readonly subject?: string;
  readonly state?: SLAState;
  readonly dueBefore?: Timestamp;
  readonly minLevel?: number;
  readonly breached?: boolean;
  readonly order: SLAOrder;
  readonly limit: number;
}

interface ChangeOptions extends Options {
  readonly actor?: string;
  readonly requestId?: string;
  readonly wait: RecordState;
}

interface SetOptions extends ChangeOptions {
  readonly deadline?: Timestamp;
  readonly within?: Duration;
  readonly ladder?: Duration[];
}

interface MeetOptions extends ChangeOptions {
  readonly reason?: string;
}

/** The exit codes of a command that changes a deadline. */
const CHANGE_CODES = {
  ...CLIENT_CODES,
  notAnchored: "recorded, but not as far as --wait says yet",
} as const;

/** The most deadlines of a page. */
const PAGE_SIZE = 1_000;

/** `anchord sla`: lists, sets and meets deadlines. */
export function slaCommand(): Command {
  return new Command("sla")
    .description("List, set and meet deadlines.")
    .addCommand(listCommand())
    .addCommand(setCommand())
    .addCommand(meetCommand())
    .addHelpText(
      "after",
      afterHelp({
        examples: [
          "anchord sla set complaint/ABC12345 --within PT48H",
          "anchord sla list --breached",
        ],
        codes: CHANGE_CODES,
      }),
    );
}

function listCommand(): Command {
  const command = new Command("list")
    .description("List deadlines.")
    .option("--subject <subject>", "only those for this")
    .option("--state <state>", "only those that are pending, open, paused, met or failed", slaState)
    .option("--due-before <time>", "only those whose deadline is before this", parseTime)
    .option("--min-level <level>", "only those that were escalated so far, or further", positive)
    .option("--breached", "only those that were not met in time")
    .option("--no-breached", "only those that have not passed, or were met in time")
    .addOption(
      new Option("--order <order>", "newest, oldest, or deadline: the earliest first")
        .default(SLAOrder.SLA_ORDER_DEADLINE, "deadline")
        .argParser(slaOrder),
    )
    .option("--limit <count>", "at most so many", positive, 100)
    .addOption(formatOption())
    .addHelpText(
      "after",
      afterHelp({
        examples: ["anchord sla list --state open", "anchord sla list --breached"],
        codes: CLIENT_CODES,
      }),
    );
  return withServer(command).action(async (options: ListOptions) => {
    process.exitCode = await reporting(options, async () => {
      process.stdout.write(slaLines(await found(options), options.format));
      return ExitCode.ok;
    });
  });
}

function setCommand(): Command {
  const command = new Command("set")
    .description("Set a deadline for a subject that has no open one.")
    .argument("<subject>", "what it is for, such as complaint/ABC12345")
    .addOption(
      new Option("--deadline <time>", "when it is, such as 2026-02-01T12:00:00Z")
        .argParser(parseTime)
        .conflicts("within"),
    )
    .option("--within <duration>", "the same, counted from now, such as PT48H", duration)
    .option(
      "--ladder <durations>",
      "when each level is raised, counted from the deadline, such as PT0S,PT24H,P3D",
      durations,
    );
  const example = "anchord sla set complaint/ABC12345 --within PT48H --ladder PT0S,PT24H";
  return withChange(command, example).action(async (subject: string, options: SetOptions) => {
    const when = whenOf(options);
    if (when === undefined) command.error("error: --deadline or --within must be given");
    else process.exitCode = await reporting(options, () => set(subject, when, options));
  });
}

function meetCommand(): Command {
  const command = new Command("meet")
    .description("Say that what the deadline of a subject was for is done.")
    .argument("<subject>", "what it is for")
    .option("--reason <text>", "why");
  const example = "anchord sla meet complaint/ABC12345 --reason answered";
  return withChange(command, example).action(async (subject: string, options: MeetOptions) => {
    process.exitCode = await reporting(options, () => meet(subject, options));
  });
}

/** Gives a command the options of every change. */
function withChange(command: Command, example: string): Command {
  return withServer(
    command
      .option("--actor <name>", "who does it")
      .option("--request-id <id>", "makes it safe to repeat")
      .addOption(waitOption(RecordState.ANCHORED))
      .addOption(formatOption())
      .addHelpText("after", afterHelp({ examples: [example], codes: CHANGE_CODES })),
  );
}

function slaClient(options: Options): SlaClient {
  return createClient(SLAService, connectServer(options));
}

/** Prints a deadline as a change of this kind has left it, and returns the exit code. */
function printChanged(
  sla: SLA | undefined,
  kind: SLAChangeKind,
  { wait, format }: ChangeOptions,
): number {
  const change = sla?.changes.findLast((each) => each.kind === kind);
  if (sla === undefined || change === undefined) {
    throw new Error("the service has not said what became of the change");
  }
  process.stdout.write(slaLines([sla], format));
  const { failure, state } = change;
  if (failure !== "") {
    process.stderr.write(`anchord: the chain has refused it: ${printable(failure)}\n`);
    return ExitCode.failed;
  }
  return state < wait ? ExitCode.notAnchored : ExitCode.ok;
}

async function found(options: ListOptions): Promise<SLA[]> {
  const { subject = "", state, dueBefore, minLevel = 0, breached, order, limit } = options;
  const client = slaClient(options);
  const filter: MessageInitShape<typeof ListSLAsRequestSchema> = {
    subject,
    minLevel,
    order,
    ...(state !== undefined && { state }),
    ...(dueBefore !== undefined && { dueBefore }),
    ...(breached !== undefined && { breached }),
  };
  const slas: SLA[] = [];
  let pageToken = "";
  do {
    const pageSize = Math.min(PAGE_SIZE, limit - slas.length);
    const page = await client.listSLAs({ ...filter, pageSize, pageToken });
    slas.push(...page.slas);
    pageToken = page.nextPageToken;
  } while (pageToken !== "" && slas.length < limit);
  return slas;
}

type When = NonNullable<MessageInitShape<typeof SetDeadlineRequestSchema>["when"]>;

function whenOf({ deadline, within }: SetOptions): When | undefined {
  if (deadline !== undefined) return { case: "deadline", value: deadline };
  return within && { case: "within", value: within };
}

async function set(subject: string, when: When, options: SetOptions): Promise<number> {
  const { ladder = [], actor = "", requestId = "", wait: waitFor } = options;
  const request = { subject, ladder, actor, requestId, waitFor, when };
  const { sla } = await slaClient(options).setDeadline(request);
  return printChanged(sla, SLAChangeKind.SLA_CHANGE_KIND_SET, options);
}

async function meet(subject: string, options: MeetOptions): Promise<number> {
  const { actor = "", requestId = "", reason = "", wait: waitFor } = options;
  const request = { subject, actor, requestId, reason, waitFor };
  const { sla } = await slaClient(options).meetDeadline(request);
  return printChanged(sla, SLAChangeKind.SLA_CHANGE_KIND_MET, options);
}

const slaState = choice({
  pending: SLAState.SLA_STATE_PENDING,
  open: SLAState.SLA_STATE_OPEN,
  paused: SLAState.SLA_STATE_PAUSED,
  met: SLAState.SLA_STATE_MET,
  failed: SLAState.SLA_STATE_FAILED,
});

const slaOrder = choice({
  newest: SLAOrder.SLA_ORDER_UNSPECIFIED,
  oldest: SLAOrder.SLA_ORDER_OLDEST_FIRST,
  deadline: SLAOrder.SLA_ORDER_DEADLINE,
});
