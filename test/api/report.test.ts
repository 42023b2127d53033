import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { expect } from "chai";
import type { Transaction } from "kysely";
import { EvidenceService } from "../../gen/ts/anchord/v1/evidence_service_pb.js";
import type {
  GenerateReportRequestSchema,
  RecordEventRequestSchema,
} from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { RecordState, Side } from "../../gen/ts/anchord/v1/record_pb.js";
import { IntegrityVerdict, ReportFormat } from "../../gen/ts/anchord/v1/report_pb.js";
import type { ReportSummary } from "../../gen/ts/anchord/v1/report_pb.js";
import { SLAService } from "../../gen/ts/anchord/v1/sla_service_pb.js";
import { connectRpc } from "../../src/chain/rpc.js";
import { hex, unhex } from "../../src/core/bytes.js";
import { openDatabase } from "../../src/store/database.js";
import type { Tables } from "../../src/store/tables.js";
import { databasesOfRun } from "../support/databases.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { DOORS, HTTP_DOOR, refusalOf } from "../support/doors.js";
import { pythonWithStubs } from "../support/python.js";
import { seedOfRun } from "../support/random.js";
import { repositoryRoot } from "../support/repository.js";
import { run } from "../support/run.js";
import { until } from "../support/until.js";

const ANCHORD = join(repositoryRoot, "bin/anchord.js");

/** A report in JSON, as its readers know it. */
interface Report {
  readonly report_type: string;
  readonly generated_at: string;
  readonly transaction_count: number;
  readonly transaction_types: Readonly<Record<string, number>>;
  readonly time_range: { readonly start: string | null; readonly end: string | null };
  readonly integrity: {
    readonly verdict: string;
    readonly records_checked: number;
    readonly problems: readonly {
      readonly batch_number: number;
      readonly column: string;
      readonly record_id: string;
    }[];
  };
  readonly gas_by_month: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly gas_unknown_transactions: number;
  readonly daily_counts: Readonly<Record<string, number>>;
  readonly daily_counts_by_type: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly transactions: readonly {
    readonly id: string;
    readonly type: string;
    readonly timestamp: string;
    readonly subject: string;
    readonly data: Readonly<Record<string, unknown>>;
    readonly block_index: number;
    readonly block_hash: string;
    readonly chain_block_number: number;
    readonly transaction_hash: string;
    readonly receipt_url: string;
    readonly explorer_url: string;
  }[];
}

const at = (time: string) => timestampFromDate(new Date(time));
const HOSTILE = `"><script>alert(1)</script>&'`;
const trade = { tradeId: "t-1", symbol: "BTC", side: Side.BUY, quantity: 0, price: 50_000 };

/** What the tests report on. */
const EVENTS: readonly MessageInitShape<typeof RecordEventRequestSchema>[] = [
  {
    subject: "strategy/1",
    actor: "=1+1",
    occurTime: at("2026-02-27T23:59:59.999Z"),
    body: { case: "trade", value: trade },
  },
  {
    subject: HOSTILE,
    actor: "ada",
    occurTime: at("2026-02-28T00:00:00Z"),
    body: { case: "login", value: { user: HOSTILE, success: true } },
  },
  {
    subject: "strategy/1",
    occurTime: at("2026-03-02T08:00:00Z"),
    body: { case: "trade", value: { ...trade, tradeId: "t-2", details: { fee: 1.5 } } },
  },
  {
    subject: "strategy/1",
    occurTime: at("2026-03-02T09:00:00Z"),
    body: { case: "custom", value: { type: "note", data: { text: "two\nlines" } } },
  },
];

const seed = seedOfRun();

