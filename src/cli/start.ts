import { Command } from "commander";
import type { Config, LoadedConfig } from "../config.js";
import type { RunningService } from "../main.js";
import { configOption } from "./arguments.js";
import type { ConfigFileOption } from "./arguments.js";
import { ExitCode } from "./exit-code.js";
import { afterHelp } from "./help.js";
import { reportStartFailure } from "./start-failure.js";

/** `anchord start`: runs the service until it is told to stop. */
export function startCommand(): Command {
  return new Command("start")
    .description("Run the service. docs/configuration.md lists its settings.")
    .addOption(configOption())
    .addHelpText(
      "after",
      afterHelp({
        notes: `Settings come from the environment, else from the configuration file, else they have defaults; none is
needed. \`anchord config print\` shows what is in force.`,
        examples: ["anchord start", "DATA_DIR=/var/lib/anchord LOG_LEVEL=debug anchord start"],
        codes: {
          ok: "it was told to stop, or is not enabled",
          usage: "usage or settings",
          unreachable: "the chain cannot be reached",
          failed: "it could not start",
        },
      }),
    )
    .action(start);
}

async function start({ config: file }: ConfigFileOption): Promise<void> {
  process.umask(0o077); // what is kept is its owner's alone, wherever a setting puts it
  let loaded: LoadedConfig | undefined;
  try {
    const { loadSettings } = await import("../config.js");
    loaded = loadSettings(undefined, { file });
    const { config, given } = loaded;
    if (!config.ENABLED) {
      const { label } = given.get("ENABLED") ?? { label: "ENABLED" };
      process.stdout.write(`anchord was not started: ${label} is false.\n`);
      return;
    }
    const { makeDataDir } = await import("../config/data-dir.js");
    makeDataDir(loaded);
    // The chain takes longest to start, so it does while the rest of the program is still loading.
    const { startEmbedded } = await import("../chain/embedded.js");
    const embedded = config.BLOCKCHAIN_RPC_URL === undefined ? startEmbedded(config) : undefined;
    embedded?.catch(() => undefined); // whoever waits for it reports it
    const { startService } = await import("../main.js");
    const service = await startService(config, embedded);
    stopOnSignals(service);
    process.stdout.write(welcome(service, config));
  } catch (error) {
    process.exit(reportStartFailure(error, loaded?.config));
  }
}

function stopOnSignals(service: RunningService): void {
  let stopping = false;
  const stop = () => {
    if (stopping) process.exit(130); // asked twice: do not wait
    stopping = true;
    void service.stop().then(() => process.exit(ExitCode.ok));
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  process.on("SIGHUP", stop); // the terminal has gone
}

function welcome(
  { grpcPort, httpPort, rpcUrl: address }: RunningService,
  { API_TOKENS: tokens, RECORD_TYPES: types }: Config,
): string {
  const token = tokens.length === 0 ? "" : ' -H "authorization: Bearer $ANCHORD_TOKEN"';
  const call = `curl${token} -H 'content-type: application/json' localhost:${httpPort}/anchord.v1.AuditService`;
  if (address === "") {
    return `anchord is ready: gRPC on ${grpcPort}, HTTP on ${httpPort}; the chain was not reached yet.
  Records are accepted and wait. See: curl localhost:${httpPort}/health
`;
  }
  const rpcUrl = new URL(address).origin; // its path may hold a key
  return `anchord is ready: gRPC on ${grpcPort}, HTTP on ${httpPort}, chain at ${rpcUrl}. Try:
  ${recordWith(call, types)}
  ${call}/GetReceipt -d '{"recordId":"<the recordId above>"}' > receipt.json
  npx anchord verify receipt.json --rpc ${rpcUrl}
`;
}

/** A first record, of a type that is accepted. */
function recordWith(call: string, types: Config["RECORD_TYPES"]): string {
  if (types !== undefined && !types.includes("threat")) {
    return `npx anchord record-event --type ${types[0]} --data '{…}'`;
  }
  return `${call}/RecordEvent -d '{"subject":"user/42","threat":{"score":92.5,"durationMinutes":18.7}}'`;
}
