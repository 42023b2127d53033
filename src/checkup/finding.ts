import { Misconfigured, messageOf } from "../core/errors.js";

/** How a part of an installation was found: SKIPPED where it could not be looked at, or is not used. */
export type Outcome = "OK" | "WARN" | "FAIL" | "SKIPPED";

/** What was found of one part of an installation. */
export interface Finding {
  /** The part, such as "chain" or "disk". */
  readonly check: string;
  readonly outcome: Outcome;
  readonly found: string;
  /** What to do about it; empty where nothing needs to be done. */
  readonly advice: string;
}

/** Finds a part to be as it must be. */
export function ok(check: string, found: string): Finding {
  return { check, outcome: "OK", found, advice: "" };
}

/** Finds that a part works now, but may not for long, or not as it could. */
export function warn(check: string, found: string, advice: string): Finding {
  return { check, outcome: "WARN", found, advice };
}

/** Finds that a part does not work. */
export function fail(check: string, found: string, advice: string): Finding {
  return { check, outcome: "FAIL", found, advice };
}

/** Finds that a part cannot be looked at, or is not used. */
export function skipped(check: string, found: string, advice = ""): Finding {
  return { check, outcome: "SKIPPED", found, advice };
}

/** Looks at a part. Whatever is thrown is what was found; Misconfigured says itself what to do. */
export async function look(
  check: string,
  advice: string,
  work: () => Promise<Finding>,
): Promise<Finding> {
  try {
    return await work();
  } catch (error) {
    const message = messageOf(error);
    const at = error instanceof Misconfigured ? message.indexOf(": ") : -1;
    return at < 0
      ? fail(check, message, advice)
      : fail(check, message.slice(0, at), message.slice(at + 2));
  }
}
