import { isIPv4, isIPv6 } from "node:net";
import { z } from "zod";
import { messageOf } from "../core/errors.js";
import { durationSeconds } from "../core/iso-duration.js";
import { MOST_LEVELS } from "../core/sla.js";

/** The port of a door; 0 for any. */
export const port = (value: number) => z.coerce.number().int().min(0).max(65_535).default(value);

/** A key of 32 bytes. */
export const hexKey = z
  .string()
  .regex(/^(0x)?[0-9a-fA-F]{64}$/)
  .optional()
  .meta({ values: "32 bytes in hex", secret: "all" });

/** The address of a contract, in lower case. */
export const contractAddress = z
  .string()
  .regex(/^0x[0-9a-fA-F]{40}$/)
  .transform((address) => address.toLowerCase())
  .optional()
  .meta({ values: "0x and 40 hex digits" });

/** true or false, in any of the ways in which people write them. */
export const flag = (value: boolean) =>
  z
    .stringbool({ truthy: ["true", "1", "yes", "on"], falsy: ["false", "0", "no", "off"] })
    .default(value)
    .meta({ values: "true or false", fallback: String(value) });

/** The items of a list, which commas separate. */
export const listOf = (text: string) => text.split(",").flatMap((item) => item.trim() || []);

/** The levels of log lines, and the one that has none. */
export const LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

/** A level as pino names it, also where it is named as Python does. */
export const levelName = (text: string) => {
  const name = text.toLowerCase();
  return { warning: "warn", critical: "fatal" }[name] ?? name;
};

/** What a text stands for, where whoever reads it throws an Error that says what is wrong with it. */
export const readBy =
  <T>(read: (text: string) => T) =>
  (text: string, context: z.RefinementCtx): T => {
    try {
      return read(text);
    } catch (error) {
      context.addIssue({ code: "custom", message: messageOf(error) });
      return z.NEVER;
    }
  };

/** Seconds from a deadline to each of its levels. Throws an Error that says what is wrong. */
export function ladderOf(text: string): readonly number[] {
  const offsets = listOf(text).map(durationSeconds);
  if (offsets.length < 1 || offsets.length > MOST_LEVELS) {
    throw new Error(`must have 1 to ${MOST_LEVELS} levels`);
  }
  const ascends = offsets.every((offset, i) => i === 0 || offset > (offsets[i - 1] as number));
  if (!ascends) throw new Error("each level must be later than the one before");
  return offsets;
}

/** Whether it is a TCP address that libp2p can listen on, or one of a peer that it can dial. */
export function isTcpMultiaddr(text: string, kind: "ip" | "peer"): boolean {
  const parts =
    /^\/(ip4|ip6|dns4|dns6|dns)\/([^/\s]+)\/tcp\/(\d{1,5})(\/p2p\/[0-9A-Za-z]{46,64})?$/.exec(text);
  if (parts === null) return false;
  const [, protocol, host = "", port, peer] = parts;
  if (Number(port) > 65_535) return false;
  if (kind === "ip" && (peer !== undefined || protocol?.startsWith("dns"))) return false;
  if (kind === "peer" && port === "0") return false;
  if (protocol === "ip4") return isIPv4(host);
  if (protocol === "ip6") return isIPv6(host);
  return true;
}

/** Whether it is a base URL, with user and password that can be sent. */
export function isKuboUrl(text: string): boolean {
  try {
    const { username, password, search, hash } = new URL(text);
    decodeURIComponent(username + password);
    return search === "" && hash === "";
  } catch {
    return false;
  }
}

/** Whether it is the address of a database; what was to be escaped in user or password ends those too soon. */
export function isDatabaseUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { pathname, search, hash } = new URL(text);
  return !/[@#]/.test(pathname + search + hash);
}
