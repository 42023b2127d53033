import { Command, InvalidArgumentError, Option } from "commander";
import type { SyncBlocksResponse } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { textFormatOption } from "./arguments.js";
import type { TextFormat } from "./arguments.js";
import { jsonLine } from "./columns.js";
import { ExitCode } from "./exit-code.js";
import { afterHelp, CLIENT_CODES } from "./help.js";
import { auditClient } from "./pages.js";
import { withProgress } from "./progress-bar.js";
import type { Progress } from "./progress-bar.js";
import { reporting, withServer } from "./server.js";
import type { ServerOptions } from "./server.js";

interface Options extends ServerOptions {
  readonly fromBlock: bigint;
  readonly toBlock: bigint;
  readonly format: TextFormat;
}

/** `anchord sync`: lets the service read a range of blocks again. */
export function syncCommand(): Command {
  const command = new Command("sync")
    .description("Have the service read blocks again and mend what its database missed of them.")
    .addOption(blockOption("--from-block <number>", "first block"))
    .addOption(blockOption("--to-block <number>", "last block; 0 for the last that was followed"))
    .addOption(textFormatOption())
    .addHelpText(
      "after",
      afterHelp({
        examples: ["anchord sync --from-block 100 --to-block 200"],
        codes: { ...CLIENT_CODES, unreachable: "the service or its chain cannot be reached" },
      }),
    );
  return withServer(command).action(async (options: Options) => {
    process.exitCode = await reporting(options, () =>
      withProgress("blocks", "pieces", (bar) => sync(options, bar)),
    );
  });
}

async function sync({ fromBlock, toBlock, format, ...server }: Options, bar: Progress) {
  for await (const step of auditClient(server).syncBlocks({ fromBlock, toBlock })) {
    if (step.done) {
      const text = `${step.blocksRead} blocks read, ${countsOf(step)}\n`;
      process.stdout.write(format === "json" ? jsonLine(totalsOf(step)) : text);
    } else {
      const [read, total] = [Number(step.blocksRead), Number(step.blocksTotal)];
      bar.show(read, total, `block ${read} of ${total}, ${countsOf(step)}`);
    }
  }
  return ExitCode.ok;
}

function countsOf(step: SyncBlocksResponse): string {
  return [
    `${step.batchesFound} batches found, ${step.batchesMended} mended`,
    `${step.evidenceFound} anchors of evidence found, ${step.evidenceMended} mended`,
    `${step.deadlinesFound} changes of deadlines found, ${step.deadlinesMended} mended`,
  ].join(", ");
}

function totalsOf(step: SyncBlocksResponse): Readonly<Record<string, number>> {
  return {
    blocks_read: Number(step.blocksRead),
    batches_found: Number(step.batchesFound),
    batches_mended: Number(step.batchesMended),
    evidence_found: Number(step.evidenceFound),
    evidence_mended: Number(step.evidenceMended),
    deadlines_found: Number(step.deadlinesFound),
    deadlines_mended: Number(step.deadlinesMended),
  };
}

function blockOption(flags: string, description: string): Option {
  return new Option(flags, description).default(0n, "0").argParser(blockNumber);
}

function blockNumber(text: string): bigint {
  if (!/^[0-9]{1,19}$/.test(text)) throw new InvalidArgumentError("must be a decimal number");
  return BigInt(text);
}
