import { existsSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { join } from "node:path";
import type { ConnectError } from "@connectrpc/connect";
import { Code } from "@connectrpc/connect";
import { Client as GrpcClient, credentials } from "@grpc/grpc-js";
import { expect } from "chai";
import { AuditService } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { EventService } from "../../gen/ts/anchord/v1/event_service_pb.js";
import { EvidenceService } from "../../gen/ts/anchord/v1/evidence_service_pb.js";
import { SLAService } from "../../gen/ts/anchord/v1/sla_service_pb.js";
import { RecordState } from "../../gen/ts/anchord/v1/record_pb.js";
import { ExitCode } from "../../src/cli/exit-code.js";
import { sha256, hex } from "../../src/core/bytes.js";
import { startDaemon, startFails, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { callerOf, DOORS, METHODS, refusal, refusalIn, refusalOf } from "../support/doors.js";
import { connect } from "../support/audit-log.js";
import { startGanache } from "../support/ganache.js";
import type { TestChain } from "../support/ganache.js";
import { repositoryRoot } from "../support/repository.js";
import { run } from "../support/run.js";
import { until } from "../support/until.js";

const BUF = join(repositoryRoot, "node_modules/@bufbuild/buf-linux-x64/bin/buf");
const LOGIN = { case: "login", value: { user: "ada" } } as const;

interface Health {
  readonly status: string;
  readonly sealing: { readonly role: string; readonly pending: number };
}

const health = async ({ url }: Daemon) => (await (await fetch(`${url}/health`)).json()) as Health;

describe("doors", function () {
  this.timeout(60_000);

  describe("that are open on loopback", () => {
    let daemon: Daemon;

    before(async function () {
      this.timeout(120_000);
      daemon = await startDaemon();
    });

    after(() => daemon.stop());

    it("answer over HTTP to the names of this host alone, so that no web page can rebind its own", async () => {
      const statusFor = (host: string) =>
        new Promise<number | undefined>((resolve, reject) => {
          const options = { headers: { host }, setHost: false };
          get(`${daemon.url}/threat-count`, options, (response) => {
            response.resume();
            resolve(response.statusCode);
          }).on("error", reject);
        });
      for (const host of ["localhost", `localhost:${daemon.httpPort}`, "127.0.0.1", "[::1]:3001"]) {
        expect(await statusFor(host), host).to.equal(200);
      }
      for (const host of ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80"]) {
        expect(await statusFor(host), host).to.equal(403);
      }
    });

    it("take nothing from pages of other origins, whose forms a browser sends without asking", async () => {
      const form = { method: "POST", body: new FormData() };
      const path = `${daemon.url}/api/blockchain/reports/none/evidence/`;
      const post = (origin: string) => fetch(path, { ...form, headers: { origin } });
      for (const origin of ["https://evil.example", "http://localhost.evil.example", "null"]) {
        expect((await post(origin)).status, origin).to.equal(403);
      }
      expect((await fetch(path, form)).status).to.equal(404);
      const own = await post(`http://localhost:${daemon.httpPort}`);
      expect(own.status).to.equal(404);
      expect(own.headers.has("access-control-allow-origin"), "nor may they read it").to.equal(
        false,
      );
    });

    it("describe the services by reflection, so that a client needs no proto files", async function () {
      if (!existsSync(BUF)) {
        console.log("        SKIPPED: @bufbuild/buf-linux-x64 is not installed");
        return this.skip();
      }
      const target = `http://127.0.0.1:${daemon.grpcPort}`;
      const curl = (...args: string[]) =>
        run(BUF, ["curl", "--protocol", "grpc", "--http2-prior-knowledge", ...args]);
      const listed = await curl("--list-methods", target);
      for (const { name } of Object.values(METHODS)) {
        expect(listed.stdout, listed.stderr).to.include(`anchord.v1.AuditService/${name}\n`);
      }
      for (const { name } of EvidenceService.methods) {
        expect(listed.stdout, listed.stderr).to.include(`anchord.v1.EvidenceService/${name}\n`);
      }
      for (const { name } of SLAService.methods) {
        expect(listed.stdout, listed.stderr).to.include(`anchord.v1.SLAService/${name}\n`);
      }
      const event = { subject: "user/42", threat: { score: 92.5, durationMinutes: 18.7 } };
      const call = `${target}/anchord.v1.AuditService/RecordEvent`;
      const { code, stdout, stderr } = await curl(call, "-d", JSON.stringify(event));
      expect(code, stderr).to.equal(0);
      expect(JSON.parse(stdout)).to.include({ state: "RECORD_STATE_ACCEPTED" });
      const hashed = { subject: "complaint/1", sha256: hex(sha256(Buffer.from("a file"))) };
      const anchor = `${target}/anchord.v1.EvidenceService/AnchorEvidence`;
      const anchored = await curl(anchor, "-d", JSON.stringify(hashed));
      expect(anchored.code, anchored.stderr).to.equal(0);
      expect(JSON.parse(anchored.stdout)).to.have.nested.include({
        "evidence.sha256": hashed.sha256,
      });
      const deadline = { subject: "complaint/1", within: "172800s", ladder: ["0s", "86400s"] };
      const setting = `${target}/anchord.v1.SLAService/SetDeadline`;
      const set = await curl(setting, "-d", JSON.stringify(deadline));
      expect(set.code, set.stderr).to.equal(0);
      expect(JSON.parse(set.stdout)).to.have.nested.include({ "sla.subject": "complaint/1" });
      const refused = await curl(call, "-d", "{}");
      expect(refused.code).not.to.equal(0);
      expect(refusalIn(refused.stderr)).to.deep.include({
        code: "InvalidArgument",
        reason: "ERROR_REASON_INVALID_FIELD",
        fields: ["subject", "body"],
      });
    });

    it("answer grpc.health.v1 for the server and the service", async () => {
      const client = new GrpcClient(`127.0.0.1:${daemon.grpcPort}`, credentials.createInsecure());
      const check = (service: string) =>
        new Promise<Buffer>((resolve, reject) => {
          const request = Buffer.concat([Buffer.of(0x0a, service.length), Buffer.from(service)]);
          const asIs = (bytes: Buffer) => bytes;
          client.makeUnaryRequest(
            "/grpc.health.v1.Health/Check",
            asIs,
            asIs,
            request,
            (error, answer) => (error === null ? resolve(answer as Buffer) : reject(error)),
          );
        });
      const serving = Buffer.of(0x08, 1); // status: SERVING
      expect((await check("")).equals(serving)).to.equal(true);
      expect((await check("anchord.v1.AuditService")).equals(serving)).to.equal(true);
      client.close();
    });

    it("take the JSON of the README, and give the receipt of it", async () => {
      const post = (method: string, body: string) =>
        fetch(`${daemon.url}/anchord.v1.AuditService/${method}`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body,
        });
      const answer = await post(
        "RecordEvent",
        '{"subject":"user/42","threat":{"score":92.5,"durationMinutes":18.7},"waitFor":"RECORD_STATE_ANCHORED"}',
      );
      expect(answer.status).to.equal(200);
      const { recordId } = (await answer.json()) as { recordId: string };
      const receipt = await (await post("GetReceipt", JSON.stringify({ recordId }))).text();
      const args = [join(repositoryRoot, "bin/anchord.js"), "verify", "-", "--rpc", daemon.rpcUrl];
      const { code, stdout } = await run(process.execPath, args, receipt);
      expect(code, stdout).to.equal(0);
      expect(stdout).to.include(`VALID: record ${recordId}`);
    });

    it("describe the endpoints at /", async () => {
      const response = await fetch(daemon.url);
      expect(response.status).to.equal(200);
      const { endpoints } = (await response.json()) as { endpoints: Record<string, string> };
      expect(endpoints).to.include.keys("POST /log-threat", "GET /health");
      for (const { typeName } of [AuditService, EventService, EvidenceService, SLAService]) {
        expect(endpoints).to.include.keys(`POST /${typeName}/{method}`);
      }
      for (const path of ["/threat-count", "/health", "/metrics", "/"]) {
        expect((await fetch(daemon.url + path)).status, path).to.equal(200);
      }
    });

    it("give the numbers to graph at /metrics", async () => {
      await daemon.http.recordEvent({ subject: "a", body: LOGIN, waitFor: RecordState.ANCHORED });
      const response = await fetch(`${daemon.url}/metrics`);
      expect(response.headers.get("content-type")).to.match(/^text\/plain/);
      const text = await response.text();
      expect(text).to.match(/^anchord_healthy\{part="service"\} 1$/m);
      expect(text).to.match(/^anchord_records_pending 0$/m);
      expect(text).to.match(/^anchord_batches_anchored [1-9]/m);
    });

    it("answer 404 in JSON where there is nothing", async () => {
      for (const path of [
        "/nothing",
        "/anchord.v1.AuditService/Nothing",
        "/anchord.v1.Other/Call",
      ]) {
        const response = await fetch(daemon.url + path, { method: "POST" });
        expect(response.status, path).to.equal(404);
        expect(await response.json()).to.deep.equal({
          success: false,
          error: "Endpoint not found",
        });
      }
      const unknown = new Promise<number>((resolve) => {
        const client = new GrpcClient(`127.0.0.1:${daemon.grpcPort}`, credentials.createInsecure());
        const asIs = (bytes: Buffer) => bytes;
        const path = "/anchord.v1.AuditService/Nothing";
        client.makeUnaryRequest(path, asIs, asIs, Buffer.alloc(0), (error) => {
          client.close();
          resolve(error?.code ?? 0);
        });
      });
      expect(await unknown).to.equal(Code.Unimplemented);
    });

    it("let pages of any origin read", async () => {
      for (const path of ["/health", "/threat-count"]) {
        const response = await fetch(daemon.url + path, {
          headers: { origin: "https://example.com" },
        });
        expect(response.headers.get("access-control-allow-origin"), path).to.equal("*");
      }
    });
  });

  describe("with API_TOKENS", () => {
    let daemon: Daemon;

    before(async function () {
      this.timeout(120_000);
      const API_TOKENS = `clear-token, ${hex(sha256(Buffer.from("hidden-token")))}`;
      daemon = await startDaemon({ API_TOKENS, HOST: "0.0.0.0" });
    });

    after(() => daemon.stop());

    for (const door of DOORS) {
      for (const token of ["clear-token", "hidden-token"]) {
        it(`the ${door.name} door lets ${token} in, and names its caller`, async () => {
          const client = door.client(daemon, token);
          const { recordId } = await client.recordEvent({ subject: "a", body: LOGIN });
          const { record } = await client.getRecord({ recordId });
          expect(record?.caller).to.equal(callerOf(token));
        });
      }

      const digest = hex(sha256(Buffer.from("hidden-token")));
      for (const token of [undefined, "", "wrong", "Clear-Token", digest, "clear-token x"]) {
        it(`the ${door.name} door refuses ${token === undefined ? "a call without a token" : `"${token}"`}`, async () => {
          const client = door.client(daemon, token);
          const expected = {
            code: "Unauthenticated",
            reason: "ERROR_REASON_UNAUTHENTICATED",
            domain: "anchord",
          };
          const event = { subject: "intruder", body: LOGIN };
          expect(await refusalOf(client.recordEvent(event))).to.include(expected);
          expect(await refusalOf(client.getStats({}))).to.include(expected);
          const first = client.verifyLog({})[Symbol.asyncIterator]().next();
          expect(await refusalOf(first)).to.include(expected);
        });
      }
    }

    it("a stream without a token records nothing", async () => {
      async function* messages() {
        yield { events: [{ subject: "intruder", body: LOGIN }] };
      }
      try {
        for await (const _ of daemon.grpc.recordEvents(messages())) throw new Error("acknowledged");
      } catch (error) {
        expect(refusal(error as ConnectError).reason).to.equal("ERROR_REASON_UNAUTHENTICATED");
      }
      const client = DOORS[0]?.client(daemon, "clear-token");
      expect((await client?.getTrail({ subject: "intruder" }))?.length).to.equal(0n);
    });

    it("the REST front and the metrics ask for one too; health and the description do not", async () => {
      const threat = {
        user_id: "a",
        threat_score: 80,
        duration_minutes: 1,
        timestamp: "2026-01-31T08:00:00Z",
      };
      const call = (path: string, token?: string) =>
        fetch(daemon.url + path, {
          ...(path === "/log-threat" ? { method: "POST", body: JSON.stringify(threat) } : {}),
          headers: {
            "content-type": "application/json",
            ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          },
        });
      for (const path of ["/log-threat", "/threat-count", "/metrics"]) {
        const refused = await call(path);
        expect(refused.status, path).to.equal(401);
        expect(await refused.json()).to.include({ success: false });
        expect((await call(path, "wrong")).status, path).to.equal(401);
        expect((await call(path, "hidden-token")).status, path).to.equal(200);
      }
      for (const path of ["/", "/health"]) expect((await call(path)).status, path).to.equal(200);
    });

    it("JSON says why it was refused", async () => {
      const response = await fetch(`${daemon.url}/anchord.v1.AuditService/GetStats`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: "{}",
      });
      expect(response.status).to.equal(401);
      expect(refusalIn(await response.text()).reason).to.equal("ERROR_REASON_UNAUTHENTICATED");
    });
  });
});

