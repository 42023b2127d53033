import { Web3, type Contract } from "web3";
import { auditLogAbi } from "../../gen/contracts/audit-log.js";
import { hex0x } from "../../src/core/bytes.js";
import type { BatchSeal } from "../../src/core/head.js";
import { bytecodeOf } from "./compiled.js";

/** AuditLog as web3 calls it. */
export type AuditLog = Contract<typeof auditLogAbi>;

/** The error that a contract reverted with. */
export interface Revert {
  readonly name: string;
  /** Its arguments in their order, as text. */
  readonly values: readonly string[];
}

/** A seal as the contract takes it: with the head that it follows. */
export function sealOn(previousHead: Uint8Array, seal: BatchSeal) {
  return {
    number: seal.number,
    size: seal.size,
    nonce: seal.nonce,
    previousHead: hex0x(previousHead),
    root: hex0x(seal.root),
    manifestDigest: hex0x(seal.manifestDigest),
    trailsRoot: hex0x(seal.trailsRoot),
  };
}

/** A web3 that does not wait a second before it looks for a receipt again. */
export function connect(url: string): Web3 {
  const web3 = new Web3(url);
  web3.eth.transactionPollingInterval = 20;
  return web3;
}

/** Deploys an AuditLog; `admin` pays. */
export async function deployAuditLog(web3: Web3, admin: string, sealer: string): Promise<AuditLog> {
  const deployment = new web3.eth.Contract(auditLogAbi).deploy({
    data: bytecodeOf("AuditLog"),
    arguments: [admin, sealer],
  });
  const contract = await deployment.send({ from: admin, gas: "3000000" });
  return contract as unknown as AuditLog;
}

/** What a call reverts with. Throws where it does not revert. */
export async function revertOf(call: Promise<unknown>): Promise<Revert> {
  try {
    await call;
  } catch (error) {
    return revertIn(error as Error);
  }
  throw new Error("the call did not revert");
}

function revertIn(error: Error): Revert {
  const cause = error.cause as
    | { errorName?: string; errorArgs?: Record<string, unknown> & { __length__: number } }
    | undefined;
  if (cause?.errorName === undefined) throw error;
  const args = cause.errorArgs ?? { __length__: 0 };
  const values = Array.from({ length: args.__length__ }, (_, i) => String(args[String(i)]));
  return { name: cause.errorName, values };
}
