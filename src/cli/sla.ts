import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import type { Client } from "@connectrpc/connect";
import { Command, Option } from "commander";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import { SLAState } from "../../gen/ts/anchord/v1/sla_pb.js";
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
import { connectServer, reportFailure, withServer } from "./server.js";
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

/** What the help of a command says below its options. */
function help(...examples: string[]): string {
  return afterHelp({ examples, codes: CLIENT_CODES });
}

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
      help("anchord sla set complaint/ABC12345 --within PT48H", "anchord sla list --breached"),
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
    .addHelpText("after", help("anchord sla list --state open", "anchord sla list --breached"));
  return withServer(command).action(async (options: ListOptions) => {
    process.exitCode = await run(options, (client) => found(client, options));
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
    else process.exitCode = await run(options, (client) => set(client, subject, when, options));
  });
}

function meetCommand(): Command {
  const command = new Command("meet")
    .description("Say that what the deadline of a subject was for is done.")
    .argument("<subject>", "what it is for")
    .option("--reason <text>", "why");
  const example = "anchord sla meet complaint/ABC12345 --reason answered";
  return withChange(command, example).action(async (subject: string, options: MeetOptions) => {
    process.exitCode = await run(options, async (client) => {
      const { actor = "", requestId = "", reason = "", wait: waitFor } = options;
      return [(await client.meetDeadline({ subject, actor, requestId, reason, waitFor })).sla];
    });
  });
}

/** Gives a command the options of every change. */
function withChange(command: Command, ...examples: string[]): Command {
  return withServer(
    command
      .option("--actor <name>", "who does it")
      .option("--request-id <id>", "makes it safe to repeat")
      .addOption(waitOption(RecordState.ANCHORED))
      .addOption(formatOption())
      .addHelpText("after", help(...examples)),
  );
}

/** Calls the service, prints the deadlines that it answers with, and returns the exit code. */
async function run(
  options: Options,
  call: (client: SlaClient) => Promise<(SLA | undefined)[]>,
): Promise<number> {
  try {
    const slas = (await call(createClient(SLAService, connectServer(options)))).filter(
      (sla) => sla !== undefined,
    );
    process.stdout.write(slaLines(slas, options.format));
    const failures = slas
      .map(({ changes }) => changes.at(-1)?.failure ?? "")
      .filter((failure) => failure !== "");
    for (const failure of failures) {
      process.stderr.write(`anchord: the chain has refused it: ${printable(failure)}\n`);
    }
    return failures.length === 0 ? ExitCode.ok : ExitCode.failed;
  } catch (error) {
    return reportFailure(error, options);
  }
}

async function found(
  client: SlaClient,
  { subject = "", state, dueBefore, minLevel = 0, breached, order, limit }: ListOptions,
): Promise<SLA[]> {
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

type When = MessageInitShape<typeof SetDeadlineRequestSchema>["when"];

function whenOf({ deadline, within }: SetOptions): When {
  if (deadline !== undefined) return { case: "deadline", value: deadline };
  return within && { case: "within", value: within };
}

async function set(
  client: SlaClient,
  subject: string,
  when: When,
  { ladder = [], actor = "", requestId = "", wait: waitFor }: SetOptions,
): Promise<(SLA | undefined)[]> {
  const request = { subject, ladder, actor, requestId, waitFor };
  return [(await client.setDeadline({ ...request, ...(when && { when }) })).sla];
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
