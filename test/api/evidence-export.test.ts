import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { CarReader } from "@ipld/car";
import { expect } from "chai";
import { exporter, walkPath } from "ipfs-unixfs-exporter";
import type { UnixFSEntry } from "ipfs-unixfs-exporter";
import type { Evidence } from "../../gen/ts/anchord/v1/evidence_pb.js";
import { LoginSchema, RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import { web3Chain } from "../../src/chain/web3.js";
import { checkBundle, requireOriginal } from "../../src/cli/bundle.js";
import { BundleFault } from "../../src/core/bundle.js";
import type { ExpectedBundle } from "../../src/core/bundle.js";
import { hex, sha256 } from "../../src/core/bytes.js";
import { receiptFromJson } from "../../src/core/receipt-json.js";
import { checkReceipt } from "../../src/core/receipt.js";
import { pieces } from "../support/bundle.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { databasesOfRun } from "../support/databases.js";
import { DOORS, GRPC_DOOR, refusalOf } from "../support/doors.js";
import type { AuditClient, Door } from "../support/doors.js";
import { evidenceClient, randomFile, stagedBy, uploaded } from "../support/evidence.js";
import type { EvidenceClient, UploadMetadata } from "../support/evidence.js";
import { randomOf, seedOfRun } from "../support/random.js";
import { repositoryRoot } from "../support/repository.js";
import { run } from "../support/run.js";
import { until } from "../support/until.js";

const { ANCHORED } = RecordState;

const seed = seedOfRun();
const random = randomOf(seed);

let made = 0;
/** A subject that no other test uses. */
const newSubject = () => `complaint/${made++}`;

/** What a caller gets of an export. */
async function exported(client: EvidenceClient, id: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const { chunk } of client.exportEvidence({ id })) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** What `anchord verify` says of bytes. */
async function verified(daemon: Daemon, bytes: Uint8Array, ...args: string[]) {
  const file = join(temporaryFolder(), "bundle");
  await writeFile(file, bytes);
  return verifiedFile(daemon, file, ...args);
}

function verifiedFile({ rpcUrl }: Daemon, ...args: string[]) {
  const program = join(repositoryRoot, "bin/anchord.js");
  return run(process.execPath, [program, "verify", "--rpc", rpcUrl, ...args]);
}

/** What the same check finds in this process; it starts at once. */
function checked({ rpcUrl }: Daemon, car: Uint8Array, expected: ExpectedBundle = {}) {
  return checkBundle(pieces(car), web3Chain(rpcUrl), expected);
}

/** The members of a bundle, as any IPFS software reads them. */
async function browsed(car: Uint8Array): Promise<Map<string, Buffer>> {
  const reader = await CarReader.fromBytes(car);
  const [root] = await reader.getRoots();
  const blocks = { get: async (cid: never) => (await reader.get(cid))?.bytes } as never;
  const directory = await exporter(String(root), blocks);
  const members = new Map<string, Buffer>();
  for await (const { name } of directory.content() as AsyncIterable<UnixFSEntry>) {
    const member = await last(walkPath(`${String(root)}/${encodeURIComponent(name)}`, blocks));
    const bytes: Uint8Array[] = [];
    for await (const piece of member.content() as AsyncIterable<Uint8Array>) bytes.push(piece);
    members.set(name, Buffer.concat(bytes));
  }
  return members;
}

async function last<T>(items: AsyncIterable<T>): Promise<T> {
  let found: T | undefined;
  for await (const item of items) found = item;
  return found as T;
}

for (const database of databasesOfRun(seed)) {
  describe(`ExportEvidence on ${database.name}`, function () {
    this.timeout(60_000);

    let daemon: Daemon | undefined;

    before(async function () {
      this.timeout(300_000);
      console.log(`      seed ${seed}`);
      const settings = await database.settings();
      if (settings === undefined) return this.skip();
      daemon = await startDaemon(settings);
    });

    after(() => daemon?.stop());

    for (const door of DOORS) {
      describe(`through the ${door.name} door`, () => behaves(() => daemon as Daemon, door));
    }
  });
}

function behaves(running: () => Daemon, door: Door): void {
  let daemon: Daemon;
  let client: EvidenceClient;
  let audit: AuditClient;

  before(() => {
    daemon = running();
    client = evidenceClient(door, daemon);
    audit = door.client(daemon);
  });

  const anchored = (metadata: UploadMetadata, bytes: Uint8Array) =>
    uploaded(client, { waitFor: ANCHORED, ...metadata }, bytes);

  /** Records something, and waits until it is sealed with all before it. */
  const record = (subject: string) => {
    const value = create(LoginSchema, { user: "ada", success: true });
    return audit.recordEvent({ subject, body: { case: "login", value }, waitFor: ANCHORED });
  };

  it("gives one file with all that proves a file, which is checked without the service", async () => {
    const subject = newSubject();
    await record(subject);
    const bytes = randomFile(random, 600_000);
    const evidence = await anchored({ subject, fileName: "Brief & Antwort.pdf" }, bytes);
    await record(subject);
    const car = await exported(client, evidence.id);
    const found = await checked(daemon, car);
    expect(found.file).to.deep.equal({
      name: "Brief & Antwort.pdf",
      sha256: hex(sha256(bytes)),
      size: 600_000,
      cid: evidence.cid,
    });
    expect(found.trail).to.deep.equal({ sealed: 3, accepted: 0 });
    expect(found.anchor?.submitter).to.equal(evidence.anchor?.submitter);
    expect(found.batch).not.to.equal(undefined);
    expect(await stagedBy(daemon)).to.deep.equal([]);
  });

  it("can be browsed as what it is: a directory of IPFS", async () => {
    const subject = newSubject();
    const bytes = randomFile(random, 300_000);
    const { id, cid } = await anchored({ subject, fileName: "a.bin" }, bytes);
    const members = await browsed(await exported(client, id));
    expect([...members.keys()]).to.deep.equal([
      "a.bin",
      "evidence.json",
      "receipt.json",
      "trail.jsonl",
    ]);
    expect(members.get("a.bin")?.equals(bytes)).to.equal(true);
    expect(JSON.parse(String(members.get("evidence.json")))).to.deep.include({
      format: "anchord/evidence/v1",
      subject,
      sha256: hex(sha256(bytes)),
      cid,
      size: "300000",
      evidenceId: id,
    });
    const receipt = members.get("receipt.json") as Buffer;
    expect(String(members.get("trail.jsonl")).split("\n")).to.deep.include(String(receipt).trim());
  });

  it("has a receipt that `anchord verify` takes by itself", async () => {
    const subject = newSubject();
    const { id } = await anchored({ subject }, randomFile(random, 10));
    await record(subject);
    const members = await browsed(await exported(client, id));
    const receipt = receiptFromJson(String(members.get("receipt.json")));
    const found = await checkReceipt(receipt, web3Chain(daemon.rpcUrl));
    expect(found).to.deep.include({ verdict: "valid", id });
  });

  it("is valid with an empty file, and with one called as a document is", async () => {
    for (const fileName of ["", "Evidence.JSON", "receipt.json", "trail.jsonl"]) {
      const subject = newSubject();
      const { id } = await anchored({ subject, fileName }, new Uint8Array(0));
      await record(subject);
      const car = await exported(client, id);
      expect([...(await browsed(car)).keys()]).to.include("evidence");
      const { file, batch, anchor } = await checked(daemon, car);
      expect(file).to.deep.include({ name: "evidence", size: 0 });
      expect([batch, anchor]).not.to.include(undefined);
    }
  });

  it("is checked against what is expected, and is false where it is for something else", async () => {
    const subject = newSubject();
    const { id } = await anchored({ subject }, randomFile(random, 10));
    const { receipt } = await record(subject);
    const car = await exported(client, id);
    const { document } = await checked(daemon, car);
    const { log } = receipt?.identity ?? {};
    const contract = receipt?.identity?.contract as string;
    const registry = document.contract;
    await checked(daemon, car, { chainId: 1337n, contract, log, registry });
    for (const [expected, step] of [
      [{ chainId: 1n }, "receipt/identity"],
      [{ contract: registry }, "receipt/identity"],
      [{ log: new Uint8Array(32) }, "receipt/identity"],
      [{ registry: contract }, "registry"],
    ] as const) {
      const fault: unknown = await checked(daemon, car, expected).catch((error: unknown) => error);
      expect(fault).to.be.instanceOf(BundleFault).and.to.have.property("step", step);
    }
  });

  it("has no file where only its hash was handed in", async () => {
    const subject = newSubject();
    const bytes = randomFile(random, 1000);
    const { id } = await anchoredHash(client, subject, bytes);
    await record(subject);
    const car = await exported(client, id);
    expect([...(await browsed(car)).keys()]).not.to.include("secret.txt");
    const { file, document } = await checked(daemon, car);
    expect(file).to.equal(undefined);
    expect((await requireOriginal(document, pieces(bytes))).size).to.equal(1000);

    // Its owner may still hand it in.
    await anchored({ subject, fileName: "secret.txt" }, bytes);
    const after = await checked(daemon, await exported(client, id));
    expect(after.file).to.deep.include({ name: "secret.txt", size: 1000 });
  });

  it("leaves nothing behind where the caller goes away", async () => {
    const { id } = await anchored({ subject: newSubject() }, randomFile(random, 3_000_000));
    const caller = new AbortController();
    const leaving = async () => {
      for await (const { chunk } of client.exportEvidence({ id }, { signal: caller.signal })) {
        expect(chunk).not.to.have.lengthOf(0);
        caller.abort();
      }
    };
    expect((await refusalOf(leaving())).code).to.equal("Canceled");
    await until("nothing is staged", async () => (await stagedBy(daemon)).length === 0);
  });

  it("fails with EVIDENCE_NOT_FOUND for an id that is none", async () => {
    const id = "0".repeat(64);
    expect((await refusalOf(exported(client, id))).reason).to.equal(
      "ERROR_REASON_EVIDENCE_NOT_FOUND",
    );
    const { recordId } = await record(newSubject());
    expect((await refusalOf(exported(client, recordId))).reason).to.equal(
      "ERROR_REASON_EVIDENCE_NOT_FOUND",
    );
  });
}

async function anchoredHash(client: EvidenceClient, subject: string, bytes: Uint8Array) {
  const { evidence } = await client.anchorEvidence({
    subject,
    fileName: "secret.txt",
    sha256: hex(sha256(bytes)),
    size: BigInt(bytes.length),
    waitFor: ANCHORED,
  });
  return evidence as Evidence;
}

/** Waits until evidence's record is sealed: its anchor is another transaction. */
function sealed(daemon: Daemon, id: string): Promise<void> {
  return until("its record is sealed", async () => {
    const { state } = await daemon.grpc.getReceipt({ recordId: id });
    return state >= ANCHORED;
  });
}

describe("anchord verify, with a bundle", function () {
  this.timeout(120_000);

  let daemon: Daemon;
  let client: EvidenceClient;

  before(async function () {
    this.timeout(300_000);
    // Nothing answers there, so files wait for the content store.
    daemon = await startDaemon({ IPFS_API_URL: "http://127.0.0.1:9" });
    client = evidenceClient(GRPC_DOOR, daemon);
  });

  after(() => daemon?.stop());

  it("says what it proves, and whose word that rests on", async () => {
    const bytes = randomFile(random, 300_000);
    const metadata = { subject: newSubject(), fileName: "a.pdf", waitFor: ANCHORED };
    const { id, anchor } = await uploaded(client, metadata, bytes);
    await sealed(daemon, id);
    const car = await exported(client, id);
    const { code, stdout, stderr } = await verified(daemon, car);
    expect(code, stdout + stderr).to.equal(0);
    expect(stdout)
      .to.include(`file: "a.pdf", 300000 bytes, SHA-256 ${hex(sha256(bytes))}`)
      .and.to.include("trail: records 0 to 0 are proven\n")
      .and.to.include(`anchor: by ${anchor?.submitter} in block`)
      .and.to.include(`VALID: evidence ${id} is on the chain since`)
      .and.to.include("the bundle's own word for the chain (give --chain-id)");

    const pinned = ["--chain-id", "1337", "--log", "default"];
    const named = await verified(daemon, car, ...pinned, "--registry", `0x${"0f".repeat(20)}`);
    expect(named.code).to.equal(1);
    expect(named.stdout).to.match(/^FALSE at step registry: the bundle is for registry 0x/);
    const cut = await verified(daemon, car.subarray(0, car.length - 1));
    expect(cut.code).to.equal(1);
    expect(cut.stdout).to.match(/^FALSE at step blocks: it is cut short/);
  });

  it("compares the file that somebody has with evidence of its hash", async () => {
    const bytes = randomFile(random, 1000);
    const { id } = await anchoredHash(client, newSubject(), bytes);
    await sealed(daemon, id);
    const folder = temporaryFolder();
    const write = (name: string, content: Uint8Array) => writeFile(join(folder, name), content);
    await write("bundle", await exported(client, id));
    await write("same", bytes);
    await write("other", Buffer.concat([bytes, Buffer.of(0)]));
    const compared = (...names: string[]) =>
      verifiedFile(
        daemon,
        join(folder, "bundle"),
        ...names.flatMap((n) => ["--file", join(folder, n)]),
      );
    const alone = await compared();
    expect(alone.code, alone.stdout).to.equal(0);
    expect(alone.stdout).to.include("file: not in the bundle, only its SHA-256");
    const same = await compared("same");
    expect(same.code, same.stdout).to.equal(0);
    expect(same.stdout).to.include("file: the one that was given has 1000 bytes");
    const other = await compared("other");
    expect(other.code).to.equal(1);
    expect(other.stdout).to.match(/^FALSE at step file: the file has SHA-256/);
    expect((await compared("none")).code).to.equal(2);
  });

  it("says that nothing answers where the node is away", async () => {
    const { id } = await uploaded(client, { subject: newSubject() }, new Uint8Array(0));
    const car = await exported(client, id);
    const away = await verified({ ...daemon, rpcUrl: "http://127.0.0.1:9" }, car);
    expect(away.code).to.equal(4);
    expect(away.stderr).to.match(/^UNREACHABLE: /);
  });
});
