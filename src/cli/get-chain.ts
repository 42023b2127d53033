import type { JsonObject } from "@bufbuild/protobuf";
import { Command } from "commander";
import { formatOption, natural, positive } from "./arguments.js";
import { blockHeader, blockJson, blockLine } from "./block-json.js";
import { ExitCode } from "./exit-code.js";
import { genesisBlock } from "./genesis.js";
import { afterHelp, CLIENT_CODES } from "./help.js";
import { jsonArray } from "./json-array.js";
import type { Output } from "./write-output.js";
import { auditClient, batchPages, batchRecords } from "./pages.js";
import { withOutput } from "./with-output.js";
import type { OutputOptions } from "./with-output.js";

interface Options extends OutputOptions {
  readonly startIndex: number;
  readonly limit: number;
  readonly format: "json" | "summary";
}

const HELP = afterHelp({
  notes: `Blocks are batches, as get-block prints them, oldest first; block 0 is the head of the empty log.`,
  examples: [
    "anchord get-chain",
    "anchord get-chain --start-index 100 --limit 50 --format json --output chain.json",
  ],
  codes: CLIENT_CODES,
});

/** `anchord get-chain`: prints batches as the trading bot's chain of blocks. */
export function getChainCommand(): Command {
  const command = new Command("get-chain")
    .description("Print blocks, oldest first, each with the records in it.")
    .option("--start-index <number>", "the first block", natural, 0)
    .option("--limit <count>", "at most so many", positive, 100)
    .addOption(
      formatOption("a JSON array, or a line for each block without its records", "summary"),
    )
    .addHelpText("after", HELP);
  return withOutput(command, write);
}

async function write(output: Output, options: Options): Promise<number> {
  if (options.format === "json") {
    await jsonArray(output, blocks(options));
  } else {
    await output.write(blockHeader());
    for await (const block of blocks(options)) await output.write(blockLine(block));
  }
  return ExitCode.ok;
}

async function* blocks(options: Options): AsyncGenerator<JsonObject> {
  const { startIndex, limit, format } = options;
  const client = auditClient(options);
  if (startIndex === 0) yield await genesisBlock(client);
  const first = Math.max(1, startIndex);
  for await (const page of batchPages(client, first, startIndex + limit - first)) {
    for (const batch of page) {
      yield blockJson(batch, format === "json" ? await batchRecords(client, batch) : []);
    }
  }
}
