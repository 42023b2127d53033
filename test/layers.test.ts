import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { expect } from "chai";
import { repositoryRoot } from "./support/repository.js";

/** The rooms of src/, and which each may import; every room may import itself and gen/. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  core: [],
  store: ["core"],
  chain: ["core"],
  content: ["core"],
  flow: ["core", "store", "chain", "content"],
  stream: ["core", "store", "flow"],
  api: ["core", "store", "flow", "stream"],
  settings: ["core"],
  config: ["core", "settings"],
  logging: ["core", "config"],
  parts: ["core", "store", "chain", "content", "flow", "config"],
  main: [
    "core",
    "store",
    "chain",
    "content",
    "flow",
    "stream",
    "api",
    "config",
    "logging",
    "parts",
  ],
  cli: ["core", "chain", "content", "config", "main", "checkup"],
  checkup: ["core", "store", "chain", "content", "flow", "config", "parts"],
};

interface Import {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

const src = join(repositoryRoot, "src");

describe("layers", () => {
  const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter((f) =>
    f.endsWith(".ts"),
  );
  const imports = files.flatMap(importsOf);

  it("are all named here", () => {
    expect(Object.keys(MAY_IMPORT)).to.include.members([...new Set(files.map(roomOf))]);
  });

  it("import only what is below them", () => {
    const upward = imports.filter(
      ({ from, to }) => from !== to && !(MAY_IMPORT[from] ?? []).includes(to),
    );
    expect(upward.map(({ file, to }) => `${file} imports ${to}`)).to.deep.equal([]);
  });

  it("leave the environment to config.ts", () => {
    const readers = files.filter((file) =>
      readFileSync(join(src, file), "utf8").includes("process.env"),
    );
    expect(readers.sort()).to.deep.equal(["chain/deploy.ts", "config.ts"]);
  });
});

/** A file's room: its folder, or its name where it lies in src/ itself. */
function roomOf(file: string): string {
  return (file.split("/")[0] ?? "").replace(/\.ts$/, "");
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(src, file), "utf8");
  const paths = [...text.matchAll(/(?:from|import\()\s*"(\.[^"]*)"/g)].map(
    ([, path]) => path ?? "",
  );
  return paths
    .map((path) => relative(src, join(src, dirname(file), path)))
    .filter((path) => !path.startsWith(".."))
    .map((path) => ({ file, from: roomOf(file), to: roomOf(path.replace(/\.js$/, ".ts")) }));
}
