import { loadConfig } from "../config.js";
import { startEmbedded } from "../chain/embedded.js";
import type { RunningService } from "../main.js";

/** `anchord start`: runs the service until it is told to stop. */
export async function start(): Promise<void> {
  const config = loadConfig();
  // The chain takes longest to start, so it does while the rest of the program is still loading.
  const embedded = config.BLOCKCHAIN_RPC_URL === undefined ? startEmbedded(config) : undefined;
  embedded?.catch(() => undefined); // whoever waits for it reports it
  const { startService } = await import("../main.js");
  const service = await startService(config, embedded);
  stopOnSignals(service);
  process.stdout.write(welcome(service));
}

function stopOnSignals(service: RunningService): void {
  let stopping = false;
  const stop = () => {
    if (stopping) process.exit(130); // asked twice: do not wait
    stopping = true;
    void service.stop().then(() => process.exit(0));
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
}

function welcome({ grpcPort, httpPort, rpcUrl: address }: RunningService): string {
  const call = `curl -H 'content-type: application/json' localhost:${httpPort}/anchord.v1.AuditService`;
  if (address === "") {
    return `anchord is ready: gRPC on ${grpcPort}, HTTP on ${httpPort}; the chain was not reached yet.
  Records are accepted and wait. See: curl localhost:${httpPort}/health
`;
  }
  const rpcUrl = new URL(address).origin; // its path may hold a key
  return `anchord is ready: gRPC on ${grpcPort}, HTTP on ${httpPort}, chain at ${rpcUrl}. Try:
  ${call}/RecordEvent -d '{"subject":"user/42","threat":{"score":92.5,"durationMinutes":18.7}}'
  ${call}/GetReceipt -d '{"recordId":"<the recordId above>"}' > receipt.json
  npx anchord verify receipt.json --rpc ${rpcUrl}
`;
}
