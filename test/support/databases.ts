import { sharedMysql } from "./mysql.js";

/** A database to run a daemon on. */
export interface TestDatabase {
  readonly name: string;
  /** The settings that lead a daemon to an empty one; undefined where there is no such server. */
  settings(): Promise<Record<string, string> | undefined>;
}

/** Both databases: every behaviour is the same on either. */
export const DATABASES: readonly TestDatabase[] = [
  { name: "SQLite", settings: () => Promise.resolve({}) },
  {
    name: "MariaDB",
    settings: async () => {
      const server = await sharedMysql();
      return server && { DATABASE_URL: await server.createDatabase() };
    },
  },
];

/**
 * What suites run on that take minutes: one of the databases, another from seed to seed, and both where
 * TEST_DATABASES is "all".
 */
export function databasesOfRun(seed: number): readonly TestDatabase[] {
  return process.env["TEST_DATABASES"] === "all" ? DATABASES : [DATABASES[seed % 2]!];
}
