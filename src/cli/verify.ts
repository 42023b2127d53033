import { Command, InvalidArgumentError } from "commander";
import { looksLikeCar } from "../core/car.js";
import { looksLikeCertificate } from "../core/certificate-json.js";
import { isChainAway, messageOf } from "../core/errors.js";
import { textFormatOption } from "./arguments.js";
import { ExitCode } from "./exit-code.js";
import { afterHelp } from "./help.js";
import { Input } from "./input.js";
import { printable } from "./printable.js";
import type { VerifyOptions } from "./trust.js";
import { verifyBundle } from "./verify-bundle.js";
import { verifyCertificate } from "./verify-certificate.js";
import { verifyReceipt } from "./verify-receipt.js";
import { printResult } from "./verify-result.js";
import type { VerifyResult } from "./verify-result.js";

/** `anchord verify`: checks a receipt, a certificate or a bundle against a chain, without the service. */
export function verifyCommand(): Command {
  return new Command("verify")
    .description(
      "Check a receipt, a certificate or a bundle against any Ethereum RPC node, without the service.",
    )
    .usage("<file> --rpc <url> [options]")
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
    .option(
      "--difficulty <digits>",
      "zero hex digits that the head of each batch must start with, whatever the contract asks for",
      difficulty,
    )
    .option("--file <file>", "a file that must be the one that a bundle is about")
    .addOption(textFormatOption())
    .addHelpText(
      "after",
      afterHelp({
        examples: [
          "anchord verify receipt.json --rpc http://127.0.0.1:8545",
          "anchord verify bundle.car --rpc https://node.example --chain-id 1 --contract 0x…",
        ],
        codes: {
          ok: "valid",
          broken: "false",
          usage: "usage",
          notAnchored: "not anchored yet",
          unreachable: "the node cannot be reached",
        },
      }),
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
  try {
    const [input, original] = inputs as [Input, Input?];
    const isBundle = looksLikeCar(input.start) || name.endsWith(".car");
    const result = isBundle
      ? await verifyBundle(input.bytes(), original?.bytes(), options)
      : await verifyJson(await input.text(), options);
    return printResult(result, options.format);
  } catch (error) {
    if (error instanceof InvalidArgumentError) return usage(error.message);
    if (!isChainAway(error)) throw error;
    process.stderr.write(`UNREACHABLE: ${printable(error.message)}\n`);
    return ExitCode.unreachable;
  } finally {
    for (const each of inputs) each.close();
  }
}

function verifyJson(text: string, options: VerifyOptions): Promise<VerifyResult> {
  const refuse = (message: string) => new InvalidArgumentError(message);
  if (options.file !== undefined) throw refuse("--file is for bundles, and this is none");
  if (looksLikeCertificate(text)) return verifyCertificate(text, options);
  if (options.registry === undefined) return verifyReceipt(text, options);
  throw refuse("--registry is for bundles and certificates, and this is a receipt");
}

function usage(message: string): number {
  process.stderr.write(`anchord: ${printable(message)}\n`);
  return ExitCode.usage;
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

function difficulty(text: string): number {
  if (/^(\d|[1-5]\d|6[0-4])$/.test(text)) return Number(text);
  throw new InvalidArgumentError("must be a number from 0 to 64");
}
