import { randomBytes } from "node:crypto";
import Sqlite from "libsql";
import { createConnection } from "mysql2/promise";
import { draftOf } from "../../src/api/convert.js";
import { ThreatScale } from "../../gen/ts/anchord/v1/record_pb.js";
import { encodeRecord } from "../../src/core/record.js";
import { openDatabase } from "../../src/store/database.js";
import { migrate } from "../../src/store/migrations.js";
import { wideRequest } from "./messages.js";

/**
 * Inserts records into the daemon's own table, and does nothing else: a file of SQLite or an address of
 * MySQL, number of records. Transactions are as large as the daemon's under load; indexes and durability
 * are the same. Prints, as JSON, the seconds that it took.
 */
const [target = "", countText = "60000"] = process.argv.slice(2);
const count = Number(countText);
const ROWS_PER_TRANSACTION = 4_000;
const ROWS_PER_STATEMENT = 500;
const COLUMNS = "seq, id, entry, subject, type, actor, occur_time";

type Insert = (values: unknown[]) => unknown;

/** Something that can run statements; each may answer at once or later. */
interface Connection {
  begin(): unknown;
  insert: Insert;
  commit(): unknown;
  firstFree(): Promise<number>;
  close(): unknown;
}

const insertSql = `insert into records (${COLUMNS}) values ${Array(ROWS_PER_STATEMENT)
  .fill("(?,?,?,?,?,?,?)")
  .join(",")}`;
const LENGTH_SQL = "select coalesce(max(seq) + 1, 0) as length from records";

function sqlite(path: string): Connection {
  const db = new Sqlite(path);
  db.exec("PRAGMA journal_mode = WAL");
  db.exec("PRAGMA synchronous = FULL");
  db.exec("PRAGMA cache_size = -32768");
  const statement = db.prepare(insertSql);
  return {
    begin: () => db.exec("BEGIN IMMEDIATE"),
    insert: (values) => statement.run(...values),
    commit: () => db.exec("COMMIT"),
    firstFree: async () => Number((db.prepare(LENGTH_SQL).get() as { length: number }).length),
    close: () => db.close(),
  };
}

async function mysql(uri: string): Promise<Connection> {
  const connection = await createConnection({ uri });
  return {
    begin: () => connection.beginTransaction(),
    insert: (values) => connection.query(insertSql, values),
    commit: () => connection.commit(),
    firstFree: async () => {
      const [rows] = await connection.query(LENGTH_SQL);
      return Number((rows as { length: number }[])[0]?.length);
    },
    close: () => connection.end(),
  };
}

const isMysql = target.startsWith("mysql://");
const schema = openDatabase(isMysql ? { mysqlUrl: target } : { sqlitePath: target });
await migrate(schema);
await schema.close();

const connection = isMysql ? await mysql(target) : sqlite(target);
const first = await connection.firstFree();
const statements = Array.from({ length: count / ROWS_PER_STATEMENT }, (_, s) =>
  Array.from({ length: ROWS_PER_STATEMENT }, (_, i) => {
    const at = s * ROWS_PER_STATEMENT + i;
    const { entry, columns } = encodeRecord(draftOf(wideRequest(at), "local"), {
      scale: ThreatScale.HUNDRED,
    });
    const { subject, type, actor, occurTime } = columns;
    return [first + at, randomBytes(32), entry, subject, type, actor, occurTime];
  }).flat(),
);

const start = performance.now();
const perTransaction = ROWS_PER_TRANSACTION / ROWS_PER_STATEMENT;
for (let at = 0; at < statements.length; at += perTransaction) {
  await connection.begin();
  for (const values of statements.slice(at, at + perTransaction)) await connection.insert(values);
  await connection.commit();
}
const seconds = (performance.now() - start) / 1000;
process.stdout.write(`${JSON.stringify({ seconds })}\n`);
await connection.close();
process.exit(0);
