import { constants, existsSync, readdirSync, statSync } from "node:fs";
import { access, statfs } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { embeddedFolder } from "../chain/embedded.js";
import type { Config } from "../config.js";
import { diskReserve } from "../content/disk-reserve.js";
import { openContentKeys } from "../content/keys.js";
import { openKuboContent } from "../content/kubo.js";
import { fail, look, ok, skipped, warn } from "./finding.js";
import type { Finding } from "./finding.js";

const MIB = 1024 * 1024;

/** Below so many times what uploads leave free, the disk is worth a word. */
const LITTLE = 8;

/** Looks at the content store, the keys, and the disk. */
export async function* hostFindings(config: Config): AsyncGenerator<Finding> {
  yield await contentFinding(config);
  yield await keysFinding(config);
  yield await secrecyFinding(config);
  yield await diskFinding(config);
}

async function contentFinding({ DATA_DIR, IPFS_API_URL: url }: Config): Promise<Finding> {
  if (url !== undefined) {
    const advice = "check that Kubo runs, and that IPFS_API_URL leads to its RPC";
    return look("content store", advice, async () => {
      const kubo = openKuboContent({ url });
      try {
        await kubo.listen();
        return ok("content store", `Kubo at ${new URL(url).host}`);
      } finally {
        await kubo.stop();
      }
    });
  }
  const folder = join(DATA_DIR, "ipfs");
  const advice = `let the service's user read and write ${folder}`;
  return look("content store", advice, async () => {
    await access(existing(folder), constants.R_OK | constants.W_OK | constants.X_OK);
    return ok("content store", existsSync(folder) ? folder : `${folder}, made at the first start`);
  });
}

/** The keys that published batches are encrypted with. */
function keysFinding({ DATA_DIR, CONTENT_KEY }: Config): Promise<Finding> {
  const folder = join(DATA_DIR, "keys");
  return look("content keys", `restore ${folder} from a backup, or set CONTENT_KEY`, async () => {
    if (CONTENT_KEY === undefined && !existsSync(join(folder, "content.key"))) {
      const advice =
        "start the service, which makes one; where there was one, restore it from a backup";
      return skipped("content keys", `${folder} has no content.key`, advice);
    }
    openContentKeys(folder, CONTENT_KEY);
    return ok("content keys", CONTENT_KEY === undefined ? `in ${folder}` : "CONTENT_KEY");
  });
}

/** Whether the key files that the service makes are for their owner alone: a mounted secret has its mount's mode. */
function secrecyFinding(config: Config): Promise<Finding> {
  const folder = join(config.DATA_DIR, "keys");
  return look("key files", "run this as the service's user, which must read them", async () => {
    const keys = existsSync(folder)
      ? readdirSync(folder).filter((name) => name.endsWith(".key"))
      : [];
    const files = [
      ...keys.map((name) => join(folder, name)),
      join(embeddedFolder(config), "key"),
    ].filter((file) => existsSync(file));
    for (const file of files) await access(file, constants.R_OK);
    const open = files.filter((file) => (statSync(file).mode & 0o077) !== 0);
    if (open.length === 0) return ok("key files", `${files.length}, for their owner alone`);
    return warn("key files", `others may read ${open.join(", ")}`, `chmod 600 ${open.join(" ")}`);
  });
}

function diskFinding({ DATA_DIR }: Config): Promise<Finding> {
  return look("disk", "check DATA_DIR", async () => {
    const { bavail, blocks, bsize } = await statfs(existing(DATA_DIR));
    if (blocks === 0) {
      const advice = "set DATA_DIR to a folder on a disk: files would be refused";
      return fail("disk", `${DATA_DIR} is on a file system that has no room`, advice);
    }
    const [free, reserve] = [bavail * bsize, diskReserve(blocks * bsize)];
    const share = Math.round((bavail / blocks) * 100);
    const found = `${Math.floor(free / MIB)} MiB free under ${DATA_DIR}, ${share} %`;
    const advice = "free some space: files are refused first, then nothing can be recorded";
    if (free < reserve) return fail("disk", found, advice);
    return free < LITTLE * reserve ? warn("disk", found, advice) : ok("disk", found);
  });
}

/** A folder, or the nearest one above it that is there. */
function existing(folder: string): string {
  const path = resolve(folder);
  return existsSync(path) ? path : existing(dirname(path));
}
