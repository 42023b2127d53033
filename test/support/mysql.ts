import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createConnection } from "mysql2/promise";
import { temporaryFolder } from "./daemon.js";
import { until } from "./until.js";

/** A MySQL-compatible server to test with. */
export interface MysqlServer {
  /** Makes an empty database, and returns its address. */
  createDatabase(): Promise<string>;
  /** Stops the server without warning; undefined where it is not ours to stop. */
  readonly kill: (() => Promise<void>) | undefined;
  /** Starts it again on the same data and port. */
  readonly restart: (() => Promise<void>) | undefined;
}

let shared: Promise<MysqlServer | undefined> | undefined;

/**
 * The server that the tests share: a throwaway one where a server binary is installed (it is installed
 * where we are root on Debian or Ubuntu), else the one at TEST_MYSQL_URL. Undefined where there is
 * neither, which is said loudly, and is an error when CI=true.
 */
export function sharedMysql(): Promise<MysqlServer | undefined> {
  shared ??= findMysql();
  return shared;
}

async function findMysql(): Promise<MysqlServer | undefined> {
  const url = process.env["TEST_MYSQL_URL"];
  if (mariadbd() === undefined && url === undefined) installMariadb();
  if (mariadbd() !== undefined) return startMysql();
  if (url !== undefined)
    return { createDatabase: () => createDatabase(url), kill: undefined, restart: undefined };
  const message =
    "SKIPPED: no test runs on MySQL or MariaDB. Install mariadb-server, or set TEST_MYSQL_URL.";
  if (process.env["CI"] === "true") throw new Error(message);
  process.stderr.write(`\n${"!".repeat(80)}\n${message}\n${"!".repeat(80)}\n\n`);
  return undefined;
}

function mariadbd(): string | undefined {
  return ["/usr/sbin/mariadbd", "/usr/bin/mariadbd", "/usr/local/bin/mariadbd"].find(existsSync);
}

function installMariadb(): void {
  if (process.getuid?.() !== 0 || !existsSync("/usr/bin/apt-get")) return;
  process.stderr.write("Installing mariadb-server to test with (apt-get install)...\n");
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  execFileSync("apt-get", ["update", "-qq"], { env, stdio: "inherit" });
  execFileSync("apt-get", ["install", "-y", "-qq", "--no-install-recommends", "mariadb-server"], {
    env,
    stdio: "inherit",
  });
}

/** Starts a server of our own on a free port, with nothing in it. */
export async function startMysql(): Promise<MysqlServer> {
  const folder = temporaryFolder();
  mkdirSync(join(folder, "tmp"));
  const root = process.getuid?.() === 0 ? ["--user=root"] : [];
  const common = ["--no-defaults", ...root, `--datadir=${join(folder, "data")}`];
  execFileSync("mariadb-install-db", [
    ...common,
    "--auth-root-authentication-method=normal",
    "--skip-test-db",
    "--skip-name-resolve",
  ]);
  const port = await freePort();
  const launch = () => launchServer([...common, `--tmpdir=${join(folder, "tmp")}`], folder, port);
  let server = await launch();
  process.once("exit", () => server.kill("SIGKILL"));
  return {
    createDatabase: () => createDatabase(`mysql://root@127.0.0.1:${port}/`),
    kill: () => killServer(server),
    restart: async () => {
      server = await launch();
    },
  };
}

async function launchServer(
  args: readonly string[],
  folder: string,
  port: number,
): Promise<ChildProcess> {
  const server = spawn(
    mariadbd() as string,
    [
      ...args,
      `--socket=${join(folder, "s.sock")}`,
      `--pid-file=${join(folder, "pid")}`,
      `--port=${port}`,
      "--bind-address=127.0.0.1",
      "--skip-log-bin",
      "--skip-name-resolve",
    ],
    { stdio: "ignore" },
  );
  server.unref();
  await until("the MySQL server answers", () => answers(`mysql://root@127.0.0.1:${port}/`));
  return server;
}

async function answers(uri: string): Promise<boolean> {
  try {
    await (await createConnection({ uri })).end();
    return true;
  } catch {
    return false;
  }
}

async function killServer(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  const gone = new Promise((resolve) => server.once("exit", resolve));
  server.kill("SIGKILL");
  await gone;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

let databases = 0;

async function createDatabase(uri: string): Promise<string> {
  const name = `anchord_test_${process.pid}_${databases++}`;
  const connection = await createConnection({ uri });
  await connection.query(`create database ${name}`);
  await connection.end();
  return new URL(
    name,
    uri.endsWith("/") ? uri : `${uri.slice(0, uri.lastIndexOf("/"))}/`,
  ).toString();
}
