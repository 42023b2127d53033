/**
 * Soaks daemons in kills: `npm run soak -- --seeds 20 --database sqlite|mysql|both`. Every seed is one
 * daemon that is killed at random moments or at a fault point; one that fails can be run again with
 * `--seed N --database D`.
 */
import { parseArgs } from "node:util";
import { sharedMysql } from "../support/mysql.js";
import { randomOf, seedOfRun } from "../support/random.js";
import { soak } from "../support/soak.js";

const POINTS = [
  "accept.before-commit",
  "accept.after-commit",
  "seal.before-commit",
  "seal.after-commit",
  "submit.before-broadcast",
  "submit.after-broadcast",
  "follow.before-commit",
  "follow.after-commit",
];

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "20" },
    seed: { type: "string" },
    database: { type: "string", default: "both" },
  },
});
const first = values.seed === undefined ? seedOfRun() : Number(values.seed);
const count = values.seed === undefined ? Number(values.seeds) : 1;
const databases = values.database === "both" ? ["sqlite", "mysql"] : [values.database];

let failures = 0;
for (const database of databases) {
  for (let seed = first; seed < first + count; seed++)
    failures += (await succeeds(seed, database)) ? 0 : 1;
}
process.stdout.write(failures === 0 ? "all held\n" : `${failures} FAILED\n`);
process.exit(failures === 0 ? 0 : 1);

async function succeeds(seed: number, database: string): Promise<boolean> {
  const random = randomOf(seed);
  const count = random.between(0, 3);
  const faults = Array.from(
    { length: count },
    () => `${random.pick(POINTS)}:${random.between(2, 20)}`,
  );
  const title = `--seed ${seed} --database ${database} ${faults.join(" ")}`;
  try {
    const mysqlUrl = database === "mysql" ? await newDatabase() : undefined;
    const started = performance.now();
    const { records, acknowledged, restarts } = await soak({
      seed,
      mysqlUrl,
      faults,
      kills: random.between(1, 5),
    });
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    process.stdout.write(
      `held: ${title}: ${records} records, ${acknowledged} acknowledged, ${restarts} restarts, ${seconds} s\n`,
    );
    return true;
  } catch (error) {
    process.stdout.write(`FAILED: ${title}\n${(error as Error).stack}\n`);
    return false;
  }
}

async function newDatabase(): Promise<string> {
  const mysql = await sharedMysql();
  if (mysql === undefined) throw new Error("there is no MySQL or MariaDB to soak");
  return mysql.createDatabase();
}
