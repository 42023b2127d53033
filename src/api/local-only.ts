import type { RequestListener, ServerResponse } from "node:http";

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i;

/** Methods that change nothing. */
const READS: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

/**
 * Answers only requests that name this host. A door that asks for no token trusts everyone who can reach
 * it; a web page whose name was made to lead here can, but its browser still says that name. A page of any
 * other origin can post a form here without asking, but its browser says where it comes from.
 */
export function localOnly(listener: RequestListener): RequestListener {
  return (request, response) => {
    const { host = "", origin } = request.headers;
    if (!LOOPBACK.test(host)) {
      refuse(response, "this door answers to localhost only: call it by that name");
    } else if (!READS.has(request.method ?? "") && !isLocal(origin)) {
      refuse(response, "this door takes nothing from pages of other origins");
    } else listener(request, response);
  };
}

function isLocal(origin: string | undefined): boolean {
  return origin === undefined || LOOPBACK.test(origin.replace(/^https?:\/\//, ""));
}

function refuse(response: ServerResponse, why: string): void {
  const message = `without API_TOKENS ${why}, or set API_TOKENS`;
  response.writeHead(403, { "content-type": "application/json" });
  response.end(JSON.stringify({ code: "permission_denied", message, error: message }));
}
