import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { utils } from "web3";
import { ThreatScale } from "../../gen/ts/anchord/v1/record_pb.js";
import { connect } from "../support/audit-log.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { startExternalChain } from "../support/external-chain.js";
import type { ExternalChain } from "../support/external-chain.js";
import { startGanache } from "../support/ganache.js";
import { startRelay } from "../support/relay.js";
import type { Relay } from "../support/relay.js";
import { run } from "../support/run.js";
import { until } from "../support/until.js";

const MISSING = "Missing required fields: user_id, threat_score, duration_minutes, timestamp";
const NOT_NUMBERS = "threat_score and duration_minutes must be numbers";

/** Callers give up after so long. */
const PATIENCE_MS = 5_000;

/** Debian's Python: httpx, which the backends of this bridge post with, is one of its packages. */
const PYTHON = "/usr/bin/python3";

const THREAT = {
  user_id: "user-42",
  threat_score: 92.5,
  duration_minutes: 18.7,
  timestamp: "2026-01-31T08:00:00.123456+00:00",
} as const;

let users = 0;
/** A threat that no other test has posted. */
const newThreat = () => ({ ...THREAT, user_id: `user/€/${users++}` });

interface Reply {
  readonly status: number;
  readonly type: string | null;
  readonly body: Record<string, unknown>;
}

