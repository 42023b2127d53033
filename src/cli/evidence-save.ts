import { createHash } from "node:crypto";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import type { Client } from "@connectrpc/connect";
import { Command } from "commander";
import { EvidenceService } from "../../gen/ts/anchord/v1/evidence_service_pb.js";
import { digest } from "./arguments.js";
import { ExitCode } from "./exit-code.js";
import { afterHelp, CLIENT_CODES } from "./help.js";
import { writeOutput } from "./write-output.js";
import type { Output } from "./write-output.js";
import { withProgress } from "./progress-bar.js";
import type { Progress } from "./progress-bar.js";
import { connectServer, reporting, withServer } from "./server.js";
import type { ServerOptions } from "./server.js";

type EvidenceClient = Client<typeof EvidenceService>;

interface Options extends ServerOptions {
  readonly out: string;
  readonly force?: boolean;
}

/** What fetches the bytes of evidence. */
type Fetch = (client: EvidenceClient, id: string, output: Output, bar: Progress) => Promise<void>;

/** `anchord evidence download`: saves a file that was handed in. */
export function evidenceDownloadCommand(): Command {
  const help = afterHelp({
    notes: `Its SHA-256 is compared with what was handed in. The file appears once all of it is there.`,
    examples: [
      "anchord evidence download 9f2c… --out letter.pdf",
      "anchord evidence download 9f2c… --out - | tar t",
    ],
    codes: { ...CLIENT_CODES, broken: "the content store lost it, or has it altered" },
  });
  const command = new Command("download")
    .description("Save a file that was handed in.")
    .addHelpText("after", help);
  return saving(command, "file to write, or - for standard output", download);
}

/** `anchord evidence export`: saves what proves evidence as one file. */
export function evidenceExportCommand(): Command {
  const help = afterHelp({
    notes: `The bundle is a CAR file with the file, its receipt and its trail: "anchord verify" checks it against any
node, without the service.`,
    examples: [
      "anchord evidence export 9f2c… --out bundle.car",
      "anchord verify bundle.car --rpc http://127.0.0.1:8545",
    ],
    codes: { ...CLIENT_CODES, broken: "the content store lost the file, or has it altered" },
  });
  const command = new Command("export")
    .description("Save everything that proves evidence as one file.")
    .addHelpText("after", help);
  return saving(command, "bundle to write, or - for standard output", bundle);
}

function saving(command: Command, out: string, fetch: Fetch): Command {
  const full = command
    .usage("<id> --out <file> [options]")
    .argument("<id>", "id of the evidence: 64 hex digits", digest)
    .requiredOption("--out <file>", out)
    .option("--force", "replace a file that is there already");
  return withServer(full).action(async (id: string, options: Options) => {
    process.exitCode = await reporting(options, () => save(id, options, fetch));
  });
}

async function save(id: string, options: Options, fetch: Fetch): Promise<number> {
  const client = createClient(EvidenceService, connectServer(options));
  await writeOutput(options.out, { replace: options.force === true }, (output) =>
    withProgress("download", "bytes", (bar) => fetch(client, id, output, bar)),
  );
  return ExitCode.ok;
}

async function download(
  client: EvidenceClient,
  id: string,
  output: Output,
  bar: Progress,
): Promise<void> {
  const hash = createHash("sha256");
  let [sha256, size, done] = ["", 0, 0];
  for await (const { part } of client.downloadEvidence({ id })) {
    if (part.case === "evidence") [sha256, size] = [part.value.sha256, Number(part.value.size)];
    if (part.case !== "chunk") continue;
    hash.update(part.value);
    await output.write(part.value);
    bar.show((done += part.value.length), size);
  }
  const found = hash.digest("hex");
  if (found === sha256) return;
  const message = `what came has SHA-256 ${found}, and ${sha256} was handed in`;
  throw new ConnectError(message, Code.DataLoss);
}

async function bundle(
  client: EvidenceClient,
  id: string,
  output: Output,
  bar: Progress,
): Promise<void> {
  const { evidence } = await client.getEvidence({ id });
  const leastSize = Number(evidence?.size ?? 0n); // that of the file: most of a bundle
  let done = 0;
  for await (const { chunk } of client.exportEvidence({ id })) {
    await output.write(chunk);
    done += chunk.length;
    bar.show(done, Math.max(done, leastSize));
  }
}
