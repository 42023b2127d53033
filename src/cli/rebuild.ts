import { Command } from "commander";
import type { LoadedConfig } from "../config.js";
import type { RebuildProgress } from "../main.js";
import { configOption, textFormatOption } from "./arguments.js";
import type { ConfigFileOption, TextFormat } from "./arguments.js";
import { jsonLine } from "./columns.js";
import { ExitCode } from "./exit-code.js";
import { afterHelp } from "./help.js";
import { withProgress } from "./progress-bar.js";
import type { Progress } from "./progress-bar.js";
import { reportStartFailure } from "./start-failure.js";

interface Options extends ConfigFileOption {
  readonly format: TextFormat;
}

/** How often a line of progress is written, in milliseconds. */
const REPORT_MS = 1_000;

/** `anchord rebuild`: fills an empty database from chain, content store and key, without the service. */
export function rebuildCommand(): Command {
  return new Command("rebuild")
    .description(
      "Fill an empty database with everything that was sealed, from chain and content store.",
    )
    .addOption(configOption())
    .addOption(textFormatOption())
    .addHelpText(
      "after",
      afterHelp({
        notes: `Reads the settings of the service: where the chain is (BLOCKCHAIN_RPC_URL, BLOCKCHAIN_CONTRACT_ADDRESS,
LOG_NAME; the embedded chain by default), the database to fill (DATABASE_URL, DATA_DIR), the content store
(DATA_DIR/ipfs, IPFS_PEERS) and the key (DATA_DIR/keys, CONTENT_KEY). Needs no PRIVATE_KEY. The service must
be stopped. One that was cut short goes on where it was. docs/operations.md says what comes back.`,
        examples: [
          "anchord rebuild",
          "DATABASE_URL=mysql://… BLOCKCHAIN_RPC_URL=… anchord rebuild",
        ],
        codes: {
          ok: "done",
          usage: "usage or settings",
          unreachable: "the chain cannot be reached",
          failed: "a batch cannot be brought back",
        },
      }),
    )
    .action(async (options: Options) => {
      process.exit(await withProgress("batches", "pieces", (bar) => rebuild(options, bar)));
    });
}

async function rebuild({ config: file, format }: Options, bar: Progress): Promise<number> {
  let lastReport = 0;
  const report = ({ batches, batchesTotal, records }: RebuildProgress) => {
    if (Date.now() - lastReport < REPORT_MS) return;
    lastReport = Date.now();
    bar.show(batches, batchesTotal, `batch ${batches} of ${batchesTotal}, ${records} records`);
  };
  process.umask(0o077); // as `anchord start`
  let loaded: LoadedConfig | undefined;
  try {
    const { loadSettings } = await import("../config.js");
    loaded = loadSettings(undefined, { file, needsKey: false });
    const { makeDataDir } = await import("../config/data-dir.js");
    makeDataDir(loaded);
    const { config } = loaded;
    const { startEmbedded } = await import("../chain/embedded.js");
    const embedded = config.BLOCKCHAIN_RPC_URL === undefined ? startEmbedded(config) : undefined;
    embedded?.catch(() => undefined); // whoever waits for it reports it
    const { rebuildService } = await import("../main.js");
    const { batches, records } = await rebuildService(config, embedded, report);
    const text = `rebuilt: ${batches} batches, ${records} records. Next: npm start\n`;
    process.stdout.write(format === "json" ? jsonLine({ batches, records }) : text);
    return ExitCode.ok;
  } catch (error) {
    return reportStartFailure(error, loaded?.config);
  }
}
