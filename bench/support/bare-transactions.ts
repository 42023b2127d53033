import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { auditLogAbi } from "../../gen/contracts/audit-log.js";
import { contractOf } from "../../src/chain/contracts.js";
import type { Fees } from "../../src/chain/port.js";
import { createSigner } from "../../src/chain/signer.js";
import { web3Chain } from "../../src/chain/web3.js";
import { hex0x } from "../../src/core/bytes.js";
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

/**
 * Anchors one record a transaction with the least work there is: a call that stores nothing, with the
 * record's hash behind its arguments.
 */
export class BareTransactions {
  readonly #chain;
  readonly #signer;
  readonly #contract: string;
  #chainId = 0n;
  #nonce = 0;
  #fees: Fees | undefined;

  constructor({ rpcUrl, contract, privateKey }: Account) {
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
    const data = CALL + hex0x(randomBytes(32)).slice(2);
    const call = { to: this.#contract, data, gas: 50_000 };
    return this.#signer.sign(call, this.#chainId, this.#nonce++, this.#fees);
  }

  /** Hands one in, and polls until a block has it. */
  async deliver(signed: SignedCall): Promise<void> {
    await this.#chain.broadcast(signed.transaction);
    const hash = hex0x(signed.transactionHash);
    while ((await this.#chain.mined(hash)) === undefined) await new Promise(setImmediate);
  }
}

const CALL = contractOf(auditLogAbi).encode("version", []);
