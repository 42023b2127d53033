import {
  cpSync,
  existsSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { expect } from "chai";
import { ReceiptVerdict } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import type { SealedEvent } from "../../src/chain/port.js";
import { hex } from "../../src/core/bytes.js";
import type { FaultPoint } from "../../src/flow/faults.js";
import type { Tables } from "../../src/store/tables.js";
import { startDaemon, startFails, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { expectWhole, sealsOf } from "../support/log-checks.js";
import { HONEST, startLyingNode } from "../support/lying-node.js";
import { sharedMysql } from "../support/mysql.js";
import { randomOf, seedOfRun } from "../support/random.js";
import { rebuild, recordSome, settled } from "../support/rebuild.js";
import type { Event } from "../support/rebuild.js";
import { dumpTables, without } from "../support/tables.js";
import type { Dump, Row } from "../support/tables.js";

type Settings = Readonly<Record<string, string>>;

/** What comes back exactly, without the columns that are said. */
const COMES_BACK = {
  tail: [],
  records: [],
  requests: [],
  leaves: [],
  batches: [],
  publications: ["publish_time"], // when it was published is on no chain
  identity: ["deploy_block"], // the first seal's block is as good a place to begin
  evidence: ["id", "group_number", "check_time"], // its order is that of the log, its operations begin anew
  strange_anchors: [],
  sla_events: ["id", "record_id"], // a record that the chain called for is found again once it is followed
  sla_changes: ["id"], // its order is that of the log
  slas: ["id", "record_id"],
  chain_position: ["moves"], // each step of following counts, and rebuilding makes fewer
} as const satisfies Partial<Record<keyof Tables, readonly string[]>>;

/** What a rebuilt database begins anew, and why. */
const BEGINS_ANEW = {
  seal_request: "what is to be sealed on demand is asked for anew",
  operations: "signed calls and their history are the sealer's own notes",
  sla_policy: "policies look at what is recorded from then on",
  escalations: "what one call escalated is the keeper's own note",
  subscriptions: "positions of named subscriptions are the consumers' own",
  leases: "who leads is a matter of the moment",
  audit: "the auditor looks at a new database from the start",
  feed: "the numbering is another one, which its epoch says",
  blocks: "of the recent blocks, those are remembered that were read one by one",
  events: "each row comes back, but not its number, its order or its time",
} as const satisfies Record<Exclude<keyof Tables, keyof typeof COMES_BACK>, string>;

function expectSameTables(actual: Dump, expected: Dump): void {
  for (const table of Object.keys(COMES_BACK) as (keyof typeof COMES_BACK)[]) {
    const columns = COMES_BACK[table];
    const rows = without(expected[table], ...columns);
    expect(without(actual[table], ...columns), table).to.deep.equal(rows);
  }
  expect(happenings(actual.events)).to.have.same.members(happenings(expected.events));
  const hashes = new Map(expected.blocks.map(({ number, hash }) => [number, hash]));
  for (const { number, hash } of actual.blocks) {
    expect([hash, undefined], `block ${number}`).to.include(hashes.get(number as number));
  }
}

/** What the feed tells, apart from where in it. */
function happenings(events: readonly Row[]): string[] {
  return without(events, "number", "final_number", "create_time").map((row) => JSON.stringify(row));
}

const QUIET = { MAX_BATCH_RECORDS: "7", LOG_LEVEL: "error" } as const;

/** A request that was made before the database was lost, and is repeated after. */
const REPEATED: Event = {
  subject: "user/1",
  requestId: "asked before",
  body: { case: "custom", value: { type: "test", data: { of: "before" } } },
};

describe("A database that was thrown away", function () {
  this.timeout(180_000);

  const seed = seedOfRun();
  const random = randomOf(seed);

  before(() => {
    console.log(`      SEED=${seed}`);
  });

  it("comes back from the embedded chain table by table, and the service goes on", async () => {
    const first = await startDaemon(QUIET);
    const settings = { ...QUIET, DATA_DIR: first.dataDir };
    await recordSome(first, random, 25);
    const { recordId } = await first.grpc.recordEvent(REPEATED);
    await recordSome(first, random, 35);
    await settled(first);
    const records = await expectWhole(first);
    const receipts = await Promise.all(
      records.map(({ id }) => first.grpc.getReceipt({ recordId: id })),
    );
    await first.stop();
    const before = await dumpTables(settings);
    expect(before.batches.length).to.be.at.least(61 / 7);
    throwAway(settings);
    const { code, output } = await startFails(settings);
    expect(code).to.equal(2);
    expect(output).to.match(/has \d+ batches on chain that .* does not know.*`anchord rebuild`/);
    const rebuilt = await rebuild(settings);
    expect(rebuilt, rebuilt.stderr).to.include({ code: 0 });
    expect(rebuilt.stdout).to.equal(
      `rebuilt: ${before.batches.length} batches, 61 records. Next: npm start\n`,
    );
    const after = await dumpTables(settings);
    expectSameTables(after, before);
    for (const table of ["operations", "subscriptions", "audit"] as const) {
      expect(after[table], BEGINS_ANEW[table]).to.deep.equal([]);
    }
    expect(after.feed[0]?.["epoch"], BEGINS_ANEW.feed).to.not.equal(before.feed[0]?.["epoch"]);
    const second = await startDaemon(settings);
    try {
      expect(await expectWhole(second)).to.deep.equal(records);
      const repeated = await second.grpc.recordEvent(REPEATED);
      expect(repeated).to.include({ replayed: true, recordId });
      for (const { receipt } of receipts) {
        const { verdict, message } = await second.grpc.verifyReceipt({ receipt: receipt! });
        expect(verdict, message).to.equal(ReceiptVerdict.VALID);
      }
      await recordSome(second, random, 10);
      await settled(second);
      const more = await expectWhole(second);
      expect(more).to.have.length(71);
      expect(more.slice(0, 61)).to.deep.equal(records);
    } finally {
      await second.stop();
    }
  });

  function throwAway({ DATA_DIR = "" }: Settings): void {
    for (const end of ["", "-wal", "-shm"])
      rmSync(join(DATA_DIR, `anchord.db${end}`), { force: true });
  }

  describe("on an external chain", () => {
    let chain: ExternalChain;
    let other: ExternalChain | undefined;
    let daemon: Daemon | undefined;
    let settings: Record<string, string>;
    let seals: readonly SealedEvent[];
    let dump: Dump;

    before(async () => {
      chain = await startExternalChain();
      ({ settings, seals, dump } = await makeLog(chain));
    });

    after(() => chain.stop());

    afterEach(async () => {
      await daemon?.kill();
      daemon = undefined;
      await other?.stop();
      other = undefined;
    });

    /** A log with some batches on the chain, and the settings and tables of the service that made it. */
    async function makeLog({ environment, mine }: ExternalChain, own: Settings = {}) {
      const settings: Record<string, string> = {
        ...environment,
        ...QUIET,
        CONFIRMATIONS: "1",
        DATA_DIR: temporaryFolder(),
        ...own,
      };
      daemon = await startDaemon(settings);
      await recordSome(daemon, random, random.between(30, 40));
      await daemon.grpc.sealNow({});
      await mine(2);
      await settled(daemon);
      const seals = await sealsOf(daemon);
      await daemon.stop();
      return { settings, seals, dump: await dumpTables(settings) };
    }

    /** Settings of another host that has the keys and blocks of the first, and no key to seal with. */
    function elsewhere(settings: Settings, folders: readonly string[] = ["keys", "ipfs"]) {
      const { PRIVATE_KEY: _, DATABASE_URL: __, ...others } = settings;
      const folder = temporaryFolder();
      for (const name of folders) {
        cpSync(join(settings["DATA_DIR"] ?? "", name), join(folder, name), { recursive: true });
      }
      return { ...others, DATA_DIR: folder };
    }

    /** The file of the block of a batch's manifest. */
    function manifestFile({ DATA_DIR = "" }: Settings, digest: Uint8Array): string {
      const name = hex(digest);
      return join(DATA_DIR, "ipfs", "blocks", name.slice(0, 2), name);
    }

    async function expectRebuilt(settings: Settings, dump: Dump): Promise<void> {
      const { code, stderr } = await rebuild(settings);
      expect(code, stderr).to.equal(0);
      expectSameTables(await dumpTables(settings), dump);
    }

    it("comes back from MySQL into SQLite, and over IPFS alone into MySQL", async function () {
      const mysql = await sharedMysql();
      if (mysql === undefined) return this.skip();
      other = await startExternalChain();
      const log = await makeLog(other, { DATABASE_URL: await mysql.createDatabase() });
      const there = elsewhere(log.settings);
      await expectRebuilt(there, log.dump);
      const port = await freePort();
      daemon = await startDaemon({
        ...there,
        PRIVATE_KEY: other.environment["PRIVATE_KEY"] ?? "",
        IPFS_LISTEN: `/ip4/127.0.0.1/tcp/${port}`,
      });
      await expectWhole(daemon);
      const empty = {
        ...elsewhere(log.settings, []),
        DATABASE_URL: await mysql.createDatabase(),
        IPFS_PEERS: `/ip4/127.0.0.1/tcp/${port}`,
        CONTENT_KEY: contentKey(log.settings),
      };
      await expectRebuilt(empty, log.dump);
      expect(existsSync(join(empty.DATA_DIR, "ipfs", "blocks")), "blocks are kept").to.equal(true);
    });

    it("comes back into a file for its owner alone", async () => {
      const there = elsewhere(settings);
      const umask = process.umask(0o022);
      await rebuild(there).finally(() => process.umask(umask));
      expect(statSync(join(there.DATA_DIR, "anchord.db")).mode & 0o777).to.equal(0o600);
    });

    it("comes back as far as there are blocks; the same command goes on once there are all", async () => {
      const there = elsewhere(settings);
      const { manifestDigest } = seals[2]!.seal;
      const file = manifestFile(there, manifestDigest);
      renameSync(file, `${file}.gone`);
      const { code, stderr } = await rebuild(there);
      expect(code).to.equal(5);
      expect(stderr)
        .to.match(/batch 3 is on chain/)
        .and.to.include(hex(manifestDigest));
      expect(stderr).to.match(/copy the folder ipfs .* or set IPFS_PEERS/);
      expect((await dumpTables(there)).batches).to.have.length(2);
      renameSync(`${file}.gone`, file);
      await expectRebuilt(there, dump);
    });

    it("takes no block that was altered", async () => {
      const there = elsewhere(settings);
      for (const file of blocksOf(there, seals[1]!.seal.manifestDigest)) {
        const original = readFileSync(file);
        const altered = Buffer.from(original);
        const at = random.between(0, altered.length - 1);
        altered[at] = altered[at]! ^ (1 << random.between(0, 7));
        writeFileSync(file, altered);
        const { code, stderr } = await rebuild(there);
        expect(code, stderr).to.equal(5);
        expect(stderr).to.match(/batch 2 is on chain/);
        expect((await dumpTables(there)).batches).to.have.length(1);
        writeFileSync(file, original);
      }
      await expectRebuilt(there, dump);
    });

    /** The files of a batch's manifest and of its one piece, whose digest ends the manifest. */
    function blocksOf(settings: Settings, manifestDigest: Uint8Array): string[] {
      const manifest = manifestFile(settings, manifestDigest);
      return [manifest, manifestFile(settings, readFileSync(manifest).subarray(-32))];
    }

    it("asks for the content key by its id where it is missing or another", async () => {
      const there = elsewhere(settings, ["ipfs"]);
      const id = dump.publications[0]?.["key_id"] as string;
      for (const wrong of [{}, { CONTENT_KEY: "ab".repeat(32) }]) {
        const { code, stderr } = await rebuild({ ...there, ...wrong });
        expect(code).to.equal(5);
        expect(stderr)
          .to.match(/batch 1 is on chain.*set CONTENT_KEY/)
          .and.to.include(id);
        expect(stderr).to.not.include(contentKey(settings));
      }
      await expectRebuilt({ ...there, CONTENT_KEY: contentKey(settings) }, dump);
    });

    function contentKey({ DATA_DIR = "" }: Settings): string {
      return readFileSync(join(DATA_DIR, "keys", "content.key"), "utf8").trim();
    }

    for (const fault of [
      "adopt.before-commit:2",
      "adopt.after-commit:3",
      "follow.before-commit:1",
      "follow.after-commit:1",
    ] as const satisfies readonly `${FaultPoint}:${number}`[]) {
      it(`comes back whole though cut short at ${fault}`, async () => {
        const there = elsewhere(settings);
        const cut = await rebuild({ ...there, ANCHORD_FAULT: fault });
        expect(cut.code, "killed").to.equal(null);
        await expectRebuilt(there, dump);
      });
    }

    it("is not rebuilt where it was not thrown away", async () => {
      const { code, stderr } = await rebuild(settings);
      expect([code, stderr]).to.deep.equal([
        2,
        `anchord: this database has ${dump.records.length} records already: a rebuild fills an empty ` +
          "one. Move it away, or name another with DATABASE_URL or DATA_DIR\n",
      ]);
      expect(await dumpTables(settings)).to.deep.include({ records: dump.records });
    });

    it("is not rebuilt where records wait that were never sealed", async () => {
      const port = await freePort();
      const waiting = {
        ...chain.environment,
        BLOCKCHAIN_RPC_URL: `http://127.0.0.1:${port}`,
        DATA_DIR: temporaryFolder(),
      };
      daemon = await startDaemon(waiting);
      await daemon.grpc.recordEvent(REPEATED);
      await daemon.stop();
      const { code, stderr } = await rebuild({ ...waiting, BLOCKCHAIN_RPC_URL: chain.url });
      expect(code).to.equal(2);
      expect(stderr).to.match(/has 1 records already/);
    });

    it("is not rebuilt beside a running service", async () => {
      other = await startExternalChain();
      const running = { ...other.environment, DATA_DIR: temporaryFolder() };
      daemon = await startDaemon(running);
      const { code, stderr } = await rebuild(running);
      expect(code, stderr).to.equal(2);
      expect(stderr).to.match(/a service runs on this database: stop it/);
      const { state } = await daemon.grpc.recordEvent({
        ...REPEATED,
        waitFor: RecordState.ANCHORED,
      });
      expect(state).to.be.at.least(RecordState.ANCHORED);
    });

    it("is not taken for whole where the node keeps seals back", async () => {
      await chain.mine(40); // final and far below the head, blocks are searched by their numbers
      const node = await startLyingNode(chain.url, seed);
      node.lies = { ...HONEST, forgottenLogs: 100 };
      try {
        const there = { ...elsewhere(settings), BLOCKCHAIN_RPC_URL: node.url };
        const { code, stderr } = await rebuild(there);
        expect(code).to.equal(5);
        expect(stderr).to.include(
          `the chain has ${seals.length} batches, but the node told of 0: begin again`,
        );
      } finally {
        await node.close();
      }
    });

    it("waits for its chain: exit code 4 while that is away", async () => {
      const port = await freePort();
      const { code, stderr } = await rebuild({
        ...chain.environment,
        BLOCKCHAIN_RPC_URL: `http://127.0.0.1:${port}`,
        DATA_DIR: temporaryFolder(),
      });
      expect(code, stderr).to.equal(4);
    });
  });
});

/** A port on loopback that nothing has. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
