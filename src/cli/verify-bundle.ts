import { BundleFault, timeText } from "../core/bundle.js";
import type { FoundFile } from "../core/bundle.js";
import type { CheckedTrail } from "../core/bundle-trail.js";
import { hex } from "../core/bytes.js";
import { parseCid, rawSha256Of } from "../core/cid.js";
import { logIdOf } from "../core/head.js";
import { checkBundle, requireOriginal } from "./bundle.js";
import type { CheckedBundle } from "./bundle.js";
import { chainAt } from "./chain.js";
import { entryText } from "./entry-text.js";
import { ExitCode } from "./exit-code.js";
import { printable } from "./printable.js";
import { trustText } from "./trust.js";
import type { VerifyOptions } from "./trust.js";

/**
 * Checks a bundle, and a file that must be the one that it is about. Prints what was found, and resolves to
 * the exit code; rejects when the chain is out of reach.
 */
export async function verifyBundle(
  chunks: AsyncIterable<Uint8Array>,
  file: AsyncIterable<Uint8Array> | undefined,
  options: VerifyOptions,
): Promise<number> {
  const { rpc, chainId, contract, registry } = options;
  const log = options.log === undefined ? undefined : logIdOf(options.log);
  try {
    const expected = { chainId, contract, log, registry };
    const bundle = await checkBundle(chunks, await chainAt(rpc), expected);
    const original = file && (await requireOriginal(bundle.document, file));
    return report(bundle, original, options);
  } catch (error) {
    if (!(error instanceof BundleFault)) throw error;
    print(`FALSE at step ${error.step}: ${printable(error.message)}`);
    return ExitCode.failed;
  }
}

function report(
  bundle: CheckedBundle,
  original: FoundFile | undefined,
  options: VerifyOptions,
): number {
  const { entry, document, trail, anchor } = bundle;
  print(entryText(entry));
  for (const line of fileLines(bundle, original)) print(`file: ${printable(line)}`);
  print(`trail: ${trailText(trail)}`);
  if (anchor !== undefined) {
    const { submitter, time, blockNumber } = anchor;
    const where = `in block ${blockNumber} of ${timeText(time)}, registry ${document.contract}`;
    print(`anchor: by ${submitter} ${where}`);
  }
  const missing = missingFrom(bundle);
  for (const line of missing) print(`NOT ANCHORED: ${line}`);
  if (missing.length > 0) return ExitCode.notAnchored;
  const since = timeText(anchor?.time ?? 0);
  print(`VALID: evidence ${document.evidenceId} is on the chain since ${since}`);
  print(trustText(options, "bundle"));
  return ExitCode.ok;
}

/** What the chain does not prove yet. */
function missingFrom({ document, batch, anchor }: CheckedBundle): string[] {
  const evidence = `evidence ${document.evidenceId}`;
  return [
    ...(batch === undefined
      ? [`the record of ${evidence} had no proof yet when this was made: export it again`]
      : []),
    ...(anchor === undefined
      ? [`registry ${document.contract} has no anchor of ${evidence} yet: try again later`]
      : []),
  ];
}

function fileLines({ document, file }: CheckedBundle, original: FoundFile | undefined): string[] {
  const kept = file && `"${file.name}", ${describe(file)}`;
  if (original === undefined) {
    return [kept ?? `not in the bundle, only its SHA-256 ${document.sha256}: give it with --file`];
  }
  const given = `the one that was given has ${describe(original)}`;
  const other =
    isCidOf(document.cid, original) || document.cid === undefined
      ? []
      : [`CID ${document.cid} was handed in with it, is made in another way, and was not compared`];
  return [...(kept === undefined ? [] : [kept]), given, ...other];
}

function describe({ size, sha256, cid }: FoundFile): string {
  return `${size} bytes, SHA-256 ${sha256}, CID ${cid}`;
}

/** Whether a CID is that of a file, as far as can be told: there are many ways to import one. */
function isCidOf(text: string | undefined, file: FoundFile): boolean {
  const cid = text === undefined ? undefined : parseCid(text);
  const digest = cid && rawSha256Of(cid);
  return text === file.cid || (digest !== undefined && hex(digest) === file.sha256);
}

function trailText({ sealed, accepted }: CheckedTrail): string {
  const proven =
    sealed === 0 ? "none of its records is proven yet" : `records 0 to ${sealed - 1} are proven`;
  return accepted === 0 ? proven : `${proven}, ${accepted} more were not when this was made`;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
