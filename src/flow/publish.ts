import { hex, sameBytes } from "../core/bytes.js";
import { genesisHead } from "../core/head.js";
import type { LogId } from "../core/head.js";
import { publicationOf } from "../core/publication.js";
import type { Publication } from "../core/publication.js";
import type { ContentKeys } from "../content/keys.js";
import type { ContentStore } from "../content/port.js";
import { findBatch } from "../store/batches.js";
import type { Database } from "../store/database.js";
import { firstUnpublished, markPublished } from "../store/publications.js";
import type { Unpublished } from "../store/publications.js";
import { entriesOf } from "../store/records.js";
import { faultPoint } from "./faults.js";
import type { Turn } from "./loop.js";

/** Where the contents of batches go, and the keys that they are encrypted with. */
export interface Archive {
  readonly content: ContentStore;
  readonly keys: ContentKeys;
}

/** Brings the contents of batches to the content store, one after the other. */
export class Publisher {
  /** The last batch that was sealed here, so that it need not be encrypted twice. */
  #sealed: { readonly number: number; readonly publication: Publication } | undefined;

  constructor(
    private readonly database: Database,
    private readonly archive: Archive,
  ) {}

  /** Hands over what a batch that was just stored is published as. */
  offer(number: number, publication: Publication): void {
    this.#sealed = { number, publication };
  }

  /**
   * Publishes the first batch that is not published yet. Its content can be made again from the
   * database, byte for byte what its digest was made of: it does not matter how often this is cut short.
   */
  async turn(log: LogId): Promise<Turn> {
    const next = await firstUnpublished(this.database);
    if (next === undefined) return "idle";
    const { batchNumber } = next;
    const { manifest, pieces } = this.#take(batchNumber) ?? (await this.#remake(next, log));
    const { content } = this.archive;
    for (const piece of pieces) await content.put(piece);
    await faultPoint("publish.before-manifest");
    await content.put(manifest);
    await faultPoint("publish.before-commit");
    await markPublished(this.database, batchNumber);
    return "again";
  }

  #take(batchNumber: number): Publication | undefined {
    const sealed = this.#sealed;
    if (sealed?.number !== batchNumber) return undefined;
    this.#sealed = undefined;
    return sealed.publication;
  }

  async #remake({ batchNumber, keyId }: Unpublished, log: LogId): Promise<Publication> {
    const key = this.archive.keys.find(keyId);
    if (key === undefined) {
      throw new Error(
        `batch ${batchNumber} is to be published with content key ${hex(keyId)}, which this service ` +
          "does not have: set CONTENT_KEY to it, or put it into the folder keys of DATA_DIR",
      );
    }
    const batch = await findBatch(this.database, batchNumber);
    if (batch === undefined) throw new Error(`batch ${batchNumber} is missing from the database`);
    const { seal, firstSeq, createTime } = batch;
    const entries = await entriesOf(this.database, firstSeq, firstSeq + Number(seal.size));
    const secrets = { key, genesisHead: genesisHead(log), root: seal.root, createTime };
    const publication = publicationOf(entries, secrets);
    if (sameBytes(publication.digest, seal.manifestDigest)) return publication;
    throw new Error(
      `the records of batch ${batchNumber} are not those that were sealed: run VerifyLog`,
    );
  }
}
