import type { Chain } from "../chain/port.js";

/** The chain behind a node's address. web3 is loaded only here: commands that need no chain start sooner. */
export async function chainAt(rpc: string): Promise<Chain> {
  const { web3Chain } = await import("../chain/web3.js");
  return web3Chain(rpc);
}
