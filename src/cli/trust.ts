import type { TextFormat } from "./arguments.js";

/** What `anchord verify` is asked to compare with. */
export interface VerifyOptions {
  /** HTTP address of an Ethereum node. */
  readonly rpc: string;
  readonly chainId?: bigint;
  /** The AuditLog contract. */
  readonly contract?: string;
  /** The log, by its LOG_NAME. */
  readonly log?: string;
  /** The EvidenceRegistry or SLARegistry contract. */
  readonly registry?: string;
  /** Zero hex digits that each head must start with. */
  readonly difficulty?: number;
  /** A file that must be the one that a bundle is about. */
  readonly file?: string;
  readonly format: TextFormat;
}

/** What each kind of file says of itself, that whoever checks it may expect otherwise. */
const SAID = {
  receipt: ["chainId", "contract", "log"],
  bundle: ["chainId", "contract", "log", "registry"],
  certificate: ["chainId", "contract", "log", "registry"],
  "certificate without receipts": ["chainId", "registry"],
} as const satisfies Readonly<Record<string, readonly (keyof VerifyOptions)[]>>;

const NAMES = {
  chainId: "the chain (give --chain-id)",
  contract: "the contract (give --contract)",
  log: "the log (give --log)",
  registry: "the registry (give --registry)",
} as const;

/** Whose word a verdict rests on. An address may hold a key, so only its host is shown. */
export function trustedWords(options: VerifyOptions, whose: keyof typeof SAID): string[] {
  const assumed = SAID[whose].filter((name) => options[name] === undefined);
  const node = `the node at ${new URL(options.rpc).host}`;
  if (assumed.length === 0) return [node];
  const [kind] = whose.split(" ");
  return [node, `the ${kind}'s own word for ${assumed.map((name) => NAMES[name]).join(", ")}`];
}
