import { BundleFault, timeText } from "../core/bundle.js";
import type { FoundFile } from "../core/bundle.js";
import type { CheckedTrail } from "../core/bundle-trail.js";
import { hex } from "../core/bytes.js";
import { parseCid, rawSha256Of } from "../core/cid.js";
import { logIdOf } from "../core/head.js";
import { checkBundle, requireOriginal } from "./bundle.js";
import type { CheckedBundle } from "./bundle.js";
import { chainAt } from "./chain.js";
import { entryFields, entryText } from "./entry-text.js";
import { printable } from "./printable.js";
import { trustedWords } from "./trust.js";
import type { VerifyOptions } from "./trust.js";
import type { VerifyResult } from "./verify-result.js";

/**
 * Checks a bundle, and a file that must be the one that it is about. Rejects when the chain is out of reach.
 */
export async function verifyBundle(
  chunks: AsyncIterable<Uint8Array>,
  file: AsyncIterable<Uint8Array> | undefined,
  options: VerifyOptions,
): Promise<VerifyResult> {
  const { rpc, chainId, contract, registry, difficulty } = options;
  const log = options.log === undefined ? undefined : logIdOf(options.log);
  try {
    const expected = { chainId, contract, log, registry, difficulty };
    const bundle = await checkBundle(chunks, await chainAt(rpc), expected);
    const original = file && (await requireOriginal(bundle.document, file));
    return resultOf(bundle, original, options);
  } catch (error) {
    if (!(error instanceof BundleFault)) throw error;
    return { verdict: "FALSE", failedStep: error.step, message: error.message };
  }
}

function resultOf(
  bundle: CheckedBundle,
  original: FoundFile | undefined,
  options: VerifyOptions,
): VerifyResult {
  const lines = linesOf(bundle, original);
  const found = foundIn(bundle);
  const messages = missingFrom(bundle);
  if (messages.length > 0) return { verdict: "NOT_ANCHORED", lines, found, messages };
  const since = timeText(bundle.anchor?.time ?? 0);
  return {
    verdict: "VALID",
    lines,
    found,
    message: `evidence ${bundle.document.evidenceId} is on the chain since ${since}`,
    trusted: trustedWords(options, "bundle"),
  };
}

function linesOf(bundle: CheckedBundle, original: FoundFile | undefined): string[] {
  const { entry, document, trail, anchor } = bundle;
  const lines = [
    entryText(entry),
    ...fileLines(bundle, original).map((line) => `file: ${printable(line)}`),
    `trail: ${trailText(trail)}`,
  ];
  if (anchor === undefined) return lines;
  const { submitter, time, blockNumber } = anchor;
  const where = `in block ${blockNumber} of ${timeText(time)}, registry ${document.contract}`;
  return [...lines, `anchor: by ${submitter} ${where}`];
}

function foundIn({ entry, document, file, trail, batch, anchor }: CheckedBundle) {
  return {
    record: { id: document.evidenceId, ...entryFields(entry) },
    block_time: batch === undefined ? null : timeText(Number(batch.time)),
    file: file === undefined ? null : { ...file },
    trail: { ...trail },
    anchor:
      anchor === undefined
        ? null
        : {
            registry: document.contract,
            submitter: anchor.submitter,
            block_number: anchor.blockNumber,
            block_time: timeText(anchor.time),
          },
  };
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
