import type { RequestListener } from "node:http";

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i;

/**
 * Answers only requests that name this host. A door that asks for no token trusts everyone who can reach
 * it; a web page whose name was made to lead here can, but its browser still says that name.
 */
export function localOnly(listener: RequestListener): RequestListener {
  return (request, response) => {
    if (LOOPBACK.test(request.headers.host ?? "")) return listener(request, response);
    const message =
      "without API_TOKENS this door answers to localhost only: call it by that name, or set API_TOKENS";
    response.writeHead(403, { "content-type": "application/json" });
    response.end(JSON.stringify({ code: "permission_denied", message }));
  };
}
