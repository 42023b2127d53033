import { Command, InvalidArgumentError } from "commander";
import { looksLikeCar } from "../core/car.js";
import { looksLikeCertificate } from "../core/certificate-json.js";
import { AnchordError, messageOf } from "../core/errors.js";
import { logIdOf } from "../core/head.js";
import { receiptFromJson } from "../core/receipt-json.js";
import { checkReceipt } from "../core/receipt.js";
import type { ReceiptCheck } from "../core/receipt.js";
import { chainAt } from "./chain.js";
import { entryText } from "./entry-text.js";
import { ExitCode } from "./exit-code.js";
import { Input } from "./input.js";
import { printable } from "./printable.js";
import { trustText } from "./trust.js";
import type { VerifyOptions } from "./trust.js";
import { verifyBundle } from "./verify-bundle.js";
import { verifyCertificate } from "./verify-certificate.js";

/** `anchord verify`: checks a receipt, a certificate or a bundle against a chain, without the service. */
export function verifyCommand(): Command {
  return new Command("verify")
    .description(
      "Check a receipt, a certificate or a bundle against any Ethereum RPC node, without the service.",
    )
    .argument(
      "<file>",
      "JSON file of a receipt or of a certificate, CAR file of a bundle, or - for standard input",
    )
    .requiredOption("--rpc <url>", "HTTP address of an Ethereum node", nodeAddress)
    .option("--chain-id <id>", "the chain that it must be for", chainId)
    .option("--contract <address>", "the AuditLog contract that it must be for", address)
    .option("--log <name>", "the log that it must be for, by its LOG_NAME")
    .option(
      "--registry <address>",
      "the EvidenceRegistry that a bundle, or the SLARegistry that a certificate must be for",
      address,
    )
    .option("--file <file>", "a file that must be the one that a bundle is about")
    .addHelpText(
      "after",
      "\nExit codes: 0 valid, 1 false, 2 usage, 3 not anchored yet, 4 the node cannot be reached.",
    )
    .action(async (file: string, options: VerifyOptions) => {
      process.exitCode = await verify(file, options);
    });
}

async function verify(name: string, options: VerifyOptions): Promise<number> {
  const inputs: Input[] = [];
  try {
    for (const each of [name, options.file]) {
      if (each !== undefined) inputs.push(await Input.open(each));
    }
  } catch (error) {
    return usage(messageOf(error));
  }
  const [input, original] = inputs as [Input, Input?];
  try {
    const isBundle = looksLikeCar(input.start) || name.endsWith(".car");
    return isBundle
      ? await verifyBundle(input.bytes(), original?.bytes(), options)
      : await verifyJson(await input.text(), options);
  } catch (error) {
    if (!(error instanceof AnchordError) || error.reason !== "CHAIN_UNAVAILABLE") throw error;
    process.stderr.write(`UNREACHABLE: ${printable(error.message)}\n`);
    return ExitCode.unreachable;
  } finally {
    for (const each of inputs) each.close();
  }
}

async function verifyJson(text: string, options: VerifyOptions): Promise<number> {
  if (options.file !== undefined) return usage("--file is for bundles, and this is none");
  if (looksLikeCertificate(text)) return verifyCertificate(text, options);
  if (options.registry === undefined) return report(await check(text, options), options);
  return usage("--registry is for bundles and certificates, and this is a receipt");
}

function usage(message: string): number {
  process.stderr.write(`anchord: ${printable(message)}\n`);
  return ExitCode.usage;
}

async function check(text: string, options: VerifyOptions): Promise<ReceiptCheck> {
  const { rpc, chainId: chain, contract, log } = options;
  let receipt;
  try {
    receipt = receiptFromJson(text);
  } catch (error) {
    return { verdict: "invalid", step: "format", message: messageOf(error) };
  }
  const expected = { chainId: chain, contract, log: log === undefined ? undefined : logIdOf(log) };
  return checkReceipt(receipt, await chainAt(rpc), expected);
}

/** Prints what was found, and returns the exit code. */
function report(found: ReceiptCheck, options: VerifyOptions): number {
  const print = (line: string) => process.stdout.write(`${line}\n`);
  switch (found.verdict) {
    case "valid": {
      print(entryText(found.entry));
      print(`VALID: record ${found.id} is on the chain since ${timeText(found.batch.time)}`);
      print(trustText(options, "receipt"));
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
