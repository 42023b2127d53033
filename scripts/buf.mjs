// Runs buf, which comes as an optional package for each platform, with our plugins on its path.
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { delimiter, dirname, join } from "node:path";

const platform = process.platform === "win32" ? "win32" : process.platform;
const architecture = process.arch === "arm64" && platform === "linux" ? "aarch64" : process.arch;
const name = `@bufbuild/buf-${platform}-${architecture}`;

let buf = "buf"; // one that is installed, where the package is not
try {
  const root = dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));
  buf = join(root, "bin", process.platform === "win32" ? "buf.exe" : "buf");
} catch {
  console.error(`${name} is not installed: trying buf from the PATH`);
}

const path = [join(process.cwd(), "node_modules/.bin"), process.env.PATH].join(delimiter);
const { status, error } = spawnSync(buf, process.argv.slice(2), {
  stdio: "inherit",
  env: { ...process.env, PATH: path },
});
if (error) console.error(`buf could not be run: ${error.message}`);
process.exit(status ?? 1);
