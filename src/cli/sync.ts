import { createClient } from "@connectrpc/connect";
import { Command, InvalidArgumentError } from "commander";
import { AuditService } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { ExitCode } from "./exit-code.js";
import { connectServer, reportFailure, withServer } from "./server.js";
import type { ServerOptions } from "./server.js";

interface Options extends ServerOptions {
  readonly fromBlock: bigint;
  readonly toBlock: bigint;
}

/** `anchord sync`: lets the service read a range of blocks again. */
export function syncCommand(): Command {
  const command = new Command("sync")
    .description("Have the service read blocks again and mend what its database missed of them.")
    .option("--from-block <number>", "first block", blockNumber, 0n)
    .option("--to-block <number>", "last block; 0 for the last that was followed", blockNumber, 0n)
    .addHelpText(
      "after",
      "\nExit codes: 0 done, 1 failed, 2 usage, 4 the service cannot be reached.",
    );
  return withServer(command).action(async (options: Options) => {
    process.exitCode = await sync(options);
  });
}

async function sync(options: Options): Promise<number> {
  const client = createClient(AuditService, connectServer(options));
  const { fromBlock, toBlock } = options;
  try {
    for await (const step of client.syncBlocks({ fromBlock, toBlock })) {
      const { blocksRead, blocksTotal } = step;
      const batches = `${step.batchesFound} batches found, ${step.batchesMended} mended`;
      const counts = `${batches}, ${step.evidenceFound} anchors of evidence found, ${step.evidenceMended} mended`;
      if (step.done) process.stdout.write(`${blocksRead} blocks read, ${counts}\n`);
      else process.stderr.write(`block ${blocksRead} of ${blocksTotal}, ${counts}\n`);
    }
    return ExitCode.ok;
  } catch (error) {
    return reportFailure(error, options);
  }
}

function blockNumber(text: string): bigint {
  if (!/^[0-9]{1,19}$/.test(text)) throw new InvalidArgumentError("must be a decimal number");
  return BigInt(text);
}
