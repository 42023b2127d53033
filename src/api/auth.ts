import { createContextKey } from "@connectrpc/connect";
import type { Interceptor } from "@connectrpc/connect";
import { hex, sha256 } from "../core/bytes.js";
import { AnchordError } from "../core/errors.js";

/** Which credential a call came with: part of the record that it makes. */
export const callerKey = createContextKey<string>("local", { description: "caller" });

/** Finds the caller behind an Authorization header; throws UNAUTHENTICATED where there is none. */
export type Authenticate = (authorization: string | null | undefined) => string;

/**
 * Accepts the bearer tokens of API_TOKENS, each in clear or as its SHA-256 in hex. Without tokens
 * everyone is "local": the doors are then bound to loopback.
 */
export function authenticator(tokens: readonly string[]): Authenticate {
  if (tokens.length === 0) return () => "local";
  const digests = new Set(tokens.map(digestOf));
  return (authorization) => {
    const token = /^bearer +(\S+)$/i.exec(authorization ?? "")?.[1];
    const digest = token === undefined ? "" : hex(sha256(Buffer.from(token)));
    // A digest is looked up, not a token: how long that takes tells nothing about any token.
    if (!digests.has(digest)) {
      throw new AnchordError(
        "UNAUTHENTICATED",
        "send `authorization: Bearer TOKEN` with one of the tokens in API_TOKENS",
      );
    }
    return digest.slice(0, 16);
  };
}

/** Lets only known callers through, and tells the handlers who calls. */
export function authInterceptor(authenticate: Authenticate): Interceptor {
  return (next) => (request) => {
    request.contextValues.set(callerKey, authenticate(request.header.get("authorization")));
    return next(request);
  };
}

function digestOf(token: string): string {
  return /^[0-9a-f]{64}$/i.test(token) ? token.toLowerCase() : hex(sha256(Buffer.from(token)));
}
