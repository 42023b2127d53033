import type { FaultPoint } from "../../src/flow/faults.js";
import { sharedMysql } from "../support/mysql.js";
import { databasesOfRun } from "../support/databases.js";
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
  "publish.before-manifest",
  "publish.before-commit",
] as const satisfies readonly FaultPoint[];

/** Fails to compile where a fault point is not in the list above; these have tests of their own. */
type Elsewhere =
  `${"adopt" | "evidence" | "anchor" | "sla" | "sign" | "keeper" | "work"}.${string}`;
type Missing = Exclude<FaultPoint, (typeof POINTS)[number] | Elsewhere>;
const complete: [Missing] extends [never] ? true : false = true;

/** Killed at random: so many seeds; `npm run soak` has more. */
const RANDOM_SEEDS = 1;

const seed = seedOfRun();

for (const { name: database } of databasesOfRun(seed)) {
  describe(`A daemon that is killed, on ${database}`, function () {
    this.timeout(120_000);

    let newDatabase: () => Promise<string | undefined> = () => Promise.resolve(undefined);

    before(async function () {
      console.log(`      SEED=${seed}`);
      if (!complete) throw new Error("a fault point is not tested");
      if (database === "SQLite") return;
      const mysql = await sharedMysql();
      if (mysql === undefined) return this.skip();
      newDatabase = () => mysql.createDatabase();
    });

    it("loses, doubles and reorders nothing at every other fault point", async () => {
      const random = randomOf(seed);
      const half = Math.floor(seed / 2) % 2; // the others at another seed; `npm run soak` has many
      const points = POINTS.filter((_, i) => i % 2 === half);
      const faults = points.map((point) => `${point}:${random.between(1, 3)}`);
      await soak({ seed, mysqlUrl: await newDatabase(), faults, kills: 0 });
    });

    for (let i = 0; i < RANDOM_SEEDS; i++) {
      it(`loses, doubles and reorders nothing at a random moment, ${i + 1}`, async () => {
        await soak({ seed: seed + 100 + i, mysqlUrl: await newDatabase(), faults: [], kills: 2 });
      });
    }
  });
}
