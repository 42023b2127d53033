import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { hex, sha256 } from "../../src/core/bytes.js";
import { startDaemon } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { GRPC_DOOR } from "../support/doors.js";
import { evidenceClient, randomFile } from "../support/evidence.js";
import { pythonWithStubs } from "../support/python.js";
import { randomOf, seedOfRun } from "../support/random.js";
import { repositoryRoot } from "../support/repository.js";
import { run } from "../support/run.js";

const TOKEN = "correct-horse";

describe("examples/python/evidence.py", function () {
  this.timeout(60_000);

  const seed = seedOfRun();
  let python: string;
  let daemon: Daemon;
  let folder: string;
  let bytes: Buffer;

  before(async function () {
    this.timeout(300_000);
    console.log(`      seed ${seed}`);
    python = await pythonWithStubs();
    folder = await mkdtemp(join(tmpdir(), "anchord-python-evidence-"));
    daemon = await startDaemon({ API_TOKENS: TOKEN });
    bytes = randomFile(randomOf(seed), 600_000);
    await writeFile(join(folder, "photo.jpg"), bytes);
  });

  after(async () => {
    await daemon?.stop();
    await rm(folder, { recursive: true });
  });

  const argumentsOf = (file: string, ...args: string[]) => [
    "examples/python/evidence.py",
    join(folder, file),
    "--server",
    `localhost:${daemon.grpcPort}`,
    ...args,
  ];
  const example = (...args: Parameters<typeof argumentsOf>) => run(python, argumentsOf(...args));

  it("hands a file in, waits for its anchor, verifies it, and gets it back", async () => {
    const out = join(folder, "back.jpg");
    const { code, stdout, stderr } = await example("photo.jpg", "--token", TOKEN, "--out", out);
    expect(code, stdout + stderr).to.equal(0);
    const [, id = ""] = /^accepted: ([0-9a-f]{64})$/m.exec(stdout) ?? [];
    expect(stdout).to.match(/^RECORD_STATE_(ANCHORED|FINAL) in block \d+$/m);
    expect(stdout).to.include(`VERIFIED: ${hex(sha256(bytes))}`);
    expect((await readFile(out)).equals(bytes)).to.equal(true);
    const client = evidenceClient(GRPC_DOOR, daemon, TOKEN);
    const { evidence } = await client.getEvidence({ id });
    expect(evidence).to.deep.include({
      subject: "complaint/ABC12345",
      actor: "case-worker",
      fileName: "photo.jpg",
      size: BigInt(bytes.length),
    });
    expect(stdout).to.include(`IPFS: ${evidence?.cid}`).and.include(evidence?.anchor?.submitter);
  });

  it("knows the file again, and tells one that was altered from it", async () => {
    const altered = Buffer.from(bytes);
    altered[0] = (altered[0] as number) ^ 1;
    await writeFile(join(folder, "altered.jpg"), altered);
    const check = ["--check", join(folder, "altered.jpg")];
    const { code, stdout, stderr } = await example("photo.jpg", "--token", TOKEN, ...check);
    expect(code, stdout + stderr).to.equal(1);
    expect(stdout).to.match(/^known already: [0-9a-f]{64}$/m);
    expect(stdout).to.include(`NOT ANCHORED: ${hex(sha256(altered))}`);
  });

  it("saves a bundle that anchord verify accepts", async () => {
    const bundle = join(folder, "bundle.car");
    const { code, stdout, stderr } = await example(
      "photo.jpg",
      "--token",
      TOKEN,
      "--bundle",
      bundle,
    );
    expect(code, stdout + stderr).to.equal(0);
    const [, id = ""] = /^(?:accepted|known already): ([0-9a-f]{64})$/m.exec(stdout) ?? [];
    const program = join(repositoryRoot, "bin/anchord.js");
    const args = [program, "verify", bundle, "--rpc", daemon.rpcUrl];
    const checked = await run(process.execPath, args);
    expect(checked.code, checked.stdout + checked.stderr).to.equal(0);
    expect(checked.stdout)
      .to.include(`file: "photo.jpg", ${bytes.length} bytes, SHA-256 ${hex(sha256(bytes))}`)
      .and.to.include(`VALID: evidence ${id} is on the chain since`);
  });

  it("leaves what was there where a bundle cannot be written to its end", async () => {
    const bundle = join(folder, "kept.car");
    await writeFile(bundle, "an earlier one");
    const before = await readdir(folder);
    const limited = 'ulimit -f 100 && exec "$@"'; // blocks of 512 or 1024 bytes: far less than the bundle
    const args = argumentsOf("photo.jpg", "--token", TOKEN, "--bundle", bundle);
    const { code, stdout, stderr } = await run("sh", ["-c", limited, "sh", python, ...args]);
    expect(code, stdout + stderr).to.equal(1);
    expect(stderr).to.match(/^\[Errno \d+\] File too large\n$/);
    expect(await readFile(bundle, "utf8")).to.equal("an earlier one");
    expect(await readdir(folder)).to.deep.equal(before);
  });

  it("says what is wrong where its token is not known", async () => {
    const { code, stderr } = await example("photo.jpg", "--token", "wrong");
    expect(code).to.equal(1);
    expect(stderr).to.include("UNAUTHENTICATED").and.to.include("API_TOKENS");
  });
});