describe("a configuration that cannot work", function () {
  this.timeout(60_000);

  /** What the daemon says when it refuses to start. */
  async function refusedWith(
    environment: Record<string, string>,
    as: number = ExitCode.usage,
  ): Promise<string> {
    const { code, output } = await startFails({ DATA_DIR: temporaryFolder(), ...environment });
    expect(code, output).to.equal(as);
    expect(output).not.to.match(/\n\s+at /); // a sentence, not a stack trace
    return output;
  }

  it("ends the start and is named, without secrets", async () => {
    const output = await refusedWith({ PRIVATE_KEY: "0x12", PORT: "70000" });
    expect(output).to.include("PRIVATE_KEY: must be 32 bytes in hex").and.to.include("PORT: must");
    expect(output).not.to.include("0x12");
  });

  it("a data folder that cannot be made or written is named, and why", async () => {
    const file = join(temporaryFolder(), "file");
    writeFileSync(file, "");
    for (const DATA_DIR of [file, join(file, "data"), "/proc/none/data"]) {
      expect(await refusedWith({ DATA_DIR })).to.match(
        /^anchord: DATA_DIR: \S+ cannot be made or written: E[A-Z]+: [^\n]*name another folder\n$/,
      );
    }
  });

  it("a port that is taken ends the start and is named", async () => {
    const daemon = await startDaemon();
    const output = await refusedWith({ PORT: String(daemon.httpPort) }, ExitCode.failed);
    expect(output).to.include(String(daemon.httpPort));
    await daemon.stop();
  });

  describe("with a contract address", () => {
    let chain: TestChain;

    before(async () => (chain = await startGanache()));
    after(() => chain.stop());

    const misled = (contract: string) =>
      refusedWith({
        BLOCKCHAIN_RPC_URL: chain.url,
        BLOCKCHAIN_CONTRACT_ADDRESS: contract,
        PRIVATE_KEY: chain.privateKeys[1] ?? "",
      });

    it("of nothing, says how to deploy the contract", async () => {
      const output = await misled(`0x${"1".repeat(40)}`);
      expect(output).to.include("npm run migrate").and.to.include("BLOCKCHAIN_CONTRACT_ADDRESS");
    });

    it("of a contract of somebody else, says how to deploy ours", async () => {
      const { eth } = connect(chain.url);
      const [from = ""] = chain.accounts;
      // A contract that answers every call with nothing.
      const { contractAddress } = await eth.sendTransaction({
        from,
        data: "0x6001600c60003960016000f300",
      });
      const output = await misled(contractAddress ?? "");
      expect(output).to.include("a system that anchord replaces, does not do");
      expect(output).to.include("npm run migrate").and.to.include("BLOCKCHAIN_CONTRACT_ADDRESS");
    });
  });
});

