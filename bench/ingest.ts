import { join } from "node:path";
import { temporaryFolder } from "../test/support/daemon.js";
import { sharedMysql } from "../test/support/mysql.js";
import { middleRound, row } from "./row.js";
import type { Extent, Measurement, Row } from "./row.js";
import { runScript } from "./support/script.js";
import { settled, startService, streamRecords } from "./support/service.js";

/**
 * Records that both databases have before anything is measured, in steps: the indexes of a log are never
 * empty, and an insert into an empty one is several times as fast.
 */
const FILL = 100_000;

/** Streamed records a second, against a program that only inserts the same rows, on both databases. */
export const ingest: Measurement = async (extent) => {
  const file = join(temporaryFolder(), "raw.db");
  const rows = [await compare("SQLite", {}, file, extent)];
  const mysql = await sharedMysql(); // says loudly if there is none
  if (mysql === undefined) return rows;
  const environment = { DATABASE_URL: await mysql.createDatabase() };
  return [...rows, await compare("MySQL", environment, await mysql.createDatabase(), extent)];
};

async function compare(
  database: string,
  environment: Record<string, string>,
  rawTarget: string,
  { quick }: Extent,
): Promise<Row> {
  const records = quick ? 20_000 : 60_000;
  const service = await startService(environment);
  for (let filled = 0; filled < (quick ? 1 : 4) * FILL; filled += FILL) {
    await runScript("insert-load", rawTarget, FILL);
    await streamRecords(service, FILL);
    await settled(service);
  }
  const rounds: { value: number; against: number }[] = [];
  for (let i = 0; i < (quick ? 1 : 3); i++) {
    const raw = await runScript<{ seconds: number }>("insert-load", rawTarget, records);
    const streamed = await streamRecords(service, records);
    rounds.push({ value: records / streamed.seconds, against: records / raw.seconds });
    await settled(service);
  }
  await service.stop();
  const name = `streamed ingest, ${database} / raw multi-row INSERT`;
  return row({ name, ...middleRound(rounds), unit: "records/s", reach: 0.4, better: "higher" });
}
