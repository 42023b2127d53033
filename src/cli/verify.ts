import { readFileSync } from "node:fs";
import { Command, InvalidArgumentError } from "commander";
import { toJsonString } from "@bufbuild/protobuf";
import { AnchordError, messageOf } from "../core/errors.js";
import { logIdOf } from "../core/head.js";
import { parseReceipt } from "../core/receipt-json.js";
import { checkReceipt } from "../core/receipt.js";
import type { ExpectedLog, ReceiptCheck } from "../core/receipt.js";
import { EntrySchema } from "../../gen/ts/anchord/v1/receipt_pb.js";
import { ExitCode } from "./exit-code.js";

interface Options {
  readonly rpc: string;
  readonly chainId?: bigint;
  readonly contract?: string;
  readonly log?: string;
}

/** `anchord verify`: checks a receipt against a chain, without the service. */
export function verifyCommand(): Command {
  return new Command("verify")
    .description("Check a receipt against any Ethereum RPC node, without the service.")
    .argument("<receipt>", "JSON file of a receipt, or - for standard input")
    .requiredOption("--rpc <url>", "address of an Ethereum node")
    .option("--chain-id <id>", "the chain that the receipt must be for", chainId)
    .option("--contract <address>", "the AuditLog contract that it must be for", address)
    .option("--log <name>", "the log that it must be for, by its LOG_NAME")
    .addHelpText(
      "after",
      "\nExit codes: 0 valid, 1 false, 2 usage, 3 not anchored yet, 4 the node cannot be reached.",
    )
    .action(verify);
}

async function verify(file: string, options: Options): Promise<void> {
  process.exitCode = await run(file, options);
}

async function run(file: string, options: Options): Promise<number> {
  let text: string;
  try {
    text = readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (error) {
    process.stderr.write(`anchord: ${messageOf(error)}\n`);
    return ExitCode.usage;
  }
  const receipt = parseReceipt(text);
  if (typeof receipt === "string") return report({ verdict: "invalid", step: "format", message: receipt });
  const { web3Chain } = await import("../chain/web3.js");
  try {
    const expected: ExpectedLog = {
      chainId: options.chainId,
      contract: options.contract,
      log: options.log === undefined ? undefined : logIdOf(options.log),
    };
    const check = await checkReceipt(receipt, web3Chain(options.rpc), expected);
    const code = report(check);
    if (check.verdict === "valid") reportTrust(options, receipt.identity);
    return code;
  } catch (error) {
    if (!(error instanceof AnchordError) || error.reason !== "CHAIN_UNAVAILABLE") throw error;
    process.stderr.write(`UNREACHABLE: ${error.message}\n`);
    return ExitCode.unreachable;
  }
}

function report(check: ReceiptCheck): number {
  const print = (text: string) => process.stdout.write(`${text}\n`);
  switch (check.verdict) {
    case "valid":
      print(toJsonString(EntrySchema, check.entry, { prettySpaces: 2 }));
      print(`VALID: record ${check.id} is on the chain since ${timeText(check.batch.time)}`);
      return ExitCode.ok;
    case "not-anchored":
      print(toJsonString(EntrySchema, check.entry, { prettySpaces: 2 }));
      print(`NOT ANCHORED: the receipt of record ${check.id} has no proof yet: fetch it again`);
      return ExitCode.notAnchored;
    case "invalid":
      print(`FALSE at step ${check.step}: ${check.message}`);
      return ExitCode.failed;
  }
}

/** Says whose word the verdict rests on, besides the node's. */
function reportTrust(
  { rpc, chainId: chain, contract }: Options,
  identity: { chainId: bigint; contract: string } | undefined,
): void {
  const trusted = [
    ...(chain === undefined ? [`chain ${identity?.chainId} (give --chain-id)`] : []),
    ...(contract === undefined ? [`contract ${identity?.contract} (give --contract)`] : []),
  ];
  process.stdout.write(`Trusted: the node at ${rpc}`);
  process.stdout.write(
    trusted.length === 0 ? "\n" : `, and the receipt's own word that it is for ${trusted.join(" and ")}\n`,
  );
}

function timeText(seconds: bigint): string {
  return new Date(Number(seconds) * 1000).toISOString();
}

function chainId(text: string): bigint {
  if (!/^[0-9]+$/.test(text)) throw new InvalidArgumentError("must be a decimal number");
  return BigInt(text);
}

function address(text: string): string {
  if (!/^0x[0-9a-fA-F]{40}$/.test(text)) throw new InvalidArgumentError("must be 0x and 40 hex digits");
  return text.toLowerCase();
}