async function ask(daemon: Daemon, path: string, init: RequestInit = {}): Promise<Reply> {
  const response = await fetch(daemon.url + path, {
    ...init,
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  const body = (await response.json()) as Record<string, unknown>;
  return { status: response.status, type: response.headers.get("content-type"), body };
}

const postText = (daemon: Daemon, body: string) =>
  ask(daemon, "/log-threat", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
  });
const postThreat = (daemon: Daemon, threat: object) => postText(daemon, JSON.stringify(threat));

const count = async (daemon: Daemon) =>
  Number((await ask(daemon, "/threat-count")).body["count"] as string);

describe("threat bridge", function () {
  this.timeout(60_000);

  describe("beside a chain that answers", () => {
    let daemon: Daemon;

    before(async function () {
      this.timeout(120_000);
      daemon = await startDaemon();
    });

    after(() => daemon.stop());

    /** Posts a threat that must be mined, and gives what the bridge then shows of it. */
    async function mined(threat: object) {
      const { status, body } = await postThreat(daemon, threat);
      expect(status, JSON.stringify(body)).to.equal(200);
      const shown = await ask(daemon, `/threat/${body["threatId"] as string}`);
      expect(shown.status).to.equal(200);
      const recordId = (body["threatId"] as string).slice(2);
      const { record } = await daemon.grpc.getRecord({ recordId });
      const fact = record?.body.case === "threat" ? record.body.value : undefined;
      return { body, data: shown.body["data"] as Record<string, unknown>, record, fact };
    }

    async function refused(body: string, status: number): Promise<string> {
      const before = await count(daemon);
      const reply = await postText(daemon, body);
      expect(reply.status, JSON.stringify(reply.body)).to.equal(status);
      expect(reply.type).to.match(/^application\/json/);
      expect(Object.keys(reply.body)).to.deep.equal(["success", "error"]);
      expect(reply.body["success"]).to.equal(false);
      expect(await count(daemon)).to.equal(before);
      return reply.body["error"] as string;
    }

    it("answers as the bridge before it did, once the threat is on the chain", async () => {
      const { status, type, body } = await postThreat(daemon, THREAT);
      expect(status).to.equal(200);
      expect(type).to.match(/^application\/json/);
      expect(body).to.include({
        success: true,
        message: "Threat logged to blockchain successfully",
        userHashId: utils.keccak256(Buffer.from("user-42", "utf8")),
      });
      expect(body["txHash"]).to.match(/^0x[0-9a-f]{64}$/);
      expect(body["threatId"]).to.match(/^0x[0-9a-f]{64}$/);
      const node = connect(daemon.rpcUrl);
      const receipt = await node.eth.getTransactionReceipt(body["txHash"] as string);
      expect(receipt.status).to.equal(1n);
      const { input } = await node.eth.getTransaction(body["txHash"] as string);
      expect(input, "the user in clear").not.to.include(Buffer.from("user-42").toString("hex"));
    });

    it("takes the older names of the fields", async () => {
      const { user_id, timestamp } = newThreat();
      const { fact } = await mined({ user_id, timestamp, hybrid_score: 81, duration_mins: 3 });
      expect(fact).to.include({ score: 81, durationMinutes: 3, scale: ThreatScale.HUNDRED });
    });

    it("takes 0 for a value", async () => {
      const { fact, data } = await mined({ ...newThreat(), threat_score: 0, duration_minutes: 0 });
      expect(fact).to.include({ score: 0, durationMinutes: 0 });
      expect(data).to.include({ severity: 0, severityName: "LOW" });
    });

    for (const [score, severity] of [
      [39.9, 0],
      [40, 1],
      [59.9, 1],
      [60, 2],
      [79.9, 2],
      [80, 3],
      [100, 3],
    ] as const) {
      it(`gives a score of ${score} the severity ${severity}`, async () => {
        const { data } = await mined({ ...newThreat(), threat_score: score });
        expect(data["severity"]).to.equal(severity);
      });
    }

    const times: Readonly<Record<string, string>> = {
      "2026-01-31T08:00:00.123456+00:00": "2026-01-31T08:00:00.123456Z",
      "2026-01-31T08:00:00+00:00": "2026-01-31T08:00:00Z",
      "2026-01-31T08:00:00.1234567Z": "2026-01-31T08:00:00.123456700Z",
      "2026-01-31T08:00:00Z": "2026-01-31T08:00:00Z",
      "2026-01-31T08:00:00.5+05:30": "2026-01-31T02:30:00.500Z",
      "2026-01-31T08:00:00-08:00": "2026-01-31T16:00:00Z",
    };
    for (const [given, meant] of Object.entries(times)) {
      it(`takes the time ${given}`, async () => {
        const { data, record } = await mined({ ...newThreat(), timestamp: given });
        const seconds = Math.floor(Date.parse(meant) / 1000);
        const fraction = /\.(\d+)/.exec(meant)?.[1] ?? "";
        expect(record?.occurTime).to.include({
          seconds: BigInt(seconds),
          nanos: Number(fraction.padEnd(9, "0")),
        });
        expect(Date.parse(data["timestamp"] as string) / 1000).to.equal(seconds);
      });
    }

    it("takes unknown fields, which say nothing to it", async () => {
      await mined({ ...newThreat(), tier: 3 });
    });

    for (const name of ["user_id", "threat_score", "duration_minutes", "timestamp"]) {
      it(`refuses a post without ${name}, or with null for it`, async () => {
        const { [name as "user_id"]: _, ...rest } = newThreat();
        expect(await refused(JSON.stringify(rest), 400)).to.equal(MISSING);
        expect(await refused(JSON.stringify({ ...rest, [name]: null }), 400)).to.equal(MISSING);
      });
    }

    it("refuses scores and durations that are not numbers", async () => {
      for (const value of ["92.5", "", true, [92.5], { a: 1 }]) {
        if (value === "") continue; // an empty text counts as missing, as it did before
        for (const name of ["threat_score", "duration_minutes"]) {
          const text = JSON.stringify({ ...newThreat(), [name]: value });
          expect(await refused(text, 400), text).to.equal(NOT_NUMBERS);
        }
      }
    });

    const wrong: Readonly<Record<string, { body: string; status?: number; says: RegExp }>> = {
      "JSON that is cut": { body: '{"user_id": "a"', says: /JSON/ },
      "no body": { body: "", says: /JSON/ },
      NaN: { body: JSON.stringify(THREAT).replace("92.5", "NaN"), says: /JSON/ },
      "a list": { body: "[]", says: /object/ },
      null: { body: "null", says: /object/ },
      "a text": { body: '"a"', says: /object/ },
      "a user that is a number": {
        body: JSON.stringify({ ...THREAT, user_id: 42 }),
        says: /user_id/,
      },
      "a user of 300 characters": {
        body: JSON.stringify({ ...THREAT, user_id: "x".repeat(300) }),
        says: /subject/,
      },
      "a score over 100": { body: JSON.stringify({ ...THREAT, threat_score: 101 }), says: /score/ },
      "a negative score": { body: JSON.stringify({ ...THREAT, threat_score: -1 }), says: /score/ },
      "a score that overflows": {
        body: JSON.stringify(THREAT).replace("92.5", "1e999"),
        says: /numbers/,
      },
      "a user that is no text": {
        body: JSON.stringify(THREAT).replace("user-42", "\\ud800"),
        says: /surrogate/,
      },
      "a negative duration": {
        body: JSON.stringify({ ...THREAT, duration_minutes: -1 }),
        says: /duration/,
      },
      "a time that is a number": {
        body: JSON.stringify({ ...THREAT, timestamp: 1_769_846_400 }),
        says: /timestamp/,
      },
      "a time without a zone": {
        body: JSON.stringify({ ...THREAT, timestamp: "2026-01-31T08:00:00" }),
        says: /timestamp/,
      },
      "a time that is none": {
        body: JSON.stringify({ ...THREAT, timestamp: "2026-02-30T25:00:00Z" }),
        says: /timestamp/,
      },
      "a day that the calendar has not": {
        body: JSON.stringify({ ...THREAT, timestamp: "2026-02-30T17:00:00Z" }),
        says: /timestamp/,
      },
      "a time in 1969": {
        body: JSON.stringify({ ...THREAT, timestamp: "1969-12-31T23:59:59Z" }),
        says: /time/,
      },
      "a body that is too large": {
        body: JSON.stringify({ ...THREAT, note: "x".repeat(300_000) }),
        status: 413,
        says: /bytes/,
      },
    };
    for (const [what, { body, status = 400, says }] of Object.entries(wrong)) {
      it(`refuses ${what}, and says what is wrong`, async () => {
        expect(await refused(body, status)).to.match(says);
      });
    }

    it("answers 404 in JSON where it has nothing", async () => {
      for (const [method, path] of [
        ["GET", "/log-threat"],
        ["POST", "/threat-count"],
        ["GET", "/threats"],
        ["PUT", "/log-threat"],
      ] as const) {
        const { status, body } = await ask(daemon, path, { method });
        expect({ status, body }, path).to.deep.equal({
          status: 404,
          body: { success: false, error: "Endpoint not found" },
        });
      }
    });

    it("counts the threats on the chain, as a text", async () => {
      const before = await count(daemon);
      await mined(newThreat());
      const { body } = await ask(daemon, "/threat-count");
      expect(body).to.deep.equal({ success: true, count: String(before + 1) });
    });

    it("shows a threat by its id, with or without 0x", async () => {
      const threat = newThreat();
      const { body, data } = await mined(threat);
      expect(data).to.include({
        threatId: body["threatId"],
        userHashId: utils.keccak256(Buffer.from(threat.user_id, "utf8")),
        severity: 3,
        severityName: "CRITICAL",
        txHash: body["txHash"],
      });
      expect(data["threatHash"]).to.match(/^0x[0-9a-f]{64}$/);
      expect(data["blockNumber"]).to.be.a("number");
      const bare = await ask(daemon, `/threat/${(body["threatId"] as string).slice(2)}`);
      expect(bare.body["data"]).to.deep.equal(data);
    });

    it("says that it has no such threat", async () => {
      const unknown = await ask(daemon, `/threat/0x${"0".repeat(64)}`);
      expect(unknown).to.include({ status: 404 });
      expect(unknown.body["success"]).to.equal(false);
      const malformed = await ask(daemon, "/threat/1");
      expect(malformed).to.include({ status: 400 });
      const { recordId } = await daemon.grpc.recordEvent({
        subject: "user/1",
        body: { case: "login", value: { user: "a" } },
      });
      expect(await ask(daemon, `/threat/${recordId}`)).to.include({ status: 404 });
    });

    it("shows its health as the bridge before it did", async () => {
      await mined(newThreat());
      const { status, body } = await ask(daemon, "/health");
      expect(status).to.equal(200);
      expect(body).to.include({ status: "healthy", service: "blockchain-bridge" });
      expect(Date.parse(body["timestamp"] as string)).to.be.within(Date.now() - 60_000, Date.now());
      const { identity, sealer } = await daemon.grpc.getStats({});
      const chain = body["blockchain"] as Record<string, unknown>;
      expect(chain).to.include({
        healthy: true,
        threatCount: String(await count(daemon)),
        contractAddress: identity?.contract,
        walletAddress: sealer,
      });
      expect(chain["blockNumber"]).to.be.a("number");
    });

    it("makes one record of a threat that is posted again", async () => {
      const threat = newThreat();
      const before = await count(daemon);
      const first = await mined(threat);
      const again = await Promise.all(Array.from({ length: 5 }, () => postThreat(daemon, threat)));
      for (const { status, body } of again) {
        expect(status).to.equal(200);
        expect(body).to.deep.equal(first.body);
      }
      expect(await count(daemon)).to.equal(before + 1);
      await mined({ ...threat, timestamp: "2026-01-31T08:00:01Z" });
      expect(await count(daemon)).to.equal(before + 2);
    });

    it("takes 200 posts at once, each within the 5 s that its caller waits", async () => {
      const before = await count(daemon);
      const answers = await postMany(daemon, 200);
      expect(answers.map(({ status }) => status)).to.deep.equal(Array(200).fill(200));
      const slowest = Math.max(...answers.map(({ seconds }) => seconds));
      console.log(
        `        the slowest took ${slowest.toFixed(1)} s, the client's own work included`,
      );
      expect(await count(daemon)).to.equal(before + 200);
    });
  });

  describe("on the scale from 0 to 1", () => {
    it("takes scores for what the setting says they are", async function () {
      this.timeout(120_000);
      const daemon = await startDaemon({ THREAT_SCALE: "1" });
      const { status, body } = await postThreat(daemon, { ...newThreat(), threat_score: 0.8 });
      expect(status).to.equal(200);
      const shown = await ask(daemon, `/threat/${body["threatId"] as string}`);
      expect(shown.body["data"]).to.include({ severity: 3, severityName: "CRITICAL" });
      expect((await postThreat(daemon, { ...newThreat(), threat_score: 80 })).status).to.equal(400);
      await daemon.stop();
    });
  });

  describe("while the chain is away", () => {
    let folder: string;
    let chain: ExternalChain;
    let relay: Relay;
    let daemon: Daemon | undefined;

    before(async function () {
      this.timeout(120_000);
      folder = await mkdtemp(join(tmpdir(), "anchord-chain-"));
      chain = await startExternalChain({ dbPath: folder });
      // Ganache cannot listen again on a port that was just used, so that a relay keeps the address.
      relay = await startRelay(portOf(chain.url));
      daemon = await startDaemon({
        ...chain.environment,
        DATA_DIR: temporaryFolder(),
        BLOCKCHAIN_RPC_URL: relay.url,
        CONFIRMATIONS: "0",
      });
    });

    after(async () => {
      await daemon?.stop();
      await relay.close();
      await chain.stop();
      await rm(folder, { recursive: true });
    });

    it("answers in time that a threat is not on the chain, keeps it, and seals it later", async () => {
      if (daemon === undefined) throw new Error("there is no daemon");
      const bridge = daemon;
      expect((await postThreat(bridge, newThreat())).status).to.equal(200);
      await chain.stop();

      const threat = newThreat();
      const started = performance.now();
      const { status, body } = await postThreat(bridge, threat);
      expect(performance.now() - started).to.be.below(PATIENCE_MS);
      expect(status).to.equal(503);
      expect(body["success"]).to.equal(false);
      expect(body["error"]).to.include("stored");

      const waiting = await ask(bridge, `/threat/${body["threatId"] as string}`);
      expect(waiting.body["data"]).to.include({
        state: "ACCEPTED",
        txHash: null,
        blockNumber: null,
      });
      expect(await count(bridge)).to.equal(1);
      const { records, nextPageToken } = await bridge.grpc.listRecords({ filter: { state: 1 } });
      expect({ ids: records.map(({ id }) => `0x${id}`), nextPageToken }).to.deep.equal({
        ids: [body["threatId"]],
        nextPageToken: "",
      });
      await until("health says so", async () => (await ask(bridge, "/health")).status === 503);
      const health = (await ask(bridge, "/health")).body;
      expect(health["status"]).to.equal("degraded");
      expect((health["blockchain"] as { healthy: boolean }).healthy).to.equal(false);
      expect((health["database"] as { healthy: boolean }).healthy).to.equal(true);

      const restarted = await startGanache({ dbPath: folder });
      chain = { ...chain, stop: () => restarted.stop() };
      relay.target = portOf(restarted.url);
      await until("the threat is sealed", async () => (await count(bridge)) === 2, 40_000);
      await until("health says so", async () => (await ask(bridge, "/health")).status === 200);
      const again = await postThreat(bridge, threat);
      expect(again.status).to.equal(200);
      expect(again.body["threatId"]).to.equal(body["threatId"]);
      const sealed = await ask(bridge, `/threat/${body["threatId"] as string}`);
      expect(sealed.body["data"]).to.include({ txHash: again.body["txHash"] });
    });
  });
});

function portOf(url: string): number {
  return Number(new URL(url).port);
}

interface Posted {
  readonly status: number;
  readonly seconds: number;
}

/** Posts so many different threats at once from one client, as the Python backends do where they can. */
async function postMany(daemon: Daemon, posts: number): Promise<readonly Posted[]> {
  const hasHttpx = await run(PYTHON, ["-c", "import httpx"]).then(
    ({ code }) => code === 0,
    () => false,
  );
  if (!hasHttpx) return Promise.all(Array.from({ length: posts }, () => postOne(daemon)));
  const { code, stdout, stderr } = await run(PYTHON, ["-c", POST_MANY, daemon.url, String(posts)]);
  expect(code, stderr).to.equal(0);
  return JSON.parse(stdout) as Posted[];
}

async function postOne(daemon: Daemon): Promise<Posted> {
  const started = performance.now();
  const { status } = await postThreat(daemon, newThreat());
  return { status, seconds: (performance.now() - started) / 1000 };
}

/** One shared client, which gives up a post that is not answered within 5 s, and fails. */
const POST_MANY = `
import asyncio, datetime, json, sys, time
import httpx

async def main(url, posts):
    async with httpx.AsyncClient(timeout=5.0, limits=httpx.Limits(max_connections=posts)) as client:
        async def post(i):
            threat = {
                "user_id": f"crowd-{i}",
                "threat_score": 80 + i % 21,
                "duration_minutes": i / 7,
                "timestamp": datetime.datetime.now(datetime.timezone.utc).isoformat(),
            }
            started = time.perf_counter()
            response = await client.post(f"{url}/log-threat", json=threat)
            return {"status": response.status_code, "seconds": time.perf_counter() - started}
        print(json.dumps(await asyncio.gather(*[post(i) for i in range(posts)])))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
`;
