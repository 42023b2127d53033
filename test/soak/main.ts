/**
 * Soaks daemons in kills: `npm run soak -- --seeds 20 --database sqlite|mysql|both`. Every seed is one
 * daemon that is killed at random moments or at a fault point; one that fails can be run again with
 * `--seed N --database D`. With `--reorg` daemons and their subscribers are soaked in reorganisations
 * instead: every seed on Ganache, and on anvil where it is installed.
 */
import { parseArgs } from "node:util";
import { anvilBinary } from "../support/external-chain.js";
import { sharedMysql } from "../support/mysql.js";
import { randomOf, seedOfRun } from "../support/random.js";
import { soak } from "../support/soak.js";
import { soakReorganisations } from "../support/stream-reorg.js";
import type { ReorgOptions } from "../support/stream-reorg.js";

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
    reorg: { type: "boolean", default: false },
  },
});
const first = values.seed === undefined ? seedOfRun() : Number(values.seed);
const count = values.seed === undefined ? Number(values.seeds) : 1;
const databases = values.database === "both" ? ["sqlite", "mysql"] : [values.database];

/** Steps of a soak in reorganisations. */
const STEPS = 60;

/** A soak of one seed: what to call it, and how to run it. */
interface Soak {
  readonly title: string;
  /** Resolves to what it went through; rejects with what does not hold. */
  run(mysqlUrl: string | undefined): Promise<string>;
}

let failures = 0;
for (const database of databases) {
  for (let seed = first; seed < first + count; seed++) {
    for (const each of values.reorg ? reorgSoaks(seed) : [killSoak(seed)])
      failures += (await succeeds(each, seed, database)) ? 0 : 1;
  }
}
process.stdout.write(failures === 0 ? "all held\n" : `${failures} FAILED\n`);
process.exit(failures === 0 ? 0 : 1);

async function succeeds(
  { title, run }: Soak,
  seed: number,
  database: string | undefined,
): Promise<boolean> {
  const called = `--seed ${seed} --database ${database} ${title}`;
  try {
    const mysqlUrl = database === "mysql" ? await newDatabase() : undefined;
    const started = performance.now();
    const report = await run(mysqlUrl);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    process.stdout.write(`held: ${called}: ${report}, ${seconds} s\n`);
    return true;
  } catch (error) {
    process.stdout.write(`FAILED: ${called}\n${(error as Error).stack}\n`);
    return false;
  }
}

function killSoak(seed: number): Soak {
  const random = randomOf(seed);
  const faults = Array.from(
    { length: random.between(0, 3) },
    () => `${random.pick(POINTS)}:${random.between(2, 20)}`,
  );
  const kills = random.between(1, 5);
  return {
    title: faults.join(" "),
    run: async (mysqlUrl) => {
      const { records, acknowledged, restarts } = await soak({ seed, mysqlUrl, faults, kills });
      return `${records} records, ${acknowledged} acknowledged, ${restarts} restarts`;
    },
  };
}

function reorgSoaks(seed: number): Soak[] {
  const nodes: readonly ReorgOptions["node"][] =
    anvilBinary() === undefined ? ["ganache"] : ["ganache", "anvil"];
  return nodes.map((node) => ({
    title: `--reorg on ${node}`,
    run: async (mysqlUrl) => {
      const options = { seed, node, mysqlUrl, steps: STEPS };
      const { records, reorganisations, retractions } = await soakReorganisations(options);
      return `${records} records, ${reorganisations} reorganisations, ${retractions} retractions`;
    },
  }));
}

async function newDatabase(): Promise<string> {
  const mysql = await sharedMysql();
  if (mysql === undefined) throw new Error("there is no MySQL or MariaDB to soak");
  return mysql.createDatabase();
}
