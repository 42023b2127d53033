import type { JsonObject } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { Command, InvalidArgumentError, Option } from "commander";
import type { Record as RecordMessage } from "../../gen/ts/anchord/v1/record_pb.js";
import { digest, formatOption, natural } from "./arguments.js";
import type { Format } from "./arguments.js";
import { blockJson } from "./block-json.js";
import { fieldLines, jsonLine } from "./columns.js";
import { ExitCode } from "./exit-code.js";
import { genesisBlock } from "./genesis.js";
import { afterHelp, CLIENT_CODES } from "./help.js";
import { auditClient, batchRecords } from "./pages.js";
import type { AuditClient } from "./pages.js";
import { recordHeader, recordLine } from "./record-json.js";
import { reporting, unlessMissing, withServer } from "./server.js";
import type { ServerOptions } from "./server.js";

interface Options extends ServerOptions {
  readonly index?: number;
  readonly hash?: string;
  readonly format: Format;
}

/** A block with the records that it seals. */
interface Found {
  readonly block: JsonObject;
  readonly records: readonly RecordMessage[];
}

const HELP = afterHelp({
  notes: `A block is a batch: its index is the number of the batch, its hash the head of the log after it. Block 0
is the head of the empty log.`,
  examples: ["anchord get-block --index 3", "anchord get-block --hash 5b41…"],
  codes: CLIENT_CODES,
});

/** `anchord get-block`: prints a batch as a block of the trading bot's chain. */
export function getBlockCommand(): Command {
  const command = new Command("get-block")
    .description("Print a block with the records in it.")
    .addOption(new Option("--index <number>", "its number").argParser(natural).conflicts("hash"))
    .option("--hash <hash>", "its hash (the head after it), or its Merkle root", digest)
    .addOption(formatOption("a JSON object, or lines"))
    .addHelpText("after", HELP);
  return withServer(command).action(async (options: Options) => {
    process.exitCode = await reporting(options, () => print(options));
  });
}

async function print(options: Options): Promise<number> {
  const { block, records } = await find(auditClient(options), options);
  if (options.format === "json") {
    process.stdout.write(jsonLine(block));
  } else {
    const { data: _, ...rest } = block;
    process.stdout.write(`${fieldLines(rest)}\n${recordHeader()}`);
    for (const record of records) process.stdout.write(recordLine(record));
  }
  return ExitCode.ok;
}

async function find(client: AuditClient, { index, hash }: Options): Promise<Found> {
  if (index === 0) return { block: await genesisBlock(client), records: [] };
  if (index !== undefined) return batch(client, { case: "number", value: BigInt(index) });
  if (hash === undefined) throw new InvalidArgumentError("--index or --hash must be given");
  const value = Buffer.from(hash, "hex");
  return batch(client, { case: "head", value })
    .catch(unlessMissing(() => batch(client, { case: "root", value })))
    .catch(unlessMissing(() => genesisOf(client, hash)));
}

type BatchName = NonNullable<Parameters<AuditClient["getBatch"]>[0]["batch"]>;

async function batch(client: AuditClient, name: BatchName): Promise<Found> {
  const { batch: found } = await client.getBatch({ batch: name });
  if (found === undefined) throw new ConnectError("the service has no such batch", Code.NotFound);
  const records = await batchRecords(client, found);
  return { block: blockJson(found, records), records };
}

/** The block before the first, where it has this hash. */
async function genesisOf(client: AuditClient, hash: string): Promise<Found> {
  const block = await genesisBlock(client);
  if (block["hash"] === hash) return { block, records: [] };
  throw new ConnectError(`no block has the hash or the root ${hash}`, Code.NotFound);
}