for (const { name, settings } of databasesOfRun(seed)) {
  describe(`reports on ${name} (SEED=${seed})`, function () {
    this.timeout(120_000);
    let daemon: Daemon;
    let database: Record<string, string> | undefined;

    before(async function () {
      database = await settings();
      if (database === undefined) return this.skip();
      daemon = await startDaemon({
        ...database,
        EXPLORER_URL: "https://explorer.example/{tx}?a&b",
      });
      for (const event of EVENTS) await daemon.grpc.recordEvent(event);
      await daemon.grpc.sealNow({}, { timeoutMs: 60_000 });
    });
    after(() => daemon?.kill());

    async function generate(
      request: MessageInitShape<typeof GenerateReportRequestSchema>,
      { door = HTTP_DOOR } = {},
    ): Promise<{ readonly text: string; readonly summary: ReportSummary }> {
      const chunks: Uint8Array[] = [];
      const summaries: ReportSummary[] = [];
      for await (const { part } of door.client(daemon).generateReport(request)) {
        if (part.case === "summary") summaries.push(part.value);
        if (part.case === "chunk") chunks.push(part.value);
      }
      expect(summaries).to.have.length(1);
      return { text: Buffer.concat(chunks).toString(), summary: summaries[0]! };
    }

    async function json(request: MessageInitShape<typeof GenerateReportRequestSchema>) {
      return JSON.parse((await generate(request)).text) as Report;
    }

    /** Changes the database behind the daemon's back. */
    async function change(work: (trx: Transaction<Tables>) => Promise<unknown>): Promise<void> {
      const url = database?.["DATABASE_URL"];
      const opened = openDatabase(
        url === undefined ? { sqlitePath: join(daemon.dataDir, "anchord.db") } : { mysqlUrl: url },
      );
      await opened.transact(work);
      await opened.close();
    }

    it("count by type and day, and have each record with links that lead somewhere", async () => {
      const { text, summary } = await generate({ detailed: true });
      const report = JSON.parse(text) as Report;
      expect(report).to.deep.include({
        report_type: "all",
        transaction_count: 4,
        transaction_types: { trade: 2, login: 1, note: 1 },
        time_range: { start: null, end: null },
        daily_counts: { "2026-02-27": 1, "2026-02-28": 1, "2026-03-02": 2 },
        daily_counts_by_type: {
          "2026-02-27": { trade: 1 },
          "2026-02-28": { login: 1 },
          "2026-03-02": { trade: 1, note: 1 },
        },
      });
      expect(Date.parse(report.generated_at)).to.be.closeTo(Date.now(), 60_000);
      expect(summary).to.include({ recordCount: 4n, verdict: IntegrityVerdict.INTACT });
      expect(report.integrity).to.include({ verdict: "intact", records_checked: 4 });
      const [first, second] = report.transactions;
      expect(first).to.deep.include({ type: "trade", timestamp: "2026-02-27T23:59:59.999Z" });
      // Zero is a value, and the names are those of the proto files.
      expect(first?.data).to.include({ trade_id: "t-1", side: "buy", quantity: 0, price: 50_000 });
      const { batch } = await daemon.http.getBatch({ batch: { case: "number", value: 1n } });
      expect(first).to.include({
        block_index: 1,
        block_hash: hex(batch!.head),
        chain_block_number: Number(batch!.anchor!.blockNumber),
      });
      expect(second?.subject).to.equal(HOSTILE);
      expect(first?.explorer_url).to.equal(
        `https://explorer.example/${first?.transaction_hash}?a&b`,
      );
      const { receipt } = (await (await fetch(first!.receipt_url)).json()) as { receipt: object };
      const verified = await fetch(`${daemon.url}/anchord.v1.AuditService/VerifyReceipt`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ receipt }),
      });
      expect(await verified.json()).to.include({ verdict: "RECEIPT_VERDICT_VALID" });
    });

    it("are the same through both doors, but for when they were made", async () => {
      const texts = await Promise.all(
        DOORS.map((door) => generate({ detailed: true, format: ReportFormat.CSV }, { door })),
      );
      expect(texts[0]?.text).to.equal(texts[1]?.text);
    });

    it("filter by type and by time, whose end is not in it", async () => {
      const startTime = at("2026-02-28T02:00:00+02:00");
      const endTime = at("2026-03-02T09:00:00Z");
      const some = await json({ startTime, endTime });
      expect(some.transaction_types).to.deep.equal({ login: 1, trade: 1 });
      expect(some.time_range).to.deep.equal({
        start: "2026-02-28T00:00:00Z",
        end: "2026-03-02T09:00:00Z",
      });
      expect(some).not.to.have.any.keys("daily_counts", "transactions");
      const trades = await json({ type: "trade", startTime });
      expect(trades).to.deep.include({ report_type: "trade", transaction_types: { trade: 1 } });
      const none = await json({ type: "unheard.of", detailed: true });
      expect(none).to.deep.include({ transaction_count: 0, transactions: [], daily_counts: {} });
      expect(none.integrity.verdict).to.equal("intact");
      const refused = generate({ startTime, endTime: startTime });
      expect(await refusalOf(refused)).to.include({ reason: "ERROR_REASON_INVALID_FIELD" });
    });

    it("are self-contained as a page, whatever records say", async () => {
      const { text } = await generate({ detailed: true, format: ReportFormat.HTML });
      expect(text).to.match(/^<!doctype html>[^]*<\/html>\n$/);
      expect(text).to.include("Intact: the database agrees with the chain");
      expect(text).not.to.include("<script");
      expect(text).to.include("&#62;&#60;script&#62;alert(1)&#60;/script&#62;&#38;&#39;");
      expect(text).not.to.match(/\b(src|srcset|action|data)=|url\(|@import/);
      const links = [...text.matchAll(/href="([^"]*)"/g)].map(([, link = ""]) => link);
      expect(links).to.have.length(8); // of each record its transaction and its receipt
      expect(new Set(links.map((link) => new URL(link).host))).to.deep.equal(
        new Set(["explorer.example", `localhost:${daemon.httpPort}`]),
      );
    });

    it("are read by Python through its stubs, as CSV", async () => {
      const script = `
import csv, io, json, sys, grpc
from anchord.v1 import audit_service_pb2 as pb, audit_service_pb2_grpc as rpc, report_pb2
audit = rpc.AuditServiceStub(grpc.insecure_channel(sys.argv[1]))
request = pb.GenerateReportRequest(detailed=True, format=report_pb2.REPORT_FORMAT_CSV)
text = b"".join(answer.chunk for answer in audit.GenerateReport(request)).decode()
print(json.dumps(list(csv.DictReader(io.StringIO(text, newline="")))))`;
      const target = `localhost:${daemon.grpcPort}`;
      const { stdout, stderr } = await run(await pythonWithStubs(), ["-c", script, target]);
      const rows = JSON.parse(stdout || stderr) as Record<string, string>[];
      expect(rows.map(({ type }) => type)).to.deep.equal(["trade", "login", "trade", "note"]);
      expect(rows[0]).to.include({ actor: "'=1+1", sequence: "0", state: "final" });
      expect(rows[1]?.["subject"]).to.equal(HOSTILE);
      expect(JSON.parse(rows[3]!["data"]!)).to.deep.equal({ text: "two\nlines" });
    });

    it("have the gas of all that the service sent, also of what the database does not know", async () => {
      const rpc = connectRpc(daemon.rpcUrl);
      const transport = HTTP_DOOR.transport(daemon);
      const before = Number(await rpc<string>("eth_blockNumber"));
      const spent = async () => Object.values((await json({})).gas_by_month);
      const [seals] = await spent();
      const { gasUsed } = await daemon.http.getStats({});
      expect(seals).to.deep.equal({
        seals: Number(gasUsed),
        evidence: 0,
        deadlines: 0,
        escalations: 0,
      });
      await createClient(EvidenceService, transport).anchorEvidence({
        subject: "complaint/1",
        sha256: "ab".repeat(32),
        waitFor: RecordState.FINAL,
      });
      await createClient(SLAService, transport).setDeadline({
        subject: "complaint/1",
        when: { case: "within", value: { seconds: 3_600n } },
        waitFor: RecordState.FINAL,
      });
      await daemon.http.sealNow({});
      const after = Number(await rpc<string>("eth_blockNumber"));
      let onChain = 0;
      for (let number = before + 1; number <= after; number++) {
        const block = await rpc<{ gasUsed: string }>(
          "eth_getBlockByNumber",
          `0x${number.toString(16)}`,
          false,
        );
        onChain += Number(block.gasUsed);
      }
      await until("all of it is followed", async () => {
        const [month = {}] = await spent();
        return Object.values(month).reduce((a, b) => a + b, 0) === Number(gasUsed) + onChain;
      });
      const [month] = await spent();
      expect(month?.["evidence"]).to.be.above(20_000);
      expect(month?.["deadlines"]).to.be.above(20_000);
      // As after a rebuild: what was sent is known by its effects alone.
      await change((trx) => trx.deleteFrom("operations").execute());
      expect(await spent()).to.deep.equal([month]);
    });

    it("are written by the command line, whole or not at all", async () => {
      const anchord = (...args: string[]) =>
        run(process.execPath, [
          ...[ANCHORD, "generate-report", "--server", `localhost:${daemon.grpcPort}`],
          ...args,
        ]);
      const folder = temporaryFolder();
      const file = join(folder, "report.html");
      const [written, printed, refused, away, nowhere] = await Promise.all([
        anchord("--detailed", "--output", file),
        anchord("--type", "login", "--start-time", "2026-02-28", "--format", "csv", "--no-verify"),
        anchord("--start-time", "2026-03-01", "--end-time", "2026-02-01", "--output", `${file}l`),
        anchord("--server", "localhost:1", "--output", `${file}l`),
        anchord("--output", join(folder, "no/such/folder.html")),
      ]);
      expect(written, written.stderr).to.deep.equal({ code: 0, stdout: "", stderr: "" });
      expect(readFileSync(file, "utf8")).to.match(/^<!doctype html>[^]*<\/html>\n$/);
      expect(printed.stdout).to.equal("day,type,count\r\n2026-02-28,login,1\r\n");
      expect(refused.code).to.equal(2);
      expect(refused.stderr).to.equal("anchord: --end-time must be after --start-time\n");
      expect(away.code).to.equal(4);
      expect(nowhere.code).to.equal(2);
      expect(nowhere.stderr).to.include("cannot be written");
      expect(readdirSync(folder)).to.deep.equal(["report.html"]);
      expect(existsSync(`${file}l`)).to.equal(false);
    });

    it("say so where the database was changed, and the command line ends with 1", async () => {
      const { id } = (await json({ detailed: true })).transactions[1]!;
      await change((trx) =>
        trx.updateTable("records").set({ type: "trade" }).where("id", "=", unhex(id)).execute(),
      );
      const { code, stdout, stderr } = await run(process.execPath, [
        ...[ANCHORD, "generate-report", "--server", `localhost:${daemon.grpcPort}`],
        ...["--type", "login"],
      ]);
      expect(code).to.equal(1);
      expect(stderr).to.equal(
        "BROKEN: database and chain do not agree, 1 problem: see the report\n",
      );
      const { transaction_count: count, integrity } = JSON.parse(stdout) as Report;
      expect(count).to.equal(0); // the record was moved out of the report, and is missed all the same
      expect(integrity.verdict).to.equal("broken");
      expect(integrity.problems).to.have.length(1);
      expect(integrity.problems[0]).to.include({ column: "records.type", record_id: id });
      const { text } = await generate({ format: ReportFormat.HTML });
      expect(text).to.include("Broken: the database does not agree with the chain");
      const unchecked = await generate({ skipIntegrityCheck: true });
      expect(unchecked.summary.verdict).to.equal(IntegrityVerdict.NOT_CHECKED);
    });

    it("are written where a batch has a block time that no calendar has, and the daemon goes on", async () => {
      await change((trx) =>
        trx
          .updateTable("batches")
          .set({ block_time: 9_000_000_000_000_000 })
          .where("number", "=", 1)
          .execute(),
      );
      const written = async (format: string) => {
        const { code, stdout, stderr } = await run(process.execPath, [
          ...[ANCHORD, "generate-report", "--server", `localhost:${daemon.grpcPort}`],
          ...["--detailed", "--format", format],
        ]);
        expect(code, stderr).to.equal(1);
        expect(stderr).to.match(/^BROKEN: database and chain do not agree/);
        return stdout;
      };
      const report = JSON.parse(await written("json")) as Report;
      const columns = report.integrity.problems.map(({ batch_number, column }) => [
        batch_number,
        column,
      ]);
      expect(columns).to.deep.include([1, "batches.block_time"]);
      expect(report.transactions).to.have.length(report.transaction_count);
      const page = await written("html");
      expect(page)
        .to.include("batches.block_time")
        .and.to.match(/<\/html>\n$/);
      const rows = (await written("csv")).trim().split("\r\n");
      expect(rows).to.have.length(1 + report.transaction_count);
      for (const door of DOORS) {
        const client = door.client(daemon);
        const { batch } = await client.getBatch({ batch: { case: "number", value: 1n } });
        expect(batch?.anchor?.blockTime?.seconds).to.equal(253_402_300_799n);
        expect((await client.listRecords({})).records).to.not.be.empty;
        await client.getStats({});
      }
      expect((await fetch(`${daemon.url}/health`)).status).to.be.oneOf([200, 503]);
    });
  });
}
