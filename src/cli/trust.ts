/** What `anchord verify` is asked to compare with. */
export interface VerifyOptions {
  /** HTTP address of an Ethereum node. */
  readonly rpc: string;
  readonly chainId?: bigint;
  /** The AuditLog contract. */
  readonly contract?: string;
  /** The log, by its LOG_NAME. */
  readonly log?: string;
  /** The EvidenceRegistry contract. */
  readonly registry?: string;
  /** A file that must be the one that a bundle is about. */
  readonly file?: string;
}

/** Whose word a verdict rests on. An address may hold a key, so only its host is shown. */
export function trustText(options: VerifyOptions, whose: "receipt" | "bundle"): string {
  const { rpc, chainId, contract, log, registry } = options;
  const assumed = [
    ...(chainId === undefined ? ["the chain (give --chain-id)"] : []),
    ...(contract === undefined ? ["the contract (give --contract)"] : []),
    ...(log === undefined ? ["the log (give --log)"] : []),
    ...(registry === undefined && whose === "bundle" ? ["the registry (give --registry)"] : []),
  ];
  const node = `Trusted: the node at ${new URL(rpc).host}`;
  if (assumed.length === 0) return node;
  return `${node}, and the ${whose}'s own word for ${assumed.join(", ")}`;
}
