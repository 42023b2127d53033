/*
 * Loaded first by each of mocha's processes, which are ended by a signal: what tests have started is stopped
 * when a process exits, which it then does.
 */
process.once("SIGTERM", () => process.exit(1));
