import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";

/**
 * Truffle takes its configuration with `require`, so the object is exported under the name
 * 'module.exports' as well; everything that depends on the place comes from the environment:
 *
 * - BLOCKCHAIN_RPC_URL: the node to talk to, http://127.0.0.1:8545 unless told.
 * - PRIVATE_KEY: signs here, 0x and 64 hex digits; without it the node's first account signs.
 * - TRUFFLE_BUILD_DIR: where artifacts and deployed addresses are kept, ./build/contracts unless told.
 *
 * What the migrations read is told at their head.
 */

const here = import.meta.dirname;
const rpcUrl = process.env.BLOCKCHAIN_RPC_URL || "http://127.0.0.1:8545";
const privateKey = process.env.PRIVATE_KEY;

/** Answers for one account whose key the node does not have; passes everything else on to the node. */
class SigningProvider {
  #url;
  #key;
  #web3;

  constructor(url, key) {
    this.#url = url;
    this.#key = key.startsWith("0x") ? key : `0x${key}`;
  }

  /** The provider interface of web3 1, which Truffle speaks. */
  send(payload, callback) {
    this.#answer(payload).then(
      (response) => callback(null, response),
      (error) => callback(error),
    );
  }

  async #answer({ id, method, params }) {
    const web3 = await this.#connect();
    if (method === "eth_accounts") return { id, jsonrpc: "2.0", result: [this.#address(web3)] };
    if (method !== "eth_sendTransaction") return this.#forward(web3, id, method, params);
    const signed = await web3.eth.accounts.signTransaction(params[0], this.#key);
    return this.#forward(web3, id, "eth_sendRawTransaction", [signed.rawTransaction]);
  }

  #forward(web3, id, method, params) {
    return web3.provider.request({ id, jsonrpc: "2.0", method, params });
  }

  #address(web3) {
    return web3.eth.accounts.privateKeyToAccount(this.#key).address;
  }

  /** Loads web3 once it is needed: it would slow down every other command of Truffle. */
  async #connect() {
    const { Web3 } = await import("web3");
    this.#web3 ??= new Web3(this.#url);
    return this.#web3;
  }
}

const config = {
  contracts_directory: join(here, "contracts"),
  contracts_build_directory: resolve(here, process.env.TRUFFLE_BUILD_DIR || "build/contracts"),
  migrations_directory: join(here, "migrations"),
  networks: {
    anchord: {
      ...(privateKey
        ? { provider: () => new SigningProvider(rpcUrl, privateKey) }
        : { url: rpcUrl }),
      network_id: "*",
      // A rehearsal would fork the network into a Ganache and then ask on the terminal.
      skipDryRun: true,
    },
  },
  compilers: {
    solc: {
      version: dirname(createRequire(import.meta.url).resolve("solc/package.json")),
      settings: {
        optimizer: { enabled: true, runs: 200 },
        // Ganache runs nothing newer.
        evmVersion: "shanghai",
      },
    },
  },
};

export default config;
export { config as "module.exports" };
