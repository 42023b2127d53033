import { expect } from "chai";
import { anvilBinary } from "../support/external-chain.js";
import { sharedMysql } from "../support/mysql.js";
import { databasesOfRun } from "../support/databases.js";
import { seedOfRun } from "../support/random.js";
import { soakReorganisations } from "../support/stream-reorg.js";

/** So many seeds for each node and database; `npm run soak -- --reorg` has more. */
const SEEDS = 1;
const STEPS = 20;

const seed = seedOfRun();

for (const { name: database } of databasesOfRun(seed)) {
  describe(`The event stream of a chain that is reorganised, on ${database}`, function () {
    this.timeout(240_000);

    let newDatabase: () => Promise<string | undefined> = () => Promise.resolve(undefined);

    before(async function () {
      console.log(`      SEED=${seed}`);
      if (database === "SQLite") return;
      const mysql = await sharedMysql();
      if (mysql === undefined) return this.skip();
      newDatabase = () => mysql.createDatabase();
    });

    for (const node of ["ganache", "anvil"] as const) {
      for (let i = 0; i < SEEDS; i++) {
        it(`comes to what database and chain hold, by ${node}, ${i + 1}`, async function () {
          if (node === "anvil" && anvilBinary() === undefined) {
            process.stderr.write("\nSKIPPED: anvil is not installed\n\n");
            return this.skip();
          }
          const options = { seed: seed + i, node, mysqlUrl: await newDatabase(), steps: STEPS };
          const { records, reorganisations } = await soakReorganisations(options);
          expect(records).to.be.greaterThan(0);
          expect(reorganisations).to.be.greaterThan(0);
        });
      }
    }
  });
}
