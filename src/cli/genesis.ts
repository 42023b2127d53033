import type { JsonObject } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { hex } from "../core/bytes.js";
import { genesisHead } from "../core/head.js";
import type { AuditClient } from "./pages.js";
import { unlessMissing } from "./server.js";

/**
 * Block 0: the head of the empty log, which no transaction made. Rejects with UNAVAILABLE where the service
 * has never reached its chain.
 */
export async function genesisBlock(client: AuditClient): Promise<JsonObject> {
  return {
    index: 0,
    timestamp: null,
    data: [],
    previous_hash: "0".repeat(64),
    nonce: 0,
    hash: hex(await genesisHash(client)),
    root: null,
    size: 0,
    state: "final",
    create_time: null,
    transaction_hash: null,
    chain_block_number: null,
    chain_block_hash: null,
  };
}

async function genesisHash(client: AuditClient): Promise<Uint8Array> {
  const first = { batch: { case: "number", value: 1n } } as const;
  const { batch } = await client.getBatch(first).catch(unlessMissing(() => ({ batch: undefined })));
  if (batch?.sealed !== undefined) return batch.sealed.previousHead;
  const { identity } = await client.getStats({});
  if (identity !== undefined) return genesisHead(identity);
  throw new ConnectError("the service has not reached its chain yet", Code.Unavailable);
}
