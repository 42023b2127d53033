/** The process behind startGanache: one chain, served until the parent hangs up or is gone. */
import { createRequire } from "node:module";
import { setTimeout as delay } from "node:timers/promises";
import type { GanacheOptions, GanacheReady } from "./ganache.js";

/** The part of Ganache that is used here; its own types do not resolve from an ES module. */
interface Ganache {
  server(options: object): {
    listen(port: number, host: string): Promise<void>;
    address(): { port: number };
    provider: Provider;
  };
}

interface Provider {
  getInitialAccounts(): Record<string, { secretKey: string }>;
  /** What each request comes to; `value` settles once a transaction is in a block. */
  _requestRaw(request: { readonly method: string }): Promise<{ readonly value: Promise<unknown> }>;
}

const ganache = createRequire(import.meta.url)("ganache") as Ganache;
const options = JSON.parse(process.argv[2] ?? "{}") as GanacheOptions;

process.on("disconnect", () => process.exit(0));

const server = ganache.server({
  logging: { quiet: true },
  wallet: { mnemonic: "test test test test test test test test test test test junk" },
  chain: { chainId: 1337, networkId: 1337, hardfork: "shanghai" },
  miner: { blockTime: options.blockTime ?? 0 },
  database: options.dbPath === undefined ? {} : { dbPath: options.dbPath },
});
oneAtATime(server.provider);
await server.listen(options.port ?? 0, "127.0.0.1");

const wallet = Object.entries(server.provider.getInitialAccounts());
const ready: GanacheReady = {
  url: `http://127.0.0.1:${server.address().port}`,
  accounts: wallet.map(([address]) => address),
  privateKeys: wallet.map(([, { secretKey }]) => secretKey),
};
process.send?.(ready);

/**
 * Hands Ganache what makes blocks one after the other. Its miner (7.9.2) loses a transaction that comes while
 * another account's is executed for a lower price, or amidst evm_mine: it stays in the pool for ever. What does
 * not settle, as behind a gap of nonces, holds others up for a moment only.
 */
function oneAtATime(provider: Provider): void {
  const ask = provider._requestRaw.bind(provider);
  let last: Promise<unknown> = Promise.resolve();
  let isStopped = false;
  provider._requestRaw = (request) => {
    const { method } = request;
    if (method.startsWith("miner_st")) isStopped = method === "miner_stop";
    if (isStopped || !/^(eth_send|evm_mine)/.test(method)) return ask(request);
    const asked = last.then(() => ask(request));
    last = asked.then(({ value }) => Promise.race([value, delay(500)])).catch(() => undefined);
    return asked;
  };
}
