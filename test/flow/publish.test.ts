import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import { hex, unhex } from "../../src/core/bytes.js";
import { genesisHead } from "../../src/core/head.js";
import { contentKeyOf, readManifest, readPiece } from "../../src/core/publication.js";
import { openEmbeddedContent } from "../../src/content/embedded.js";
import type { ContentStore } from "../../src/content/port.js";
import { migratedDataDir, startDaemon } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { allRecords, expectWhole, logOf, sealsOf } from "../support/log-checks.js";
import { randomOf, seedOfRun } from "../support/random.js";
import { recordSome, settled } from "../support/rebuild.js";
import { until } from "../support/until.js";

describe("What was sealed is published", function () {
  this.timeout(120_000);

  const seed = seedOfRun();
  const random = randomOf(seed);
  let daemon: Daemon | undefined;

  before(() => {
    console.log(`      SEED=${seed}`);
  });

  afterEach(() => daemon?.kill());

  it("soon after sealing: the head on the chain commits to exactly the entries", async () => {
    daemon = await startDaemon({ MAX_BATCH_RECORDS: "9" });
    await recordSome(daemon, random, 40);
    await settled(daemon);
    await expectPublished(daemon);
  });

  it("in its time: sealing does not wait for a content store that cannot be written", async () => {
    const dataDir = await migratedDataDir();
    const folder = join(dataDir, "ipfs");
    rmSync(folder, { recursive: true, force: true });
    writeFileSync(folder, "in the way");
    const running = (daemon = await startDaemon({ DATA_DIR: dataDir, MAX_BATCH_RECORDS: "5" }));
    for (let batch = 0; batch < 3; batch++) {
      await recordSome(running, random, 5);
      const { state } = await running.grpc.recordEvent({
        subject: "user/1",
        body: { case: "custom", value: { type: "test" } },
        waitFor: RecordState.ANCHORED,
      });
      expect(state).to.be.at.least(RecordState.ANCHORED);
    }
    await until("the log says why", () =>
      /the content store cannot (read|write to) \S*ipfs \(ENOTDIR\)/.test(running.log()),
    );
    await expectWhole(running);
    rmSync(folder);
    await settled(running);
    await expectPublished(running);
  });

  /** All batches in the content store, read with the key and nothing of the database. */
  async function expectPublished(running: Daemon): Promise<void> {
    const content = openEmbeddedContent({
      folder: join(running.dataDir, "ipfs"),
      listen: [],
      peers: [],
    });
    const genesis = genesisHead(await logOf(running));
    const key = contentKeyOf(
      unhex(readFileSync(join(running.dataDir, "keys", "content.key"), "utf8").trim()),
    );
    const published: string[] = [];
    for (const { seal } of await sealsOf(running)) {
      const manifest = readManifest(
        await blockOf(content, seal.manifestDigest),
        seal.manifestDigest,
      );
      expect(hex(manifest.keyId)).to.equal(hex(key.id));
      const entries: string[] = [];
      for (const [i, digest] of manifest.pieces.entries()) {
        const secrets = { key, genesisHead: genesis, root: seal.root };
        const piece = readPiece(await blockOf(content, digest), digest, i, secrets);
        entries.push(...piece.map(hex));
      }
      expect(entries).to.have.length(Number(seal.size));
      published.push(...entries);
    }
    const entries: string[] = [];
    for (const { id } of await allRecords(running)) {
      const { receipt } = await running.grpc.getReceipt({ recordId: id });
      entries.push(hex(receipt!.entry));
    }
    expect(published).to.deep.equal(entries);
  }

  async function blockOf(content: ContentStore, digest: Uint8Array): Promise<Uint8Array> {
    const block = await content.get(digest);
    if (block === undefined) throw new Error(`there is no block ${hex(digest)}`);
    return block;
  }
});
