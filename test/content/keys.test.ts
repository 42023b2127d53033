import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { openContentKeys } from "../../src/content/keys.js";
import { hex } from "../../src/core/bytes.js";
import { contentKeyOf } from "../../src/core/publication.js";
import { temporaryFolder } from "../support/daemon.js";

const MODULE = new URL("../../src/content/keys.js", import.meta.url).href;

/** A folder that nobody has made yet. */
function folder(): string {
  return join(temporaryFolder(), "data", "keys");
}

/** Opens the keys in a process of its own, once its standard input ends; resolves to the current key. */
function opener(path: string): { readonly child: ReturnType<typeof spawn>; key: Promise<string> } {
  const script = `
    const { openContentKeys } = await import(${JSON.stringify(MODULE)});
    console.log("ready");
    for await (const _ of process.stdin);
    console.log(Buffer.from(openContentKeys(${JSON.stringify(path)}).current.bytes).toString("hex"));`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.on("data", (data: Buffer) => (output += data.toString()));
  const key = new Promise<string>((resolve) =>
    child.once("close", () => resolve(output.replace("ready\n", "").trim())),
  );
  return { child, key };
}

describe("content keys", () => {
  it("are made at the first start, for their owner alone, and stay", () => {
    const path = folder();
    const { current } = openContentKeys(path);
    expect(current.bytes).to.have.length(32);
    expect(statSync(path).mode & 0o777).to.equal(0o700);
    expect(statSync(join(path, "content.key")).mode & 0o777).to.equal(0o600);
    expect(readdirSync(path)).to.deep.equal(["content.key"]);
    expect(readFileSync(join(path, "content.key"), "utf8")).to.equal(`${hex(current.bytes)}\n`);
    expect(hex(openContentKeys(path).current.bytes)).to.equal(hex(current.bytes));
    expect(hex(openContentKeys(folder()).current.bytes)).not.to.equal(hex(current.bytes));
  });

  it("are the same for all that start at once", async () => {
    const path = folder();
    const openers = Array.from({ length: 6 }, () => opener(path));
    await Promise.all(
      openers.map(({ child }) => new Promise((resolve) => child.stdout?.once("data", resolve))),
    );
    for (const { child } of openers) child.stdin?.end();
    const keys = new Set(await Promise.all(openers.map(({ key }) => key)));
    expect([...keys]).to.deep.equal([hex(openContentKeys(path).current.bytes)]);
    expect(readdirSync(path)).to.deep.equal(["content.key"]);
  });

  it("can be configured, and nothing is then made", () => {
    const path = folder();
    for (const text of ["ab".repeat(32), "AB".repeat(32), `0x${"ab".repeat(32)}`]) {
      const keys = openContentKeys(path, text);
      expect(hex(keys.current.bytes)).to.equal("ab".repeat(32));
      expect(keys.find(keys.current.id)).to.equal(keys.current);
    }
    expect(() => statSync(path)).to.throw("ENOENT");
  });

  it("are found by their id, older ones as well", () => {
    const path = folder();
    const first = openContentKeys(path).current;
    renameSync(join(path, "content.key"), join(path, "2025.key"));
    writeFileSync(join(path, "2024.key"), "cd".repeat(32));
    writeFileSync(join(path, "notes.txt"), "not a key");
    const { current, find } = openContentKeys(path);
    expect(hex(current.bytes)).not.to.equal(hex(first.bytes));
    for (const key of [current, first, contentKeyOf(Buffer.alloc(32, 0xcd))]) {
      expect(hex(find(key.id)!.bytes)).to.equal(hex(key.bytes));
    }
    expect(find(Buffer.alloc(8))).to.equal(undefined);
  });

  it("keep the one of the folder for reading when another is configured", () => {
    const path = folder();
    const own = openContentKeys(path).current;
    const { current, find } = openContentKeys(path, "ab".repeat(32));
    expect(hex(current.bytes)).to.equal("ab".repeat(32));
    expect(hex(find(own.id)!.bytes)).to.equal(hex(own.bytes));
  });

  for (const name of ["content.key", "old.key"]) {
    for (const [what, text] of [
      ["is empty", ""],
      ["was cut", "ab".repeat(20)],
      ["has other characters", "deadbeefdeadbeef-secret"],
      ["has two keys", `${"ab".repeat(32)}\n${"ab".repeat(32)}\n`],
    ] as const) {
      it(`are refused when ${name} ${what}, by name and with what to do, and without its content`, () => {
        const path = folder();
        mkdirSync(path, { recursive: true });
        writeFileSync(join(path, name), text);
        const refused = expect(() => openContentKeys(path))
          .to.throw(Error)
          .with.property("message");
        refused.that.contains(join(path, name)).and.contains("Restore it from a backup");
        refused.that.does.not.match(/abab|deadbeef/);
        expect(readFileSync(join(path, name), "utf8")).to.equal(text);
      });
    }
  }

  it("are refused when the configured one is none, without repeating it", () => {
    expect(() => openContentKeys(folder(), "deadbeef-secret"))
      .to.throw("CONTENT_KEY: must be 32 bytes in hex")
      .with.property("message")
      .that.does.not.contain("deadbeef");
  });

  it("are refused when their folder cannot be one, or a key is none to read", () => {
    const path = join(temporaryFolder(), "keys");
    writeFileSync(path, "");
    expect(() => openContentKeys(path)).to.throw(`${path}/content.key cannot be made (E`);
    expect(() => openContentKeys(path, "ab".repeat(32))).to.throw("cannot be listed (ENOTDIR)");
    const other = folder();
    mkdirSync(join(other, "old.key"), { recursive: true });
    expect(() => openContentKeys(other)).to.throw(
      `${join(other, "old.key")} cannot be read (EISDIR)`,
    );
  });
});
