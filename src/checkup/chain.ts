import { join } from "node:path";
import { readDeployment } from "../chain/deploy.js";
import { embeddedFolder, findEmbedded } from "../chain/embedded.js";
import type { Block, Chain } from "../chain/port.js";
import { connectRpc } from "../chain/rpc.js";
import type { Rpc } from "../chain/rpc.js";
import { createSigner } from "../chain/signer.js";
import { web3Chain } from "../chain/web3.js";
import type { Config } from "../config.js";
import { messageOf } from "../core/errors.js";
import { logIdOf } from "../core/head.js";
import { requireContract } from "../flow/connect.js";
import type { NamedLog } from "../flow/connect.js";
import { externalChain } from "../parts.js";
import { fail, look, ok, skipped, warn } from "./finding.js";
import type { Finding } from "./finding.js";

/** The check of whether the chain answers. */
export const CHAIN_CHECK = "chain";

/** A chain that answers, with the contracts and the log that the settings name. */
export interface FoundLog {
  readonly chain: Chain;
  readonly identity: NamedLog;
}

/** Where the settings lead: what is there need not answer. */
interface Place {
  readonly url: string;
  readonly chain: Chain;
  readonly privateKey: string;
  readonly contractsOn: (
    chainId: bigint,
  ) => Pick<NamedLog, "contract" | "evidence" | "sla"> | undefined;
}

/** A node's last block may be so old, in seconds, before that is worth a word. */
const OLD_BLOCK_S = 600;

/** So far off a block's time may be from this host's clock, in seconds. */
const TOLERANCE_S = 15;

/** A seal takes about so much gas, and the account should have ether for so many. */
const USUAL_SEAL_GAS = 150_000n;
const ENOUGH_SEALS = 1_000n;

/** Looks at the chain, the contracts and the account. Returns what the other checks need of them. */
export async function* chainFindings(
  config: Config,
): AsyncGenerator<Finding, FoundLog | undefined> {
  const place = placeOf(config);
  if (place === undefined) {
    yield skipped(
      CHAIN_CHECK,
      `no embedded chain runs on ${config.DATA_DIR}`,
      "start the service: `npm start` starts it as well; what is on the chain was not looked at",
    );
    return undefined;
  }
  const { chain } = place;
  const rpc = connectRpc(place.url);
  let identity: NamedLog | undefined;
  try {
    const [chainId, genesisHash] = [await chain.chainId(), await chain.genesisHash()];
    const block = await chain.latestBlock();
    yield await nodeFinding(config, place, rpc, { chainId, block });
    yield clockFinding(block, await nodeTime(rpc, block));
    const contracts = place.contractsOn(chainId);
    if (contracts === undefined) {
      yield skipped("contracts", "none are deployed yet", "start the service, which deploys them");
      return undefined;
    }
    identity = { chainId, genesisHash, ...contracts, log: logIdOf(config.LOG_NAME) };
  } catch (error) {
    const at = new URL(place.url).origin;
    const advice =
      "check BLOCKCHAIN_RPC_URL, and that the node runs and can be reached from here; records are kept meanwhile";
    yield fail(CHAIN_CHECK, `${at}: ${messageOf(error)}`, advice);
    return undefined;
  }
  const account = createSigner(place.privateKey).address;
  yield* contractFindings(chain, identity, account);
  yield await balanceFinding(chain, rpc, account);
  return { chain, identity };
}

function placeOf(config: Config): Place | undefined {
  const { PRIVATE_KEY: privateKey } = config;
  const external = externalChain(config);
  if (external !== undefined && privateKey !== undefined) {
    const { url, chain, ...contracts } = external;
    return { url, chain, privateKey, contractsOn: () => contracts };
  }
  const folder = join(embeddedFolder(config), "contracts");
  const embedded = findEmbedded(config);
  if (embedded === undefined) return undefined;
  const contractsOn = (chainId: bigint) => readDeployment(folder, chainId);
  return { ...embedded, chain: web3Chain(embedded.url), contractsOn };
}

