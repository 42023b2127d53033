import { Command } from "commander";
import { startEmbedded } from "../chain/embedded.js";
import { loadConfig } from "../config.js";
import { AnchordError, messageOf } from "../core/errors.js";
import type { RebuildProgress } from "../main.js";
import { ExitCode } from "./exit-code.js";
import { printable } from "./printable.js";

/** How often a line of progress is written, in milliseconds. */
const REPORT_MS = 1_000;

/** `anchord rebuild`: fills an empty database from chain, content store and key, without the service. */
export function rebuildCommand(): Command {
  return new Command("rebuild")
    .description(
      "Fill an empty database with everything that was sealed, from chain and content store.",
    )
    .addHelpText(
      "after",
      `
Reads the settings of the service: where the chain is (BLOCKCHAIN_RPC_URL, BLOCKCHAIN_CONTRACT_ADDRESS,
LOG_NAME; the embedded chain by default), the database to fill (DATABASE_URL, DATA_DIR), the content store
(DATA_DIR/ipfs, IPFS_PEERS) and the key (DATA_DIR/keys, CONTENT_KEY). Needs no PRIVATE_KEY. The service must
be stopped. One that was cut short goes on where it was. docs/operations.md says what comes back.

Exit codes: 0 done, 1 a batch cannot be brought back, 2 usage or settings, 4 the chain cannot be reached.`,
    )
    .action(async () => {
      process.exit(await rebuild());
    });
}

async function rebuild(): Promise<number> {
  let lastReport = 0;
  const report = ({ batches, batchesTotal, records }: RebuildProgress) => {
    if (Date.now() - lastReport < REPORT_MS) return;
    lastReport = Date.now();
    process.stderr.write(`batch ${batches} of ${batchesTotal}, ${records} records\n`);
  };
  try {
    const config = loadConfig(undefined, { needsKey: false });
    const embedded = config.BLOCKCHAIN_RPC_URL === undefined ? startEmbedded(config) : undefined;
    embedded?.catch(() => undefined); // whoever waits for it reports it
    const { rebuildService } = await import("../main.js");
    const { batches, records } = await rebuildService(config, embedded, report);
    process.stdout.write(`rebuilt: ${batches} batches, ${records} records. Next: npm start\n`);
    return ExitCode.ok;
  } catch (error) {
    process.stderr.write(`anchord: ${printable(messageOf(error))}\n`);
    return exitCodeOf(error);
  }
}

function exitCodeOf(error: unknown): number {
  const { name } = error as Error;
  if (name === "ConfigError" || name === "Misconfigured") return ExitCode.usage;
  const isAway = error instanceof AnchordError && error.reason === "CHAIN_UNAVAILABLE";
  return isAway ? ExitCode.unreachable : ExitCode.failed;
}
