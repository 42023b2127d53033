/**
 * The state of a signed contract call. SENT: the chain may have it at any time. MINED: it is in a
 * block. DROPPED: another transaction was mined in its place. FAILED: it ended without effect, and a
 * reason says why.
 */
export type OperationState = "SENT" | "MINED" | "DROPPED" | "FAILED";

/** A signed transaction, as it is broadcast again and again until it is mined. */
export interface SignedCall {
  /** Account that signed: 20 bytes. */
  readonly sender: Uint8Array;
  readonly nonce: number;
  readonly transactionHash: Uint8Array;
  /** The raw bytes to broadcast. */
  readonly transaction: Uint8Array;
}
