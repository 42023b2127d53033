import type { UploadEvidenceMetadata } from "../../../gen/ts/anchord/v1/evidence_service_pb.js";
import { hex } from "../../core/bytes.js";
import { invalidFields } from "../../core/errors.js";
import type { FieldViolation } from "../../core/errors.js";
import { tooLarge } from "../../core/evidence.js";
import type { StagedFile } from "../../flow/evidence.js";
import { cidIn } from "./draft.js";

/** What a caller says that a file must be; what is undefined is not said. */
export interface Declared {
  /** In lower-case hex. */
  readonly sha256: string | undefined;
  readonly size: bigint | undefined;
  /** In its usual text form. */
  readonly cid: string | undefined;
}

/**
 * What is declared of a file, looked at before its first byte. Throws INVALID_FIELD for what no file can
 * be, EVIDENCE_TOO_LARGE.
 */
export function declaredIn(
  { sha256, size, cid }: UploadEvidenceMetadata,
  mostBytes: number,
): Declared {
  if (size !== undefined && size > BigInt(mostBytes)) throw tooLarge(mostBytes);
  return {
    sha256: sha256 === "" ? undefined : sha256.toLowerCase(),
    size,
    cid: cidIn(cid, "metadata.cid")?.text,
  };
}

/** The chunks of a file; throws INVALID_FIELD as soon as they have more bytes than were declared. */
export async function* noMoreThan(
  { size: declared }: Declared,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let came = 0n;
  for await (const chunk of chunks) {
    came += BigInt(chunk.length);
    if (declared !== undefined && came > declared) {
      throw invalidFields([mismatch("size", declared, `at least ${came}`)]);
    }
    yield chunk;
  }
}

/** Throws INVALID_FIELD where a file is not what was declared. */
export function requireDeclared(declared: Declared, file: StagedFile): void {
  const came = { sha256: hex(file.sha256), size: BigInt(file.size), cid: file.cid };
  const violations = (["sha256", "size", "cid"] as const).flatMap((name): FieldViolation[] => {
    const value = declared[name];
    if (value === undefined || value === came[name]) return [];
    return [mismatch(name, value, came[name])];
  });
  if (violations.length > 0) throw invalidFields(violations);
}

/** What is wrong where something else was declared of a file than what its bytes have. */
export function mismatch(
  name: keyof Declared,
  declared: bigint | string,
  came: bigint | string,
): FieldViolation {
  const description = `${declared} was declared, and the file that came has ${came}`;
  return { field: `metadata.${name}`, description };
}
