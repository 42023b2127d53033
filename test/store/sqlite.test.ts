import { join } from "node:path";
import { expect } from "chai";
import { CompiledQuery, sql } from "kysely";
import { openDatabase } from "../../src/store/database.js";
import type { Database } from "../../src/store/database.js";
import { migrate } from "../../src/store/migrations.js";
import { text } from "../../src/store/tables.js";
import { temporaryFolder } from "../support/daemon.js";

/** Text that is no UTF-8, and begins with a number. */
const BROKEN = "cast(x'3938ff' as text)";

describe("A column of SQLite that was edited to text that is no UTF-8", () => {
  let database: Database;

  beforeEach(async () => {
    database = openDatabase({ sqlitePath: join(temporaryFolder(), "log.db") });
    await migrate(database);
    await run(
      `insert into records (seq, id, entry, subject, type, actor, occur_time)
       values (1, x'01', ${BROKEN}, ${BROKEN}, 'test', '', ${BROKEN})`,
    );
  });

  afterEach(() => database.close());

  const run = (statement: string) => database.schema.executeQuery(CompiledQuery.raw(statement, []));

  it("is read as what it was declared to be", async () => {
    const row = await database.read((db) =>
      db.selectFrom("records").selectAll().executeTakeFirstOrThrow(),
    );
    expect(Buffer.from(row.entry).toString("hex")).to.equal("3938ff");
    expect(text(row.subject)).to.equal("98\ufffd");
    expect(row.occur_time).to.equal(98);
  });

  it("is a number in an expression", async () => {
    const row = await database.read((db) =>
      db
        .selectFrom("records")
        .select((eb) => [
          eb.fn.max("occur_time").as("last"),
          eb.fn.countAll<number>().as("count"),
          sql<number | null>`min(null)`.as("nothing"),
        ])
        .executeTakeFirstOrThrow(),
    );
    expect(row).to.deep.equal({ last: 98, count: 1, nothing: null });
  });

  it("is a name that no migration has, where it was one's", async () => {
    await run(`update kysely_migration set name = ${BROKEN} where name like '0071%'`);
    const failure = await migrate(database).catch((error: unknown) => error);
    expect(String(failure)).to.include("98\ufffd");
  });
});
