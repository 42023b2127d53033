import { join } from "node:path";
import type { Config, SettingName } from "../settings.js";

const EMBEDDED_CONFIRMATIONS = 0;
const EXTERNAL_CONFIRMATIONS = 12;

/** Blocks on top of a block that confirm it. */
export function confirmationsOf({ CONFIRMATIONS, BLOCKCHAIN_RPC_URL: rpcUrl }: Config): number {
  return CONFIRMATIONS ?? (rpcUrl === undefined ? EMBEDDED_CONFIRMATIONS : EXTERNAL_CONFIRMATIONS);
}

/** The file of the embedded database. */
export function databaseFile({ DB_PATH, DATA_DIR }: Config): string {
  return DB_PATH ?? join(DATA_DIR, "anchord.db");
}

/** The file that log lines are written to, where LOG_TO_FILE asks for one. */
export function logFile({ LOG_FILE, DATA_DIR }: Config): string {
  return LOG_FILE ?? join(DATA_DIR, "anchord.log");
}

/** The base URL under which users reach the HTTP door, which listens on this port. */
export function publicUrl({ PUBLIC_URL }: Config, port: number): string {
  return PUBLIC_URL ?? `http://localhost:${port}`;
}

/** What is in force for settings whose default depends on others, as far as the settings alone determine it. */
export function derivedSettings(config: Config): Partial<Record<SettingName, string>> {
  const { DATABASE_URL: databaseUrl, PORT: port } = config;
  return {
    CONFIRMATIONS: String(confirmationsOf(config)),
    LOG_FILE: logFile(config),
    ...(databaseUrl === undefined && { DB_PATH: databaseFile(config) }),
    ...(port !== 0 && { PUBLIC_URL: publicUrl(config, port) }),
  };
}
