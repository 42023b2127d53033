import { createHash } from "node:crypto";
import { toJson } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { Command } from "commander";
import {
  EvidenceService,
  EvidenceVerdict,
  VerifyEvidenceResponseSchema,
} from "../../gen/ts/anchord/v1/evidence_service_pb.js";
import type {
  VerifiedAnchor,
  VerifyEvidenceResponse,
} from "../../gen/ts/anchord/v1/evidence_service_pb.js";
import { formatOption } from "./arguments.js";
import type { Format } from "./arguments.js";
import { jsonLine } from "./columns.js";
import { ExitCode } from "./exit-code.js";
import { bytesOf, sizeOf } from "./file-bytes.js";
import { afterHelp, CLIENT_CODES } from "./help.js";
import { printable } from "./printable.js";
import { withProgress } from "./progress-bar.js";
import { connectServer, reporting, withServer } from "./server.js";
import type { ServerOptions } from "./server.js";

interface Options extends ServerOptions {
  readonly subject?: string;
  readonly format: Format;
}

const HELP = afterHelp({
  notes: `The file is hashed here, and only its SHA-256 is sent. The service asks the registry on the chain.`,
  examples: [
    "anchord evidence verify letter.pdf",
    "anchord evidence verify letter.pdf --subject complaint/ABC12345",
  ],
  codes: {
    ...CLIENT_CODES,
    ok: "it is anchored",
    broken: "it is not anchored, or not for that subject",
    unreachable: "the service or its chain cannot be reached",
  },
});

/** `anchord evidence verify`: says whether a file was anchored, for whom, by whom and when. */
export function evidenceVerifyCommand(): Command {
  const command = new Command("verify")
    .description("Say whether a file was anchored: for what, by whom and when.")
    .argument("<file>", "the file, or - for standard input")
    .option("--subject <subject>", "what it must be evidence for")
    .addOption(formatOption("a JSON object, or lines"))
    .addHelpText("after", HELP);
  return withServer(command).action(async (file: string, options: Options) => {
    process.exitCode = await reporting(options, () => verify(file, options));
  });
}

async function verify(file: string, options: Options): Promise<number> {
  const client = createClient(EvidenceService, connectServer(options));
  const { subject = "", format } = options;
  const metadata = { case: "metadata", value: { subject, sha256: await hashOf(file) } } as const;
  const answer = await client.verifyEvidence(
    (async function* () {
      yield { part: metadata };
    })(),
  );
  process.stdout.write(
    format === "json"
      ? jsonLine(toJson(VerifyEvidenceResponseSchema, answer))
      : verdictText(answer, subject),
  );
  return answer.verdict === EvidenceVerdict.VERIFIED ? ExitCode.ok : ExitCode.broken;
}

async function hashOf(file: string): Promise<string> {
  const size = await sizeOf(file);
  const hash = createHash("sha256");
  await withProgress("hash", "bytes", async (bar) => {
    for await (const chunk of bytesOf(file, size, bar)) hash.update(chunk);
  });
  return hash.digest("hex");
}

function verdictText(answer: VerifyEvidenceResponse, subject: string): string {
  const { verdict, sha256, anchors, contract, chainId } = answer;
  const where = `in registry ${contract} of chain ${chainId}`;
  const lines = anchors.map((anchor) => `  ${anchorText(anchor)}\n`).join("");
  switch (verdict) {
    case EvidenceVerdict.VERIFIED:
      return `VERIFIED: SHA-256 ${sha256} is anchored ${where}\n${lines}`;
    case EvidenceVerdict.OTHER_SUBJECT:
      return `NOT ANCHORED for ${printable(subject)}, but for others, ${where}\n${lines}`;
    default:
      return `NOT ANCHORED: SHA-256 ${sha256} is not known ${where}\n`;
  }
}

function anchorText({ subject, subjectKey, anchor }: VerifiedAnchor): string {
  const time = anchor?.blockTime && timestampDate(anchor.blockTime).toISOString();
  const block = `${time ?? ""} in block ${anchor?.blockNumber ?? 0n}`;
  return printable(`${subject || subjectKey}: ${block} by ${anchor?.submitter ?? ""}`);
}
