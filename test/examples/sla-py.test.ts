import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromJsonString } from "@bufbuild/protobuf";
import { expect } from "chai";
import { SLACertificateSchema, SLAState, SLAVerdict } from "../../gen/ts/anchord/v1/sla_pb.js";
import { startDaemon } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { GRPC_DOOR } from "../support/doors.js";
import { pythonWithStubs } from "../support/python.js";
import { run } from "../support/run.js";
import { slaClient } from "../support/sla.js";

const TOKEN = "correct-horse";

describe("examples/python/sla.py", function () {
  this.timeout(60_000);

  let python: string;
  let daemon: Daemon;
  let folder: string;

  before(async function () {
    this.timeout(300_000);
    python = await pythonWithStubs();
    folder = await mkdtemp(join(tmpdir(), "anchord-python-sla-"));
    daemon = await startDaemon({ API_TOKENS: TOKEN });
  });

  after(async () => {
    await daemon?.stop();
    await rm(folder, { recursive: true });
  });

  const example = (...args: string[]) =>
    run(python, ["examples/python/sla.py", "--server", `localhost:${daemon.grpcPort}`, ...args]);

  it("sets a deadline, meets it, and writes the certificate of it", async () => {
    const out = join(folder, "certificate.json");
    const { code, stdout, stderr } = await example("--token", TOKEN, "--hours", "1", "--out", out);
    expect(code, stdout + stderr).to.equal(0);
    expect(stdout).to.match(/^complaint\/ABC12345, deadline 1: OPEN, until .* UTC$/m);
    expect(stdout).to.match(/^complaint\/ABC12345, deadline 1: MET, until .* UTC$/m);
    expect(stdout).to.match(/^ {2}SET by case-worker at .* UTC$/m);
    expect(stdout).to.match(/^ {2}MET by case-worker at .* UTC$/m);
    expect(stdout).to.include(`MET_IN_TIME: the certificate is in ${out}`);
    const certificate = fromJsonString(SLACertificateSchema, await readFile(out, "utf8"));
    expect(certificate).to.include({
      subject: "complaint/ABC12345",
      cycle: 1,
      verdict: SLAVerdict.SLA_VERDICT_MET_IN_TIME,
    });
  });

  it("leaves a deadline open where it is told to, and repeats itself safely", async () => {
    const args = ["--token", TOKEN, "--subject", "complaint/2", "--no-meet", "--request-id", "r"];
    for (let i = 0; i < 2; i++) {
      const { code, stdout, stderr } = await example(...args);
      expect(code, stdout + stderr).to.equal(0);
    }
    const client = slaClient(GRPC_DOOR, daemon, TOKEN);
    const { slas } = await client.listSLAs({ subject: "complaint/2" });
    expect(slas.map(({ state }) => state)).to.deep.equal([SLAState.SLA_STATE_OPEN]);
    const ladder = slas[0]?.ladder.map(({ seconds }) => Number(seconds));
    expect(ladder).to.deep.equal([0, 86_400, 259_200]);
  });

  it("says what the chain would not have, and what is wrong where its token is not known", async () => {
    const open = await example("--token", TOKEN, "--subject", "complaint/2");
    expect(open.code).to.equal(1);
    expect(open.stderr).to.include("FAILED_PRECONDITION").and.to.include("is open");
    const unknown = await example("--token", "wrong");
    expect(unknown.code).to.equal(1);
    expect(unknown.stderr).to.include("UNAUTHENTICATED").and.to.include("API_TOKENS");
  });
});
