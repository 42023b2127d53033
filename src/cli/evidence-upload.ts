import { basename } from "node:path";
import type { JsonObject, MessageInitShape } from "@bufbuild/protobuf";
import { toJson } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { Command } from "commander";
import { EvidenceSchema } from "../../gen/ts/anchord/v1/evidence_pb.js";
import type { Evidence } from "../../gen/ts/anchord/v1/evidence_pb.js";
import { EvidenceService } from "../../gen/ts/anchord/v1/evidence_service_pb.js";
import type {
  UploadEvidenceMetadataSchema,
  UploadEvidenceRequestSchema,
} from "../../gen/ts/anchord/v1/evidence_service_pb.js";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import { digest, objectFormatOption, waitOption } from "./arguments.js";
import type { Format } from "./arguments.js";
import { fieldLines, jsonLine } from "./columns.js";
import { ExitCode } from "./exit-code.js";
import { bytesOf, sizeOf } from "./file-bytes.js";
import { afterHelp, CLIENT_CODES } from "./help.js";
import { withProgress } from "./progress-bar.js";
import { connectServer, reporting, withServer } from "./server.js";
import type { ServerOptions } from "./server.js";

interface Options extends ServerOptions {
  readonly subject: string;
  readonly actor?: string;
  readonly requestId?: string;
  readonly name?: string;
  readonly mediaType?: string;
  readonly derivedFrom?: string;
  readonly wait: RecordState;
  readonly format: Format;
}

const HELP = afterHelp({
  notes: `The same file for the same subject again is answered with what it was first.`,
  examples: [
    "anchord evidence upload letter.pdf --subject complaint/ABC12345 --wait anchored",
    "tar c photos | anchord evidence upload - --name photos.tar --subject complaint/ABC12345",
  ],
  codes: { ...CLIENT_CODES, notAnchored: "kept, but not as far as --wait says yet" },
});

/** `anchord evidence upload`: hands in a file. */
export function evidenceUploadCommand(): Command {
  const command = new Command("upload")
    .description("Hand in a file as evidence.")
    .usage("<file> --subject <subject> [options]")
    .argument("<file>", "the file, or - for standard input")
    .requiredOption("--subject <subject>", "what it is evidence for, such as complaint/ABC12345")
    .option("--actor <name>", "who hands it in")
    .option("--request-id <id>", "makes it safe to repeat")
    .option("--name <name>", "its name; by default that of the file")
    .option("--media-type <type>", "its media type, such as application/pdf")
    .option("--derived-from <id>", "id of the evidence that it derives from", digest)
    .addOption(waitOption(RecordState.ACCEPTED))
    .addOption(objectFormatOption())
    .addHelpText("after", HELP);
  return withServer(command).action(async (file: string, options: Options) => {
    process.exitCode = await reporting(options, () => upload(file, options));
  });
}

async function upload(file: string, options: Options): Promise<number> {
  const client = createClient(EvidenceService, connectServer(options));
  const size = await sizeOf(file);
  const { evidence } = await withProgress("upload", "bytes", (bar) =>
    client.uploadEvidence(parts(metadataOf(file, size, options), bytesOf(file, size, bar))),
  );
  if (evidence === undefined) throw new Error("the service has not said what it took");
  const { format, wait } = options;
  process.stdout.write(
    format === "json" ? jsonLine(toJson(EvidenceSchema, evidence)) : evidenceText(evidence),
  );
  return evidence.state < wait ? ExitCode.notAnchored : ExitCode.ok;
}

type Part = MessageInitShape<typeof UploadEvidenceRequestSchema>;

async function* parts(
  metadata: MessageInitShape<typeof UploadEvidenceMetadataSchema>,
  bytes: AsyncIterable<Uint8Array>,
): AsyncGenerator<Part> {
  yield { part: { case: "metadata", value: metadata } };
  for await (const value of bytes) yield { part: { case: "chunk", value } };
}

function metadataOf(
  file: string,
  size: number | undefined,
  options: Options,
): MessageInitShape<typeof UploadEvidenceMetadataSchema> {
  const { subject, actor = "", requestId = "", mediaType = "", derivedFrom = "" } = options;
  const { wait: waitFor, name: fileName = file === "-" ? "" : basename(file) } = options;
  const told = { subject, actor, requestId, mediaType, derivedFrom, fileName, waitFor };
  return size === undefined ? told : { ...told, size: BigInt(size) };
}

/** Evidence with a line for each of its members, safe to show on a terminal. */
function evidenceText(evidence: Evidence): string {
  return fieldLines(toJson(EvidenceSchema, evidence, { useProtoFieldName: true }) as JsonObject);
}