async function nodeFinding(
  config: Config,
  { url }: Place,
  rpc: Rpc,
  { chainId, block }: { readonly chainId: bigint; readonly block: Block },
): Promise<Finding> {
  const age = Math.max(0, Math.floor(Date.now() / 1_000) - block.time);
  const found = `chain ${chainId} at ${new URL(url).origin}, block ${block.number}, ${age} s old`;
  const syncing = await rpc<unknown>("eth_syncing").catch(() => false);
  if (syncing !== false && syncing !== null) {
    return warn(CHAIN_CHECK, `${found}, still syncing`, "wait until the node has caught up");
  }
  if (config.BLOCKCHAIN_RPC_URL === undefined || age <= OLD_BLOCK_S) return ok(CHAIN_CHECK, found);
  return warn(
    CHAIN_CHECK,
    found,
    "unless this chain makes blocks only on demand, look after the node: it may have stopped, or have no peers",
  );
}

/** The node's clock: the time of the block that it would make now. Undefined where it does not tell. */
async function nodeTime(rpc: Rpc, { number }: Block): Promise<number | undefined> {
  type Pending = { readonly number: string | null; readonly timestamp: string | null } | null;
  const pending = await rpc<Pending>("eth_getBlockByNumber", "pending", false).catch(() => null);
  if (pending?.timestamp == null) return undefined;
  const isNext = pending.number === null || Number(pending.number) > number; // else it is the last
  return isNext ? Number(pending.timestamp) : undefined;
}

function clockFinding({ time }: Block, nodeNow: number | undefined): Finding {
  const now = Math.floor(Date.now() / 1_000);
  const [age, ahead] = [now - time, now - (nodeNow ?? now)];
  const advice = "let NTP set this host's clock; on a test chain, its clock may have been moved";
  if (-age > TOLERANCE_S) {
    return warn("clock", `the last block is ${-age} s ahead of this host's clock`, advice);
  }
  if (ahead > TOLERANCE_S) {
    return warn("clock", `this host's clock is ${ahead} s ahead of the node's`, advice);
  }
  if (nodeNow === undefined && age > OLD_BLOCK_S) {
    return skipped("clock", "the last block is too old to compare with");
  }
  return ok("clock", `the last block was ${Math.max(0, age)} s ago by this host's clock`);
}

/** The contracts of a log: how each is told, and the role that the account needs there. */
const CONTRACTS = [
  { name: "AuditLog", of: "contract", role: "SEALER_ROLE", may: "maySeal" },
  { name: "EvidenceRegistry", of: "evidence", role: "ANCHORER_ROLE", may: "mayAnchor" },
  { name: "SLARegistry", of: "sla", role: "MANAGER_ROLE", may: "mayManage" },
] as const;

async function* contractFindings(
  chain: Chain,
  identity: NamedLog,
  account: string,
): AsyncGenerator<Finding> {
  for (const { name, of, role, may } of CONTRACTS) {
    const address = identity[of];
    if (address === undefined) {
      const setting = of === "evidence" ? "EVIDENCE_CONTRACT_ADDRESS" : "SLA_CONTRACT_ADDRESS";
      yield skipped(name, "not used", `for it, deploy with \`npm run migrate\` and set ${setting}`);
      continue;
    }
    yield await look(name, "check the node", async () => {
      await requireContract(chain, identity, name, address);
      if (await chain[may](address, account)) return ok(name, `${address}; ${account} has ${role}`);
      const advice = `grant ${role} to ${account} with the admin's key, or set the right PRIVATE_KEY`;
      return fail(name, `${address}, but ${account} has no ${role}`, advice);
    });
  }
}

async function balanceFinding(chain: Chain, rpc: Rpc, account: string): Promise<Finding> {
  const advice = `send ether to ${account}`;
  return look("balance", advice, async () => {
    const balance = BigInt(await rpc<string>("eth_getBalance", account, "latest"));
    const { maxFeePerGas } = await chain.fees();
    if (maxFeePerGas === 0n)
      return ok("balance", `${account} needs none: the chain asks for no fees`);
    const seals = balance / (maxFeePerGas * USUAL_SEAL_GAS);
    const found = `${account} has ${ether(balance)} ether, for about ${seals} seals at the fees of now`;
    if (seals === 0n) return fail("balance", found, advice);
    return seals < ENOUGH_SEALS ? warn("balance", found, advice) : ok("balance", found);
  });
}

/** Wei as ether, to six places. */
function ether(wei: bigint): string {
  return (Number(wei / 10n ** 12n) / 1e6).toString();
}
