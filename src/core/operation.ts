/**
 * What a contract call does. SEAL: seals a batch. EVIDENCE: anchors a group of evidence. SLA: changes a
 * deadline. ESCALATION: raises the levels of deadlines.
 */
export type OperationKind = "SEAL" | "EVIDENCE" | "SLA" | "ESCALATION";

/** What a contract call is for, as long as the log lives: the batch, group, change or escalation, by its number. */
export interface Purpose {
  readonly kind: OperationKind;
  readonly number: number;
}

/** Names a purpose where people read it. */
export function purposeName({ kind, number }: Purpose): string {
  return `${PURPOSE_NAMES[kind]} ${number}`;
}

const PURPOSE_NAMES = {
  SEAL: "batch",
  EVIDENCE: "evidence group",
  SLA: "deadline change",
  ESCALATION: "escalation",
} as const satisfies Record<OperationKind, string>;

/**
 * The state of a signed contract call. SENT: the chain may have it at any time. REFUSED: the node would
 * not have it, so that its nonce is free to others; it is offered again. MINED: it is in a block.
 * DROPPED: another transaction was mined in its place. FAILED: it ended without effect, and a reason
 * says why.
 */
export type OperationState = "SENT" | "REFUSED" | "MINED" | "DROPPED" | "FAILED";

/** A signed transaction, as it is broadcast again and again until it is mined. */
export interface SignedCall {
  /** Account that signed: 20 bytes. */
  readonly sender: Uint8Array;
  readonly nonce: number;
  readonly transactionHash: Uint8Array;
  /** The raw bytes to broadcast. */
  readonly transaction: Uint8Array;
}
