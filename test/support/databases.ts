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