describe("a second daemon on the same data", function () {
  this.timeout(120_000);

  for (const end of ["stop", "kill"] as const) {
    it(`accepts and serves while the first leads, and takes over after its ${end}`, async () => {
      const first = await startDaemon();
      const event = { subject: "shared", body: LOGIN, waitFor: RecordState.ANCHORED };
      await first.grpc.recordEvent(event);
      expect((await health(first)).sealing.role).to.equal("leader");

      const second = await startDaemon({ DATA_DIR: first.dataDir });
      expect(await health(second)).to.deep.include({ status: "healthy" });
      expect((await health(second)).sealing.role).to.equal("standby");
      const through = await second.http.recordEvent(event);
      expect(through.state).to.be.at.least(RecordState.ANCHORED);
      const seen = await first.http.getRecord({ recordId: through.recordId });
      expect(seen.record?.trailIndex).to.equal(1n);

      await first[end]();
      const { recordId } = await second.grpc.recordEvent({ subject: "shared", body: LOGIN });
      await until("it leads", async () => (await health(second)).sealing.role === "leader", 30_000);
      await until(
        "it seals",
        async () =>
          ((await second.grpc.getRecord({ recordId })).record?.state ?? 0) >= RecordState.ANCHORED,
        30_000,
      );
      let last;
      for await (const progress of second.grpc.verifyLog({})) last = progress;
      expect(last).to.include({ done: true, problemsTotal: 0n, recordsChecked: 3n });
      await second.stop();
    });
  }
});
