import { eth } from "web3";
import { hex0x, unhex } from "../core/bytes.js";
import type { SignedCall } from "../core/operation.js";
import type { Call, Fees } from "./port.js";

const { Common, privateKeyToAccount, signTransaction, TransactionFactory } = eth.accounts;

/** An account that signs, offline. The key never leaves it. */
export interface Signer {
  /** 0x and 40 lower-case hex digits. */
  readonly address: string;
  sign(call: Call, chainId: bigint, nonce: number, fees: Fees): Promise<SignedCall>;
}

/** The signer of a private key: 32 bytes in hex, with or without 0x. Throws on anything else. */
export function createSigner(privateKey: string): Signer {
  const key = unhex(privateKey);
  const address = privateKeyToAccount(key).address.toLowerCase();
  return {
    address,
    sign: async (call, chainId, nonce, fees) => {
      const common = Common.custom({ chainId }, { baseChain: 1, hardfork: "london" });
      const transaction = TransactionFactory.fromTxData(
        {
          type: 2,
          chainId,
          nonce,
          to: call.to,
          data: call.data,
          gasLimit: call.gas,
          maxFeePerGas: fees.maxFeePerGas,
          maxPriorityFeePerGas: fees.maxPriorityFeePerGas,
        },
        { common },
      );
      const signed = await signTransaction(transaction, hex0x(key));
      return {
        sender: unhex(address),
        nonce,
        transactionHash: unhex(signed.transactionHash),
        transaction: unhex(signed.rawTransaction),
      };
    },
  };
}

/** The call that a signed transaction makes. Requires one of EIP-1559. */
export function callOf(transaction: Uint8Array): Call {
  const { to, data, gasLimit } = TransactionFactory.fromSerializedData(transaction);
  return { to: String(to), data: hex0x(data), gas: Number(gasLimit) };
}

/** The fees that a signed transaction offers. Requires one of EIP-1559. */
export function feesOf(transaction: Uint8Array): Fees {
  const { maxFeePerGas, maxPriorityFeePerGas } = TransactionFactory.fromSerializedData(
    transaction,
  ) as unknown as Fees;
  return { maxFeePerGas, maxPriorityFeePerGas };
}
