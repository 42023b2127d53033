import { readFileSync } from "node:fs";
import { Command, InvalidArgumentError } from "commander";
import { web3Chain } from "../chain/web3.js";
import { AnchordError, messageOf } from "../core/errors.js";
import { logIdOf } from "../core/head.js";
import { receiptFromJson } from "../core/receipt-json.js";
import { checkReceipt } from "../core/receipt.js";
import type { ReceiptCheck } from "../core/receipt.js";
import { entryText } from "./entry-text.js";
import { ExitCode } from "./exit-code.js";
import { printable } from "./printable.js";

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
    .requiredOption("--rpc <url>", "HTTP address of an Ethereum node", nodeAddress)
    .option("--chain-id <id>", "the chain that the receipt must be for", chainId)
    .option("--contract <address>", "the AuditLog contract that it must be for", address)
    .option("--log <name>", "the log that it must be for, by its LOG_NAME")
    .addHelpText(
      "after",
      "\nExit codes: 0 valid, 1 false, 2 usage, 3 not anchored yet, 4 the node cannot be reached.",
    )
    .action(async (file: string, options: Options) => {
      process.exitCode = await verify(file, options);
    });
}

async function verify(file: string, options: Options): Promise<number> {
  let text: string;
  try {
    text = readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (error) {
    process.stderr.write(`anchord: ${messageOf(error)}\n`);
    return ExitCode.usage;
  }
  try {
    return report(await check(text, options), options);
  } catch (error) {
    if (!(error instanceof AnchordError) || error.reason !== "CHAIN_UNAVAILABLE") throw error;
    process.stderr.write(`UNREACHABLE: ${printable(error.message)}\n`);
    return ExitCode.unreachable;
  }
}

async function check(text: string, options: Options): Promise<ReceiptCheck> {
  const { rpc, chainId: chain, contract, log } = options;
  let receipt;
  try {
    receipt = receiptFromJson(text);
  } catch (error) {
    return { verdict: "invalid", step: "format", message: messageOf(error) };
  }
  const expected = { chainId: chain, contract, log: log === undefined ? undefined : logIdOf(log) };
  return checkReceipt(receipt, web3Chain(rpc), expected);
}

/** Prints what was found, and returns the exit code. */
function report(found: ReceiptCheck, options: Options): number {
  const print = (line: string) => process.stdout.write(`${line}\n`);
  switch (found.verdict) {
    case "valid": {
      print(entryText(found.entry));
      print(`VALID: record ${found.id} is on the chain since ${timeText(found.batch.time)}`);
      print(trustText(options));
      return ExitCode.ok;
    }
    case "not-anchored":
      print(entryText(found.entry));
      print(`NOT ANCHORED: record ${found.id} had no proof yet when this was made: fetch it again`);
      return ExitCode.notAnchored;
    case "invalid":
      print(`FALSE at step ${found.step}: ${printable(found.message)}`);
      return ExitCode.failed;
  }
}

/** Whose word the verdict rests on. An address may hold a key, so only its host is shown. */
function trustText({ rpc, chainId: chain, contract, log }: Options): string {
  const assumed = [
    ...(chain === undefined ? ["the chain (give --chain-id)"] : []),
    ...(contract === undefined ? ["the contract (give --contract)"] : []),
    ...(log === undefined ? ["the log (give --log)"] : []),
  ];
  const node = `Trusted: the node at ${new URL(rpc).host}`;
  if (assumed.length === 0) return node;
  return `${node}, and the receipt's own word for ${assumed.join(", ")}`;
}

function timeText(seconds: bigint): string {
  return new Date(Number(seconds) * 1000).toISOString();
}

function nodeAddress(text: string): string {
  if (!/^https?:\/\/[^/]/.test(text) || !URL.canParse(text)) {
    throw new InvalidArgumentError("must be an address such as http://127.0.0.1:8545");
  }
  return text;
}

function chainId(text: string): bigint {
  if (!/^[0-9]+$/.test(text)) throw new InvalidArgumentError("must be a decimal number");
  return BigInt(text);
}

function address(text: string): string {
  if (!/^0x[0-9a-fA-F]{40}$/.test(text)) {
    throw new InvalidArgumentError("must be 0x and 40 hex digits");
  }
  return text.toLowerCase();
}
