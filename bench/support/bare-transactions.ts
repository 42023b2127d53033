import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { auditLogAbi } from "../../gen/contracts/audit-log.js";
import { contractOf } from "../../src/chain/contracts.js";
import type { Call, Chain, Fees } from "../../src/chain/port.js";
import { createSigner } from "../../src/chain/signer.js";
import { web3Chain } from "../../src/chain/web3.js";
import { hex0x, ZERO32 } from "../../src/core/bytes.js";
import { genesisHead, nextHead } from "../../src/core/head.js";
import type { SignedCall } from "../../src/core/operation.js";
import type { Daemon } from "../../test/support/daemon.js";

/** Where bare transactions go, and who signs them. */
export interface Account {
  readonly rpcUrl: string;
  readonly contract: string;
  readonly privateKey: string;
}

/** The account of a daemon's embedded chain. Not while the daemon seals: they share its nonces. */
export async function embeddedAccount({ grpc, dataDir, rpcUrl }: Daemon): Promise<Account> {
  const { identity } = await grpc.getStats({});
  if (identity === undefined) throw new Error("the daemon has not reached its chain");
  const privateKey = readFileSync(join(dataDir, "chain", "key"), "utf8").trim();
  return { rpcUrl, contract: identity.contract, privateKey };
}

/** The next call to send, by what chain and contract it goes to. */
export type NextCall = (chain: Chain, contract: string, chainId: bigint) => Call;

/** The least work there is: a call that stores nothing, with a record's hash behind its arguments. */
export const emptyCall: NextCall = (_chain, to) => ({
  to,
  data: EMPTY + hex0x(randomBytes(32)).slice(2),
  gas: 50_000,
});

/** The same call that the service makes: seals of one record each, in a log of their own. */
export function sealCalls(): NextCall {
  const log = randomBytes(32);
  let number = 0n;
  let head: Uint8Array | undefined;
  return (chain, contract, chainId) => {
    const id = { chainId, contract, log };
    const previousHead = head ?? genesisHead(id);
    const unused = { manifestDigest: ZERO32, trailsRoot: ZERO32, nonce: 0n };
    const seal = { number: ++number, root: randomBytes(32), size: 1n, ...unused };
    head = nextHead(previousHead, seal);
    return chain.sealCall(id, previousHead, seal);
  };
}

/** Sends transactions by hand: signs offline, hands in, and polls for the receipt. */
export class BareTransactions {
  readonly #chain;
  readonly #signer;
  readonly #contract: string;
  #chainId = 0n;
  #nonce = 0;
  #fees: Fees | undefined;

  constructor(
    { rpcUrl, contract, privateKey }: Account,
    private readonly nextCall: NextCall,
  ) {
    this.#chain = web3Chain(rpcUrl);
    this.#signer = createSigner(privateKey);
    this.#contract = contract;
  }

  /** Reads what signing needs. */
  async prepare(): Promise<void> {
    this.#chainId = await this.#chain.chainId();
    this.#nonce = await this.#chain.nonce(this.#signer.address);
    this.#fees = await this.#chain.fees();
  }

  /** Signs one, hands it in, and waits until a block has it. */
  async send(): Promise<void> {
    await this.deliver(await this.sign());
  }

  /** Signs the next one. */
  async sign(): Promise<SignedCall> {
    if (this.#fees === undefined) throw new Error("not prepared");
    const call = this.nextCall(this.#chain, this.#contract, this.#chainId);
    return this.#signer.sign(call, this.#chainId, this.#nonce++, this.#fees);
  }

  /** Hands one in, and polls until a block has it. */
  async deliver(signed: SignedCall): Promise<void> {
    await this.#chain.broadcast(signed.transaction);
    const hash = hex0x(signed.transactionHash);
    while ((await this.#chain.mined(hash)) === undefined) await new Promise(setImmediate);
  }
}

const EMPTY = contractOf(auditLogAbi).encode("version", []);
