import type { Config } from "../config.js";
import { chainFindings } from "./chain.js";
import { databaseFindings } from "./database.js";
import type { Finding } from "./finding.js";
import { ok } from "./finding.js";
import { hostFindings } from "./host.js";
import { portFindings } from "./ports.js";

/**
 * Looks at everything that a service with these settings works with, also while one runs, and changes none of
 * it. What it finds has no secrets.
 */
export async function* checkUp(config: Config): AsyncGenerator<Finding> {
  yield ok("settings", `log "${config.LOG_NAME}", data in ${config.DATA_DIR}`);
  const found = yield* chainFindings(config);
  yield* databaseFindings(config, found);
  yield* hostFindings(config);
  yield* portFindings(config);
}
