import { readdirSync, rmSync, statSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { hex, sha256 } from "../../src/core/bytes.js";
import { bytesText } from "../../src/cli/progress-bar.js";
import { startDaemon, temporaryFolder } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";
import { randomFile } from "../support/evidence.js";
import { randomOf, seedOfRun } from "../support/random.js";
import { repositoryRoot } from "../support/repository.js";
import { run } from "../support/run.js";
import type { Ended } from "../support/run.js";

const ANCHORD = join(repositoryRoot, "bin/anchord.js");
const PYTHON = process.env["PYTHON"] ?? "python3";

/** Runs its arguments as if on a terminal. */
const ON_A_TERMINAL = `import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))`;

const seed = seedOfRun();

/** Evidence, or a verdict on it, as the commands print it. */
interface Printed {
  readonly id: string;
  readonly state: string;
  readonly sha256: string;
  readonly fileName: string;
  readonly verdict: string;
  readonly anchors: readonly { readonly subject: string }[];
}

describe(`anchord evidence (seed ${seed})`, function () {
  this.timeout(240_000);
  const folder = temporaryFolder();
  const file = join(folder, "letter.bin");
  /** Of several blocks, the last of which has a size of its own. */
  const bytes = randomFile(randomOf(seed), 2_500_001);
  let daemon: Daemon;
  let id: string;

  before(async () => {
    await writeFile(file, bytes);
    daemon = await startDaemon();
    const args = ["--subject", "complaint/1", "--actor", "ada", "--wait", "final"];
    const { code, stdout, stderr } = await evidence(["upload", file, ...args]);
    expect(code, stderr).to.equal(0);
    const printed = JSON.parse(stdout) as Printed;
    const expected = { state: "RECORD_STATE_FINAL", sha256: hex(sha256(bytes)), actor: "ada" };
    expect(printed).to.include({ ...expected, fileName: "letter.bin", size: `${bytes.length}` });
    ({ id } = printed);
  });
  after(() => daemon?.kill());

  function evidence(args: readonly string[], input = ""): Promise<Ended> {
    const server = ["--server", `localhost:${daemon.grpcPort}`];
    return run(process.execPath, [ANCHORD, "evidence", ...args, ...server], input);
  }

  it("hands a file in once, and what is piped to it under a name", async () => {
    const again = await evidence(["upload", file, "--subject", "complaint/1"]);
    expect((JSON.parse(again.stdout) as Printed).id).to.equal(id);
    const args = ["upload", "-", "--name", "note.txt", "--subject", "complaint/1"];
    const { code, stdout } = await evidence([...args, "--derived-from", id], "a note");
    expect(code).to.equal(0);
    expect(JSON.parse(stdout)).to.include({ fileName: "note.txt", size: "6", derivedFrom: id });
  });

  it("says whether a file is anchored, and for whom", async () => {
    const known = await evidence(["verify", file]);
    expect(known.code, known.stderr).to.equal(0);
    const { verdict, anchors } = JSON.parse(known.stdout) as Printed;
    expect(verdict).to.equal("EVIDENCE_VERDICT_VERIFIED");
    expect(anchors.map(({ subject }) => subject)).to.deep.equal(["complaint/1"]);
    const other = await evidence(["verify", file, "--subject", "complaint/2", "--format", "table"]);
    expect(other.code).to.equal(1);
    expect(other.stdout).to.match(
      /^NOT ANCHORED for complaint\/2, but for others, .*\n {2}complaint\/1: /,
    );
    const unknown = await evidence(["verify", "-"], "something else");
    expect(unknown.code).to.equal(1);
    expect(JSON.parse(unknown.stdout)).to.include({ verdict: "EVIDENCE_VERDICT_NOT_ANCHORED" });
  });

  it("gives a file back, and replaces one only if told", async () => {
    const copy = join(folder, "copy.bin");
    expect(await evidence(["download", id, "--out", copy])).to.include({ code: 0, stdout: "" });
    expect((await readFile(copy)).equals(bytes)).to.equal(true);
    await writeFile(copy, "mine");
    const refused = await evidence(["download", id, "--out", copy]);
    expect(refused.code).to.equal(2);
    expect(refused.stderr).to.include("--force");
    expect(await readFile(copy, "utf8")).to.equal("mine");
    expect((await evidence(["download", id, "--out", copy, "--force"])).code).to.equal(0);
    expect((await readFile(copy)).equals(bytes)).to.equal(true);
  });

  it("exports a bundle that proves it without the service", async () => {
    const bundle = join(folder, "bundle.car");
    expect(await evidence(["export", id, "--out", bundle])).to.include({ code: 0, stdout: "" });
    const args = ["verify", bundle, "--rpc", daemon.rpcUrl, "--file", file];
    const { code, stdout } = await run(process.execPath, [ANCHORD, ...args, "--format", "json"]);
    expect(code, stdout).to.equal(0);
    const found = JSON.parse(stdout) as Record<string, Record<string, unknown>>;
    expect(found).to.deep.include({ verdict: "VALID", failed_step: null });
    expect(found["record"]).to.include({ id, subject: "complaint/1" });
    expect(found["file"]).to.include({ size: bytes.length });
  });

  it("shows on a terminal how far it has come, and lines in place of JSON", async () => {
    const server = ["--server", `localhost:${daemon.grpcPort}`];
    const command = [process.execPath, ANCHORD, "evidence", "upload", file, ...server];
    const args = ["-c", ON_A_TERMINAL, ...command, "--subject", "complaint/3"];
    const { code, stdout } = await run(PYTHON, args);
    expect(code, stdout).to.equal(0);
    expect(stdout).to.match(/upload .*100% {2}2\.4 MiB of 2\.4 MiB/);
    expect(stdout).to.match(/^subject: complaint\/3\r?$/m);
    expect([0, 1023, 1024, 1_572_864].map(bytesText)).to.deep.equal([
      "0 B",
      "1023 B",
      "1.0 KiB",
      "1.5 MiB",
    ]);
  });

  it("says what is wrong, with 2 for usage and 5 for what is not there", async () => {
    const wrong: [string[], number, RegExp][] = [
      [["upload", join(folder, "none"), "--subject", "a"], 2, /none cannot be read: ENOENT/],
      [["upload", folder, "--subject", "a"], 2, /it is a folder/],
      [["upload", file, "--subject", "a", "--media-type", "text"], 2, /media_type/],
      [["download", "9f2c", "--out", "x"], 2, /must be 64 hex digits/],
      [["download", "0".repeat(64), "--out", join(folder, "zero")], 5, /there is no evidence 0000/],
    ];
    for (const [args, expected, message] of wrong) {
      const { code, stdout, stderr } = await evidence(args);
      expect([code, stdout], stderr).to.deep.equal([expected, ""]);
      expect(stderr).to.match(message);
    }
  });

  it("leaves nothing of a download that breaks off", async () => {
    const blocks = join(daemon.dataDir, "ipfs", "blocks");
    const last = readdirSync(blocks, { recursive: true, encoding: "utf8" })
      .map((name) => join(blocks, name))
      .find((path) => statSync(path).size === bytes.length % BLOCK);
    rmSync(last!);
    const target = temporaryFolder();
    const { code, stderr } = await evidence(["download", id, "--out", join(target, "file")]);
    expect(code, stderr).to.equal(1);
    expect(stderr).to.include("content store");
    expect(readdirSync(target)).to.deep.equal([]);
  });
});

/** Bytes of a block of a file in IPFS. */
const BLOCK = 262_144;
