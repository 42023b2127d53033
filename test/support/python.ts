import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { run } from "./run.js";

/** Debian's Python: its gRPC and protobuf packages belong to it. */
const PYTHON = "/usr/bin/python3";
const STUBS = "gen/python";
const DEBIAN_PACKAGES = [
  "python3-grpcio",
  "python3-protobuf",
  "python3-venv",
  "python3-pip",
  "python3-setuptools",
];

/** What the examples need besides, and Debian's package of it. */
const FRAMEWORKS = {
  django: "python3-django",
  fastapi: "python3-fastapi",
  httpx: "python3-httpx",
  uvicorn: "python3-uvicorn",
} as const;

let made: Promise<string> | undefined;

/**
 * The path of a Python interpreter that has the stubs installed. Makes a virtual environment once for
 * each content of gen/python, and keeps it. Throws an Error that says what to install where gRPC is
 * missing and cannot be installed.
 */
export function pythonWithStubs(): Promise<string> {
  made ??= make();
  return made;
}

/**
 * The same interpreter, where it can import these modules as well, which are installed where that can be.
 * Else undefined, and the reason is printed; in CI that is an Error.
 */
export async function pythonWith(
  ...modules: readonly (keyof typeof FRAMEWORKS)[]
): Promise<string | undefined> {
  const python = await pythonWithStubs();
  const hasAll = async () => (await run(python, ["-c", `import ${modules.join(", ")}`])).code === 0;
  const packages = modules.map((module) => FRAMEWORKS[module]);
  if (!(await hasAll())) await installOnDebian(packages);
  if (await hasAll()) return python;
  const missing = `${PYTHON} cannot import ${modules.join(", ")}: apt-get install ${packages.join(" ")}`;
  if (process.env["CI"] === "true") throw new Error(missing);
  console.log(`      SKIPPED: ${missing}`);
  return undefined;
}

async function make(): Promise<string> {
  const venv = join(tmpdir(), `anchord-python-${userInfo().uid}-${digestOfStubs()}`);
  const python = join(venv, "bin", "python");
  if (existsSync(python)) return python;
  await requireGrpc();
  // The environment is built beside its place and then moved there: another run sees all of it or
  // nothing. Its interpreter is a link and works from anywhere; its scripts, such as pip, are not used.
  const building = `${venv}.${process.pid}`;
  await mkdir(building, { recursive: true });
  try {
    await must(PYTHON, ["-m", "venv", "--system-site-packages", building]);
    const source = join(building, "stubs");
    await must("cp", ["-r", STUBS, source]); // pip builds in place, and the checkout is to stay clean
    const interpreter = join(building, "bin", "python");
    await must(interpreter, [
      "-m",
      "pip",
      "install",
      "--quiet",
      "--no-build-isolation",
      "--no-deps",
      source,
    ]);
    await rm(source, { recursive: true });
    await must(interpreter, [
      "-c",
      "from anchord.v1 import audit_service_pb2, audit_service_pb2_grpc",
    ]);
    await rename(building, venv).catch((error: unknown) => {
      if (!existsSync(python)) throw error;
    });
  } finally {
    await rm(building, { recursive: true, force: true });
  }
  return python;
}

/** Changes when a file of the stubs does. */
function digestOfStubs(): string {
  const hash = createHash("sha256");
  const files = readdirSync(STUBS, { recursive: true, encoding: "utf8" });
  for (const file of files.filter((name) => /\.(py|pyi|toml)$/.test(name)).sort()) {
    hash.update(`${file}\0`).update(readFileSync(join(STUBS, file)));
  }
  return hash.digest("hex").slice(0, 16);
}

async function requireGrpc(): Promise<void> {
  if (await hasGrpc()) return;
  await installOnDebian(DEBIAN_PACKAGES);
  if (await hasGrpc()) return;
  throw new Error(
    `${PYTHON} cannot import grpc, google.protobuf, setuptools, venv and pip. On Debian or Ubuntu: ` +
      `apt-get install ${DEBIAN_PACKAGES.join(" ")}`,
  );
}

/** Installs Debian's packages where this is Debian and we may; does nothing elsewhere. */
async function installOnDebian(packages: readonly string[]): Promise<void> {
  if (process.getuid?.() !== 0 || !existsSync("/etc/debian_version")) return;
  console.log(`      installing ${packages.join(", ")} with apt-get`);
  const patient = ["-o", "DPkg::Lock::Timeout=300"]; // another test may be installing
  await run("apt-get", ["update"]);
  await must("apt-get", [...patient, "install", "-y", "--no-install-recommends", ...packages]);
}

async function hasGrpc(): Promise<boolean> {
  const probe = "import grpc, grpc.aio, google.protobuf, setuptools, venv, ensurepip, pip";
  if (!existsSync(PYTHON)) return false;
  return (await run(PYTHON, ["-c", probe])).code === 0;
}

async function must(command: string, args: readonly string[]): Promise<void> {
  const { code, stdout, stderr } = await run(command, args);
  if (code !== 0)
    throw new Error(`${command} ${args.join(" ")} ended with ${code}:\n${stdout}${stderr}`);
}
