import { join } from "node:path";
import type { Logger } from "pino";
import { readDeployment, runMigrations } from "./chain/deploy.js";
import { embeddedFolder, startEmbedded } from "./chain/embedded.js";
import type { EmbeddedChain } from "./chain/embedded.js";
import { createSigner } from "./chain/signer.js";
import type { Finality } from "./chain/tail.js";
import { web3Chain } from "./chain/web3.js";
import type { Config } from "./config.js";
import { confirmationsOf, databaseFile } from "./config/derived.js";
import { openEmbeddedContent } from "./content/embedded.js";
import { openContentKeys } from "./content/keys.js";
import { openKuboContent } from "./content/kubo.js";
import type { ChainAccess } from "./flow/chain-link.js";
import { storedIdentity } from "./store/chain-position.js";
import { isUnavailable, openDatabase } from "./store/database.js";
import type { Database } from "./store/database.js";
import { migrate } from "./store/migrations.js";

const DATABASE_WAIT_MS = 60_000;

/** When blocks count as final. */
export function finalityOf(config: Config): Finality {
  return {
    confirmations: confirmationsOf(config),
    asksFinalized: config.FINALITY === "finalized",
  };
}

/** Opens the database that a configuration names, with the schema that it has. */
export function configuredDatabase(config: Config): Database {
  return openDatabase(
    config.DATABASE_URL === undefined
      ? { sqlitePath: databaseFile(config) }
      : { mysqlUrl: config.DATABASE_URL.replace(/^mariadb:/, "mysql:") },
  );
}

/** Opens the database and brings its schema up to date; one that is still starting gets some time. */
export async function preparedDatabase(config: Config, logger: Logger): Promise<Database> {
  const database = configuredDatabase(config);
  const deadline = Date.now() + DATABASE_WAIT_MS;
  for (;;) {
    try {
      await migrate(database);
      return database;
    } catch (error) {
      if (!isUnavailable(error) || Date.now() > deadline) throw error;
      logger.warn({ err: error }, "the database does not answer yet: trying again");
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
  }
}

/** The operator's Kubo node or the embedded IPFS node, and the keys of what it keeps. */
export function openArchive(config: Config) {
  const { DATA_DIR: folder, IPFS_LISTEN: listen, IPFS_PEERS: peers, IPFS_API_URL: url } = config;
  return {
    content:
      url === undefined
        ? openEmbeddedContent({ folder: join(folder, "ipfs"), listen, peers })
        : openKuboContent({ url }),
    keys: openContentKeys(join(folder, "keys"), config.CONTENT_KEY),
  };
}

/** The embedded chain has the registries; of another, the operator or the database says whether one is there. */
export async function hasRegistry(
  config: Config,
  database: Database,
  registry: "evidence" | "sla",
): Promise<boolean> {
  const { EVIDENCE_CONTRACT_ADDRESS: evidence, SLA_CONTRACT_ADDRESS: sla } = config;
  if (config.BLOCKCHAIN_RPC_URL === undefined) return true;
  if ({ evidence, sla }[registry] !== undefined) return true;
  return (await storedIdentity(database))?.[registry] !== undefined;
}

/** The ways to a chain: a node of the operator's, or one of our own. */
export interface ChainSource {
  readonly open: () => Promise<ChainAccess>;
  readonly url: () => string;
  readonly close: () => Promise<void>;
}

/** The operator's chain where there is one, else our own. */
export function chainAccess(
  config: Config,
  logger: Logger,
  embedded?: Promise<EmbeddedChain>,
): ChainSource {
  const external = externalChain(config);
  const { PRIVATE_KEY: key } = config;
  if (external === undefined || key === undefined) return embeddedAccess(config, logger, embedded);
  const access = { ...external, signer: createSigner(key), isAlive: async () => true };
  return {
    open: () => Promise.resolve(access),
    url: () => external.url,
    close: () => Promise.resolve(),
  };
}

/** The operator's node and contracts, where there are any. */
export function externalChain(config: Config) {
  const { BLOCKCHAIN_RPC_URL: url, BLOCKCHAIN_CONTRACT_ADDRESS: contract } = config;
  if (url === undefined || contract === undefined) return undefined;
  const { EVIDENCE_CONTRACT_ADDRESS: evidence, SLA_CONTRACT_ADDRESS: sla } = config;
  return { url, chain: web3Chain(url), contract, evidence, sla };
}

/** The first start may be on its way already; later ones replace a Ganache that has ended. */
export function embeddedAccess(
  config: Config,
  logger: Logger,
  first?: Promise<EmbeddedChain>,
): ChainSource {
  const buildDir = join(embeddedFolder(config), "contracts");
  let starting = first;
  let running: EmbeddedChain | undefined;
  return {
    open: async () => {
      running = await (starting ?? startEmbedded(config));
      starting = undefined;
      const { url, privateKey } = running;
      const chain = web3Chain(url);
      const chainId = await chain.chainId();
      if (readDeployment(buildDir, chainId) === undefined) {
        logger.info("the contracts are being compiled and deployed, which takes some seconds");
        await runMigrations(url, buildDir, privateKey);
      }
      const deployment = readDeployment(buildDir, chainId);
      if (deployment === undefined) throw new Error("Truffle recorded no address of a contract");
      return {
        chain,
        ...deployment,
        signer: createSigner(privateKey),
        isAlive: () =>
          chain.chainId().then(
            () => true,
            () => false,
          ),
      };
    },
    url: () => running?.url ?? "",
    close: async () => running?.stop(),
  };
}
