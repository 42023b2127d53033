/** The process behind startGanache: one chain, served until the parent hangs up or is gone. */
import { createRequire } from "node:module";
import type { GanacheOptions, GanacheReady } from "./ganache.js";

/** The part of Ganache that is used here; its own types do not resolve from an ES module. */
interface Ganache {
  server(options: object): {
    listen(port: number, host: string): Promise<void>;
    address(): { port: number };
    provider: { getInitialAccounts(): Record<string, { secretKey: string }> };
  };
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
await server.listen(options.port ?? 0, "127.0.0.1");

const wallet = Object.entries(server.provider.getInitialAccounts());
const ready: GanacheReady = {
  url: `http://127.0.0.1:${server.address().port}`,
  accounts: wallet.map(([address]) => address),
  privateKeys: wallet.map(([, { secretKey }]) => secretKey),
};
process.send?.(ready);
