import { accessSync, constants, existsSync, mkdirSync } from "node:fs";
import { dirname, resolve } from "node:path";
import type { LoadedConfig } from "../config.js";
import { messageOf } from "../core/errors.js";
import { ConfigError } from "./error.js";

/** Makes DATA_DIR where it is not there yet. Throws ConfigError where it cannot be made or written. */
export function makeDataDir({ config, given }: LoadedConfig): void {
  const { DATA_DIR: folder } = config;
  try {
    makeFolder(resolve(folder));
    accessSync(`${folder}/.`, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    const label = given.get("DATA_DIR")?.label ?? "DATA_DIR";
    throw new ConfigError(
      `${label}: ${folder} cannot be made or written: ${messageOf(error)}: ` +
        "let the service's user write there, or name another folder",
    );
  }
}

/** Step by step: in one, Node says ENOENT of a read-only file system, and does not come back from /proc. */
function makeFolder(path: string): void {
  if (existsSync(path)) return;
  makeFolder(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (!existsSync(path)) throw error; // else another process was faster
  }
}
