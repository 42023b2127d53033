import { existsSync } from "node:fs";
import { fromJsonString } from "@bufbuild/protobuf";
import { LogProblemSchema } from "../../gen/ts/anchord/v1/problem_pb.js";
import type { Config } from "../config.js";
import { databaseFile } from "../config/derived.js";
import { sameBytes } from "../core/bytes.js";
import { checkSame } from "../flow/connect.js";
import { configuredDatabase } from "../parts.js";
import { storedAudit } from "../store/audit.js";
import { findBatch, progress } from "../store/batches.js";
import { storedIdentity } from "../store/chain-position.js";
import type { Database } from "../store/database.js";
import { requireOurs, schemaState } from "../store/migrations.js";
import { logLength } from "../store/records.js";
import type { FoundLog } from "./chain.js";
import { fail, look, ok, skipped, warn } from "./finding.js";
import type { Finding } from "./finding.js";

const REBUILD = "fill it with `anchord rebuild`, or set the database that sealed them";

/** Looks at the database, and whether it belongs to the log on the chain. */
export async function* databaseFindings(
  config: Config,
  found: FoundLog | undefined,
): AsyncGenerator<Finding> {
  const file = databaseFile(config);
  if (config.DATABASE_URL === undefined && !existsSync(file)) {
    yield skipped("database", `${file} is not there yet`, "start the service, which makes it");
    yield await emptyFinding(found);
    return;
  }
  const at = config.DATABASE_URL === undefined ? file : new URL(config.DATABASE_URL).host;
  const database = configuredDatabase(config);
  try {
    const schema = await schemaFinding(database, at);
    yield schema;
    if (schema.outcome !== "OK") return;
    yield await logFinding(database, found);
    yield await integrityFinding(database);
  } finally {
    await database.close();
  }
}

function schemaFinding(database: Database, at: string): Promise<Finding> {
  const advice = "check that the database runs, and that DATABASE_URL or DB_PATH leads to it";
  return look("database", advice, async () => {
    await requireOurs(database.schema);
    const { missing, unknown } = await schemaState(database);
    if (unknown.length > 0) {
      const advice = "run the version of anchord that it belongs to, or a later one";
      return fail("database", `${at}: a later version has made ${unknown.at(-1)}`, advice);
    }
    if (missing.length > 0) {
      const advice = "start the service, which brings the schema up to date; take a backup before";
      return warn("database", `${at}: ${missing.length} changes of the schema are missing`, advice);
    }
    const waiting = (await logLength(database)) - (await progress(database)).anchored;
    return ok("database", `${at}, schema up to date, ${waiting} records wait for the chain`);
  });
}

/** Whether the last batch that the database knows is the chain's. */
function logFinding(database: Database, found: FoundLog | undefined): Promise<Finding> {
  return look("log", "check database and chain", async () => {
    if (found === undefined) return skipped("log", "not compared: the chain was not looked at");
    const stored = await storedIdentity(database);
    if (stored === undefined) return emptyFinding(found);
    checkSame(stored, found.identity);
    const { chain, identity } = found;
    const { number } = await chain.lastSealed(identity);
    const { lastBatch } = await progress(database);
    const known = `the database knows ${lastBatch} batches, the chain has ${number}`;
    if (lastBatch > Number(number)) {
      return fail("log", known, "check the node: it lags, or another chain has taken the place");
    }
    const batch = await findBatch(database, lastBatch);
    const onChain = await chain.batch(identity, BigInt(lastBatch));
    if (batch !== undefined && !sameBytes(batch.head, onChain?.head ?? new Uint8Array())) {
      const advice =
        "stop whatever else seals this log; VerifyLog names what differs; then rebuild";
      return fail("log", `batch ${lastBatch} on chain is not the one in this database`, advice);
    }
    if (lastBatch === Number(number)) return ok("log", `${number} batches, the same on chain`);
    return warn("log", known, "let the service run: it follows the rest by itself");
  });
}

/** What the auditor of the service has found last. */
function integrityFinding(database: Database): Promise<Finding> {
  return look("integrity", "check the database", async () => {
    const audit = await storedAudit(database);
    if (audit === undefined) return skipped("integrity", "the auditor has not looked at it yet");
    if (audit.problem === "") return ok("integrity", "the auditor has found no difference");
    const { batchNumber, column } = fromJsonString(LogProblemSchema, audit.problem);
    const found = `the auditor has found that ${column} of batch ${batchNumber} differs from the chain`;
    return fail("integrity", found, "VerifyLog names all that differs; restore it, or rebuild");
  });
}

/** A database without a log must not take over one that has batches. */
async function emptyFinding(found: FoundLog | undefined): Promise<Finding> {
  if (found === undefined) return skipped("log", "not compared: the chain was not looked at");
  return look("log", "check the node", async () => {
    const { number } = await found.chain.lastSealed(found.identity);
    if (number === 0n) return ok("log", "empty, here and on the chain");
    return fail(
      "log",
      `the log has ${number} batches on chain, but the database is empty`,
      REBUILD,
    );
  });
}
