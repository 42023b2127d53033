import { create } from "@bufbuild/protobuf";
import { EvidenceAddedSchema } from "../../gen/ts/anchord/v1/record_pb.js";
import { hex, sha256 } from "../../src/core/bytes.js";
import { cidOfBytes } from "../../src/core/cid.js";
import { subjectKey } from "../../src/core/evidence.js";
import { encodeRecord } from "../../src/core/record.js";
import type { EncodedRecord } from "../../src/core/record.js";
import type { EvidenceItem } from "../../src/chain/port.js";
import type { Database } from "../../src/store/database.js";
import { appendEvidence, evidenceByRecord, listEvidence } from "../../src/store/evidence.js";
import type { StoredEvidence } from "../../src/store/evidence.js";
import { asArgument } from "./evidence-registry.js";
import type { ExternalChain } from "./external-chain.js";

/** A file that was made up: the service never had its bytes. */
export interface MadeUpFile {
  readonly digest: Uint8Array;
  readonly cid: string;
  readonly size: number;
}

/** A file by its name. */
export function fileNamed(name: string): MadeUpFile {
  const digest = sha256(Buffer.from(name));
  const cid = cidOfBytes(Buffer.concat([Buffer.from("01551220", "hex"), digest]));
  return { digest, cid: cid?.text ?? "", size: 1_000 + name.length };
}

/** What of a file a caller hands in. */
export type Given = "file" | "hash" | "hash, CID and size";

/** The record of evidence, as the desk would make it. */
export function evidenceRecord(subject: string, file: MadeUpFile, given: Given): EncodedRecord {
  const value = create(EvidenceAddedSchema, {
    sha256: hex(file.digest),
    contentKept: given === "file",
    ...(given === "hash" ? {} : { cid: file.cid, size: BigInt(file.size) }),
  });
  return encodeRecord({
    caller: "local",
    subject,
    actor: "actor",
    occurTime: undefined,
    body: { case: "evidenceAdded", value },
    request: undefined,
  });
}

/** Puts evidence into the log, as the desk would, without the bytes of its file. */
export async function addEvidence(
  database: Database,
  subject: string,
  file: MadeUpFile,
  given: Given,
): Promise<StoredEvidence> {
  const record = evidenceRecord(subject, file, given);
  const columns = {
    subjectKey: subjectKey(subject),
    digest: file.digest,
    cid: given === "hash" ? "" : file.cid,
    size: given === "hash" ? undefined : file.size,
    content: given === "file" ? "PENDING" : "NONE",
  } as const;
  await database.transact((trx) => appendEvidence(trx, record, columns));
  return evidenceOf(database, record.id);
}

/** Evidence by the id of its record. */
export async function evidenceOf(database: Database, id: Uint8Array): Promise<StoredEvidence> {
  const evidence = await database.read((db) => evidenceByRecord(db, id));
  if (evidence === undefined) throw new Error(`there is no evidence ${hex(id)}`);
  return evidence;
}

/** All evidence, in the order of acceptance. */
export function allEvidence(database: Database): Promise<StoredEvidence[]> {
  const options = { newestFirst: false, behind: undefined, limit: 10_000 };
  return listEvidence(database, {}, options);
}

/** Anchors evidence as somebody else: with an account that no daemon has. */
export async function anchorAsStranger(
  { registry, admin }: ExternalChain,
  items: readonly EvidenceItem[],
): Promise<void> {
  const role = await registry.methods.ANCHORER_ROLE().call();
  await registry.methods.grantRole(role, admin).send({ from: admin });
  const { anchorEvidence } = registry.methods;
  await anchorEvidence(items.map(asArgument)).send({ from: admin, gas: "3000000" });
}
