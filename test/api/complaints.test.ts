import { connect } from "node:net";
import { join } from "node:path";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { expect } from "chai";
import { EntrySchema } from "../../gen/ts/anchord/v1/receipt_pb.js";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import { SLAService } from "../../gen/ts/anchord/v1/sla_service_pb.js";
import { hex, sha256 } from "../../src/core/bytes.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { DOORS, GRPC_DOOR } from "../support/doors.js";
import type { AuditClient } from "../support/doors.js";
import { stagedBy } from "../support/evidence.js";
import { startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { startRelay } from "../support/relay.js";
import type { Relay } from "../support/relay.js";
import { repositoryRoot } from "../support/repository.js";
import { run } from "../support/run.js";
import { withDatabase } from "../support/tables.js";
import { until } from "../support/until.js";

const TOKEN = "complaints-token";
const MAX_BYTES = 200_000;
const HELLO = Buffer.from("hello world\n");
/** As `ipfs add --cid-version=1` gives it. */
const HELLO_CID = "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4";

const NAME = "Grüße 1.txt";

interface Reply {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

interface Shown {
  readonly event_type: string;
  readonly tx_hash: string | null;
  readonly explorer_url: string | null;
  readonly timestamp: string;
  readonly verified_on_chain: boolean | null;
  readonly [more: string]: unknown;
}

let ids = 0;
/** A tracking id that no other test uses. */
const newId = () => `ABC ${ids++}/ü`;

describe("complaint management", function () {
  this.timeout(60_000);

  let chain: ExternalChain;
  let daemon: Daemon;
  let grpc: AuditClient;
  let relay: Relay;
  const dataDir = temporaryFolder();
  const chainPort = () => Number(new URL(chain.url).port);

  before(async function () {
    this.timeout(120_000);
    chain = await startExternalChain();
    relay = await startRelay(chainPort());
    await launch();
  });

  after(async () => {
    await daemon.stop();
    await relay.close();
    await chain.stop();
  });

  async function launch(more: Record<string, string> = {}): Promise<void> {
    daemon = await startDaemon({
      ...chain.environment,
      BLOCKCHAIN_RPC_URL: relay.url,
      DATA_DIR: dataDir,
      CONFIRMATIONS: "0",
      API_TOKENS: TOKEN,
      MAX_EVIDENCE_BYTES: String(MAX_BYTES),
      SLA_LADDER: "PT0S",
      IPFS_GATEWAY_URL: "https://ipfs.example/",
      EXPLORER_URL: "https://explorer.example/tx/{tx}?chain=1337",
      ...more,
    });
    grpc = GRPC_DOOR.client(daemon, TOKEN);
  }

  async function ask(path: string, init: RequestInit = {}, token = TOKEN): Promise<Reply> {
    const response = await fetch(daemon.url + path, {
      ...init,
      headers: { authorization: `Bearer ${token}`, ...(init.headers as object) },
    });
    return {
      status: response.status,
      body: (await response.json()) as Record<string, unknown>,
    };
  }

  const pathOf = (id: string, call: string) =>
    `/api/blockchain/reports/${encodeURIComponent(id)}/${call}`;
  const get = (id: string, call: string) => ask(pathOf(id, call));
  const post = (id: string, call: string, file: Uint8Array, name = "hello.txt") => {
    const body = new FormData();
    body.append("note", "a field beside it");
    body.append("file", new Blob([file as Uint8Array<ArrayBuffer>], { type: "text/plain" }), name);
    return ask(pathOf(id, call), { method: "POST", body });
  };
  const send = (id: string, body: string | Buffer, type = "multipart/form-data; boundary=xx") =>
    ask(pathOf(id, "evidence/"), {
      method: "POST",
      body: body as string,
      headers: { "content-type": type },
    });

  const record = (id: string, eventType: string) =>
    grpc.recordEvent({
      subject: `complaint/${id}`,
      body: { case: "complaint", value: { eventType, assignee: "Zoe" } },
    });

  /** A complaint with one event. */
  async function newComplaint(): Promise<string> {
    const id = newId();
    await record(id, "CREATED");
    return id;
  }

  async function trailOf(id: string): Promise<Shown[]> {
    const { status, body } = await get(id, "audit-trail/");
    expect(status, JSON.stringify(body)).to.equal(200);
    return body["events"] as Shown[];
  }

  const verifiedIn = async (id: string) =>
    (await trailOf(id)).map(({ verified_on_chain }) => verified_on_chain);

  const statusOf = async (id: string) => (await get(id, "status/")).body;

  const untilVerified = (id: string) =>
    until("all is verified", async () => (await statusOf(id))["blockchain_verified"] === true);

  const edit = (statement: string, values: readonly unknown[] = []) =>
    withDatabase({ DATA_DIR: dataDir }, (sql) => sql(statement, values));

  /** Runs a command of the command line as a client of the daemon. */
  const anchord = (...args: string[]) =>
    run(process.execPath, [
      ...[join(repositoryRoot, "bin/anchord.js"), ...args],
      ...["--server", `localhost:${daemon.grpcPort}`, "--token", TOKEN],
    ]);

  it("follow a complaint from its creation to its evidence, each step proven by the chain", async () => {
    const id = await newComplaint();
    await record(id, "ASSIGNED");
    const uploaded = await post(id, "evidence/", HELLO, NAME);
    const url = `https://ipfs.example/ipfs/${HELLO_CID}?filename=${encodeURIComponent(NAME)}`;
    expect(uploaded.status, JSON.stringify(uploaded.body)).to.equal(201);
    expect(uploaded.body).to.include({
      ipfs_cid: HELLO_CID,
      ipfs_url: url,
      file_hash: hex(sha256(HELLO)),
      message: "Evidence uploaded",
      file_path: `/ipfs/${HELLO_CID}`,
      file_url: url,
    });
    expect(uploaded.body["note"]).to.be.a("string");
    const again = await post(id, "evidence", HELLO, "another name");
    expect(again.status).to.equal(201);
    expect(again.body).to.include({ file_hash: hex(sha256(HELLO)), file_url: url });
    await until("the deadline is in the trail", async () => (await trailOf(id)).length === 4);
    await untilVerified(id);

    const { body: trail } = await get(id, "audit-trail"); // with and without the slash at its end
    expect(trail).to.include({ tracking_id: id, total_events: 4 });
    const events = trail["events"] as Shown[];
    expect(events.map((event) => event.event_type)).to.have.members([
      "CREATED",
      "ASSIGNED",
      "EVIDENCE_ADDED",
      "DEADLINE_SET",
    ]);
    expect(events[0]?.event_type).to.equal("CREATED");
    for (const event of events) {
      expect(event.verified_on_chain, event.event_type).to.equal(true);
      expect(event.tx_hash).to.match(/^0x[0-9a-f]{64}$/);
      expect(event.explorer_url).to.equal(
        `https://explorer.example/tx/${event.tx_hash}?chain=1337`,
      );
      expect(event["event_hash"]).to.match(/^[0-9a-f]{64}$/);
      expect(event["gas_used"]).to.be.greaterThan(21_000);
      expect(event["block_number"]).to.be.greaterThan(0);
      expect(new Date(event.timestamp).toISOString()).to.equal(event.timestamp);
    }

    const status = await statusOf(id);
    expect(status).to.include({ tracking_id: id, sla_escalated: false });
    expect(status["latest_tx_hash"]).to.equal(events.at(-1)?.tx_hash);
    expect(status["events"]).to.have.length(4);
    const [file] = status["evidence"] as Record<string, unknown>[];
    expect(file).to.include({
      file_name: NAME,
      file_path: `/ipfs/${HELLO_CID}`,
      file_url: url,
      file_hash: hex(sha256(HELLO)),
      verified: true,
    });
    expect(file?.["tx_hash"]).to.match(/^0x[0-9a-f]{64}$/);
    expect(file?.["block_timestamp"]).to.be.greaterThan(1_600_000_000);
    const sla = status["sla_status"] as Record<string, number | string | boolean>;
    expect(sla).to.include({ escalated: false, should_escalate: false });
    expect(sla["time_remaining_seconds"]).to.be.within(47 * 3600, 48 * 3600);
    expect(Date.parse(sla["deadline_datetime"] as string) / 1000).to.equal(sla["deadline"]);
  });

  it("verify a file for the complaint that it was handed in for, and for no other", async () => {
    const [id, other] = [await newComplaint(), await newComplaint()];
    const file = Buffer.from(`only for ${id}`);
    await post(id, "evidence/", file);
    await untilVerified(id);
    const found = await post(id, "evidence/verify/", file);
    expect(found.status).to.equal(200);
    expect(found.body).to.include({ verified: true, file_hash: hex(sha256(file)) });
    const blockTime = found.body["block_timestamp"] as number;
    expect(found.body["anchored_at"]).to.equal(new Date(blockTime * 1000).toISOString());
    for (const [complaint, bytes] of [
      [id, Buffer.from("never handed in")],
      [other, file],
    ] as const) {
      const { status, body } = await post(complaint, "evidence/verify", bytes);
      expect(status).to.equal(400);
      expect(body).to.include({
        verified: false,
        error: "Hash not found on blockchain",
        file_hash: hex(sha256(bytes)),
      });
    }
    expect((await trailOf(other)).length, "verifying keeps nothing").to.equal(1);
  });

  it("show that the chain has escalated a deadline", async () => {
    const id = await newComplaint();
    const sla = createClient(SLAService, GRPC_DOOR.transport(daemon, TOKEN));
    const within = { seconds: 3_600n, nanos: 0 };
    const when = { case: "within", value: within } as const;
    await sla.setDeadline({ subject: `complaint/${id}`, when, waitFor: RecordState.ANCHORED });
    expect((await statusOf(id))["sla_escalated"]).to.equal(false);
    await chain.rpc("evm_increaseTime", 3_700);
    await chain.mine(1);
    await until("it is in the trail", async () =>
      (await trailOf(id)).some((event) => event.event_type === "ESCALATED"),
    );
    const status = await statusOf(id);
    expect(status["sla_escalated"]).to.equal(true);
    expect(status["sla_status"]).to.include({ escalated: true, should_escalate: false });
  });

  it("ask for a token", async () => {
    const id = await newComplaint();
    const calls: readonly [string, RequestInit][] = [
      ["evidence/", { method: "POST" }],
      ["evidence/verify/", { method: "POST" }],
      ["status/", {}],
      ["audit-trail/", {}],
    ];
    for (const [call, init] of calls) {
      const refused = await ask(pathOf(id, call), init, "wrong");
      expect(refused.status, call).to.equal(401);
      expect(Object.keys(refused.body)).to.deep.equal(["error"]);
    }
  });

  it("know no complaint without a record, and no tracking id that cannot be one", async () => {
    const long = "x".repeat(247);
    for (const [id, expected] of [
      ["nobody", 404],
      ["x".repeat(246), 404],
      [long, 400],
      ["a\nb", 400],
    ] as const) {
      expect((await get(id, "status/")).status, id).to.equal(expected);
      expect((await get(id, "audit-trail/")).status, id).to.equal(expected);
      for (const call of ["evidence/", "evidence/verify/"]) {
        const { status, body } = await post(id, call, Buffer.alloc(MAX_BYTES));
        expect(status, id).to.equal(expected);
        expect(body["error"]).to.be.a("string");
      }
    }
    expect((await ask("/api/blockchain/reports//status/")).status).to.equal(404);
    expect((await ask("/api/blockchain/reports/%E0%A4%A/status/")).status).to.equal(400);
  });

  describe("refuse what is no file", () => {
    const part = (disposition: string, content = "abc") =>
      `--xx\r\nContent-Disposition: form-data; ${disposition}\r\n\r\n${content}\r\n`;
    const FILE = part('name="file"; filename="a.txt"');
    const END = "--xx--\r\n";
    const fields = Array.from({ length: 100_000 }, (_, i) => part(`name="f${i}"`, "v")).join("");
    const NO_FILE = "No file provided";
    const forms: Readonly<Record<string, readonly [body: string, error: string | RegExp]>> = {
      "a form without the field": [END, NO_FILE],
      "another field": [part('name="other"; filename="a.txt"') + END, NO_FILE],
      "a plain field": [part('name="file"') + END, NO_FILE],
      "an input in which no file was chosen": [part('name="file"; filename=""', "") + END, NO_FILE],
      "two files": [FILE + FILE + END, /one file/],
      "a second file behind the first": [FILE + part('name="other"; filename="b"') + END, NO_FILE],
      "a form that ends in its file": [FILE.slice(0, -5), /cannot be read/],
      "no form at all": ["hello", /cannot be read/],
      "a hundred thousand fields": [fields + FILE + END, /more than 100 parts/],
    };

    let id: string;
    before(async () => {
      id = await newComplaint();
    });

    for (const [what, [body, error]] of Object.entries(forms)) {
      it(what, async () => {
        const reply = await send(id, body);
        expect(reply.status).to.equal(400);
        expect(reply.body["error"]).to.match(
          error instanceof RegExp ? error : new RegExp(`^${error}$`),
        );
      });
    }

    it("bodies that are no forms", async () => {
      for (const type of [
        "application/json",
        "multipart/form-data",
        "multipart/mixed; boundary=xx",
      ]) {
        const { status, body } = await send(id, "{}", type);
        expect(status, type).to.equal(400);
        expect(body["error"]).to.be.a("string");
      }
    });

    it("a file over MAX_EVIDENCE_BYTES", async () => {
      for (const call of ["evidence/", "evidence/verify/"]) {
        const { status, body } = await post(id, call, Buffer.alloc(MAX_BYTES + 1));
        expect(status).to.equal(413);
        expect(body["error"]).to.include(String(MAX_BYTES));
      }
    });

    it("an upload that is cut", async () => {
      const socket = connect(daemon.httpPort, "127.0.0.1");
      socket.write(
        `POST ${pathOf(id, "evidence/")} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${TOKEN}\r\n` +
          "Content-Type: multipart/form-data; boundary=xx\r\nContent-Length: 100000\r\n\r\n" +
          part('name="file"; filename="a"', "x".repeat(50_000)),
      );
      await until("it is under way", async () => (await stagedBy(daemon)).length > 0);
      socket.destroy();
      await until("nothing of it is left", async () => (await stagedBy(daemon)).length === 0);
    });

    after(async () => {
      expect(await trailOf(id), "nothing was recorded").to.have.length(1);
      expect(daemon.log(), "and none of it is a fault of ours").not.to.include("a call failed");
    });

    const names: Readonly<Record<string, string>> = {
      'filename="../../etc/passwd"': "passwd",
      'filename="C:\\\\files\\\\a.txt"': "a.txt",
      "filename*=UTF-8''Gr%C3%BC%C3%9Fe%2Fa.txt": "a.txt",
      'filename="a\\"b.txt"': 'a"b.txt',
      'filename=".."': "",
      [`filename="${"x".repeat(300)}.pdf"`]: `${"x".repeat(251)}.pdf`,
      [`filename="a"\r\nX-Long: ${"y".repeat(1_000_000)}`]: "a",
    };

    it("but take files by whatever name, and an empty one", async () => {
      const complaint = await newComplaint();
      for (const [i, disposition] of Object.keys(names).entries()) {
        const form = part(`name="file"; ${disposition}`, `file ${i}`) + END;
        expect((await send(complaint, form)).status, disposition.slice(0, 40)).to.equal(201);
      }
      expect((await post(complaint, "evidence/", Buffer.alloc(0), "empty")).status).to.equal(201);
      const files = (await statusOf(complaint))["evidence"] as { file_name: string }[];
      const wanted = [...Object.values(names), "empty"];
      expect(files.map((file) => file.file_name)).to.deep.equal(wanted);
    });
  });

  describe("while the chain is away", () => {
    it("say what is not known, and take evidence all the same", async () => {
      const id = await newComplaint();
      await record(id, "ASSIGNED");
      await post(id, "evidence/", HELLO);
      await until("the deadline is in the trail", async () => (await trailOf(id)).length === 4);
      await untilVerified(id);
      relay.target = undefined;
      relay.cut();
      const status = await statusOf(id);
      expect(status["blockchain_verified"]).to.equal(null);
      expect(status["note"]).to.match(/cannot be reached/);
      expect((status["evidence"] as { verified: unknown }[])[0]?.verified).to.equal(null);
      expect(status["sla_status"]).to.include({ escalated: false });
      expect(await verifiedIn(id)).to.deep.equal([null, null, null, null]);
      const verdict = await post(id, "evidence/verify/", HELLO);
      expect(verdict.status).to.equal(503);
      expect(Object.keys(verdict.body)).to.deep.equal(["error"]);
      const late = await post(id, "evidence/", Buffer.from("late"));
      expect(late.status).to.equal(201);
      relay.target = chainPort();
      await untilVerified(id);
    });
  });

  describe("notice in the database", () => {
    const rowsOf = async (id: string) =>
      edit("select seq, entry from records where subject = ? order by seq", [`complaint/${id}`]);

    // All of them are made before the auditor may have anything to find.
    const complaints: string[] = [];
    before(async () => {
      for (let i = 0; i < 4; i++) {
        const id = await newComplaint();
        await record(id, "STATUS_UPDATED");
        await record(id, "RESOLVED");
        complaints.push(id);
      }
      for (const id of complaints) await untilVerified(id);
    });

    it("an edited payload", async () => {
      const id = complaints[0]!;
      const { seq, entry } = (await rowsOf(id))[1]!;
      const edited = Buffer.from(entry as string, "hex")
        .toString("latin1")
        .replace("Zoe", "Bob");
      await edit("update records set entry = ? where seq = ?", [
        Buffer.from(edited, "latin1"),
        seq,
      ]);
      expect(await verifiedIn(id)).to.deep.equal([true, false, true]);
      expect((await statusOf(id))["blockchain_verified"]).to.equal(false);
      await edit("update records set entry = ? where seq = ?", [Buffer.from("garbage"), seq]);
      expect((await trailOf(id))[1]).to.include({
        event_type: "UNREADABLE",
        verified_on_chain: false,
      });
      expect((await statusOf(id))["blockchain_verified"]).to.equal(false);
      // Else no page that has it can be read.
      const restored = Buffer.from(entry as string, "hex");
      await edit("update records set entry = ? where seq = ?", [restored, seq]);
      await untilVerified(id);
    });

    it("a time that no calendar has", async () => {
      const id = complaints[3]!;
      const { seq, entry } = (await rowsOf(id))[1]!;
      const edited = fromBinary(EntrySchema, Buffer.from(entry as string, "hex"));
      edited.occurTime!.seconds = 10n ** 15n;
      await edit("update records set entry = ? where seq = ?", [
        Buffer.from(toBinary(EntrySchema, edited)),
        seq,
      ]);
      const trail = await trailOf(id);
      expect(trail.map(({ verified_on_chain }) => verified_on_chain)).to.deep.equal([
        true,
        false,
        true,
      ]);
      expect(trail[1]?.timestamp).to.equal(null);
      const { status, body } = await get(id, "status/");
      expect([status, body["blockchain_verified"]]).to.deep.equal([200, false]);
      expect((body["events"] as Shown[])[1]?.timestamp).to.equal(null);

      const subject = `complaint/${id}`;
      for (const door of DOORS) {
        const { records } = await door.client(daemon, TOKEN).getTrail({ subject });
        expect(records.map(({ occurTime }) => occurTime === undefined)).to.deep.equal([
          ...[false, true, false],
        ]);
      }
      const json = async (code: number, ...args: string[]) => {
        const ended = await anchord(...args);
        expect(ended.code, ended.stderr).to.equal(code);
        return JSON.parse(ended.stdout) as Record<string, unknown>;
      };
      const records = await json(0, "get-audit-trail", "--subject", subject);
      const [, shown] = records as unknown as Record<string, unknown>[];
      expect(shown).to.include({ sequence: seq, timestamp: null });
      const table = await anchord("get-audit-trail", "--subject", subject, "--format", "table");
      expect([table.code, table.stdout.split("\n").length], table.stderr).to.deep.equal([0, 5]);
      const block = await json(0, "get-block", "--index", String(shown?.["block_index"]));
      expect(block["data"]).to.deep.include(shown);
      const report = await json(1, "generate-report", "--detailed");
      const { problems } = report["integrity"] as { problems: { sequence: number }[] };
      expect(problems.map(({ sequence }) => sequence)).to.include(seq);
      const verified = await json(1, "verify-chain");
      expect(verified["is_valid"]).to.equal(false);
    });

    it("a deleted row", async () => {
      const id = complaints[1]!;
      await edit("delete from records where seq = ?", [(await rowsOf(id))[1]!["seq"]]);
      expect(await verifiedIn(id), "what came behind it no longer follows").to.deep.equal([
        true,
        false,
      ]);
      expect((await statusOf(id))["blockchain_verified"]).to.equal(false);
    });

    it("a deleted last row, once the auditor has come by, also behind what else differs", async () => {
      const id = complaints[2]!;
      await edit("delete from records where seq = ?", [(await rowsOf(id))[2]!["seq"]]);
      expect(await verifiedIn(id), "the trail does not show it").to.deep.equal([true, true]);
      await daemon.stop();
      await launch({ AUDIT_PERCENT: "100" });
      const isNoticed = async () => (await statusOf(id))["blockchain_verified"] === false;
      await until("the auditor has come by", isNoticed);
      const status = await statusOf(id);
      expect(status["note"]).to.match(/auditor.*deleted/);
      expect((await get(id, "audit-trail/")).body["note"]).to.equal(status["note"]);
    });
  });
});
