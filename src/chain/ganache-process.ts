/**
 * Ganache in a process of its own: it would block the service's event loop, and it must outlive an
 * interrupt until the service has drained. It ends when its standard input does, which happens
 * however its parent ends. Options come as JSON in the first argument.
 */
import { createRequire } from "node:module";

/** What the process is told. */
export interface GanacheOptions {
  /** Port to listen on, on loopback; any free one if it is taken. */
  readonly port: number;
  readonly chainId: number;
  /** Folder of its database. */
  readonly path: string;
  /** The one account that has ether: 0x and 64 hex digits. */
  readonly privateKey: string;
}

interface GanacheServer {
  listen(port: number, host: string): Promise<void>;
  close(): Promise<void>;
  address(): { port: number };
}

const BALANCE = "0xd3c21bcecceda1000000"; // one million ether

async function listen(options: GanacheOptions): Promise<GanacheServer> {
  const ganache = createRequire(import.meta.url)("ganache") as {
    server(options: unknown): GanacheServer;
  };
  const create = () =>
    ganache.server({
      chain: { chainId: options.chainId, networkId: options.chainId, hardfork: "shanghai" },
      database: { dbPath: options.path },
      wallet: { accounts: [{ secretKey: options.privateKey, balance: BALANCE }] },
      logging: { quiet: true },
    });
  const server = create();
  await server.listen(options.port, "127.0.0.1");
  return server;
}

const server = await listen(JSON.parse(process.argv[2] ?? "{}") as GanacheOptions);

let closing = false;
function stop(): void {
  if (closing) return;
  closing = true;
  void server.close().finally(() => process.exit(0));
}

process.stdin.on("end", stop).on("error", stop).resume();
process.on("SIGTERM", stop);
process.stdout.write(`${JSON.stringify({ port: server.address().port })}\n`);
