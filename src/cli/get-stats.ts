import type { JsonObject } from "@bufbuild/protobuf";
import { Command } from "commander";
import type { GetStatsResponse } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { hex } from "../core/bytes.js";
import { objectFormatOption } from "./arguments.js";
import type { Format } from "./arguments.js";
import { fieldLines, jsonLine } from "./columns.js";
import { ExitCode } from "./exit-code.js";
import { afterHelp, CLIENT_CODES } from "./help.js";
import { auditClient } from "./pages.js";
import { timeJson } from "./record-json.js";
import { reporting, withServer } from "./server.js";
import type { ServerOptions } from "./server.js";
import { verification } from "./verification.js";

interface Options extends ServerOptions {
  readonly verify: boolean;
  readonly format: Format;
}

const HELP = afterHelp({
  notes: `"is_valid" comes from what verify-chain does, which takes a while on a long log. "chain_length" counts
block 0, the head of the empty log.`,
  examples: ["anchord get-stats", "anchord get-stats --no-verify --format json"],
  codes: {
    ...CLIENT_CODES,
    broken: "something in the log does not hold",
    unreachable: "the service or its chain cannot be reached",
  },
});

/** `anchord get-stats`: prints the totals of the log. */
export function getStatsCommand(): Command {
  const command = new Command("get-stats")
    .description("Print the totals of the log, and whether it holds.")
    .option("--no-verify", "leave out whether it holds: is_valid is null")
    .addOption(objectFormatOption())
    .addHelpText("after", HELP);
  return withServer(command).action(async (options: Options) => {
    process.exitCode = await reporting(options, () => print(options));
  });
}

async function print(options: Options): Promise<number> {
  const client = auditClient(options);
  const found = options.verify ? await verification(client) : undefined;
  const stats = statsJson(await client.getStats({}), found?.isValid ?? null);
  process.stdout.write(options.format === "json" ? jsonLine(stats) : fieldLines(stats));
  return found?.isValid === false ? ExitCode.broken : ExitCode.ok;
}

function statsJson(stats: GetStatsResponse, isValid: boolean | null): JsonObject {
  const { types, identity, sealer } = stats;
  return {
    chain_length: Number(stats.batches) + 1,
    total_transactions: Number(stats.records),
    transaction_types: Object.fromEntries(types.map(({ type, count }) => [type, Number(count)])),
    pending_transactions: Number(stats.pending),
    first_block_time: timeJson(stats.firstBlockTime),
    last_block_time: timeJson(stats.lastBlockTime),
    is_valid: isValid,
    final_transactions: Number(stats.final),
    gas_used: Number(stats.gasUsed),
    chain_id: identity === undefined ? null : Number(identity.chainId),
    contract: identity?.contract ?? null,
    log: identity === undefined ? null : hex(identity.log),
    sealer,
    chain_block_number: Number(stats.blockNumber),
  };
}
