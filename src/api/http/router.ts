import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { CallOptions } from "@connectrpc/connect";

/** A request as REST handlers get it. */
export interface RestRequest {
  readonly headers: IncomingMessage["headers"];
  /** What the route's pattern captured. */
  readonly parameter: string;
  /** What stands behind the question mark. */
  readonly query: URLSearchParams;
  /** The request itself, for a body that is no JSON. */
  readonly raw: IncomingMessage;
  /** Reads the body as JSON; throws a RestError that says what is wrong with it. */
  json(): Promise<unknown>;
}

/** The caller's credential, for a call of a service on the caller's behalf. */
export function callOptions({ headers: { authorization } }: RestRequest): CallOptions {
  return authorization === undefined ? {} : { headers: { authorization } };
}

/** What a REST handler answers: JSON, or text of a type that it names. */
export interface RestAnswer {
  readonly status: number;
  readonly body: unknown;
  readonly contentType?: string;
  /** Whether pages of other origins may not read it; they may unless told. */
  readonly sameOrigin?: boolean;
}

/** One route: a method, and a path in which one part `:name` captures anything without a slash. */
export interface Route {
  readonly method: "GET" | "POST";
  readonly path: string;
  handle(request: RestRequest): Promise<RestAnswer>;
}

/** A refusal with its HTTP status. */
export class RestError extends Error {
  override readonly name = "RestError";

  constructor(
    readonly status: number,
    message: string,
    /** What else helps, where callers compare the message with a text that they know. */
    readonly note?: string,
  ) {
    super(message);
  }
}

const MAX_BODY_BYTES = 256 * 1024;

/** Serves routes. Errors are `{"success": false, "error": …}`; reads are open to any origin. */
export function restListener(
  routes: readonly Route[],
  toRestError: (error: unknown) => RestError,
): RequestListener {
  return (request, response) => {
    // What is left of a request that was refused unread is read, or its caller would not see the answer.
    response.once("finish", () => request.resume());
    void answer(routes, request)
      .catch((error: unknown) => {
        const { status, message } = toRestError(error);
        return { status, body: { success: false, error: message } };
      })
      .then((reply) => send(response, reply));
  };
}

async function answer(routes: readonly Route[], request: IncomingMessage): Promise<RestAnswer> {
  const path = pathOf(request);
  if (request.method === "OPTIONS") return { status: 204, body: undefined };
  const method = request.method === "HEAD" ? "GET" : request.method;
  for (const route of routes) {
    const parameter = match(route.path, path);
    if (parameter === undefined || route.method !== method) continue;
    return route.handle({
      headers: request.headers,
      parameter,
      query: new URLSearchParams(request.url?.split("?")[1]),
      raw: request,
      json: () => readJson(request),
    });
  }
  throw new RestError(404, "Endpoint not found");
}

function pathOf({ url }: IncomingMessage): string {
  const path = url?.split("?", 1)[0] ?? "/";
  return path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path;
}

/** What a pattern captures of a path; empty where it captures nothing; undefined where it differs. */
function match(pattern: string, path: string): string | undefined {
  const [wanted, parts] = [pattern.split("/"), path.split("/")];
  const at = wanted.findIndex((part) => part.startsWith(":"));
  const fits = wanted.every((part, i) => (i === at ? parts[i] !== "" : parts[i] === part));
  if (!fits || wanted.length !== parts.length) return undefined;
  try {
    return decodeURIComponent(parts[at] ?? "");
  } catch {
    throw new RestError(400, "the path is not valid percent-encoding");
  }
}

/** Asks for the JSON type, which a page of another origin cannot send without our consent. */
async function readJson(request: IncomingMessage): Promise<unknown> {
  if (!/^application\/json\b/i.test(request.headers["content-type"] ?? "")) {
    throw new RestError(415, "content-type must be application/json");
  }
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    length += (chunk as Buffer).length;
    if (length > MAX_BODY_BYTES)
      throw new RestError(413, `the body is over ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk as Buffer);
  }
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks)));
  } catch {
    throw new RestError(400, "the body is not valid JSON in UTF-8");
  }
}

const OPEN_TO_PAGES = {
  "access-control-allow-origin": "*",
  "access-control-allow-methods": "GET",
  "access-control-allow-headers": "authorization",
};

function send(response: ServerResponse, reply: RestAnswer): void {
  const { status, body, contentType, sameOrigin = false } = reply;
  const text = contentType === undefined ? JSON.stringify(body) : String(body);
  response.writeHead(status, {
    "content-type": contentType ?? "application/json",
    ...(sameOrigin ? {} : OPEN_TO_PAGES),
  });
  response.end(body === undefined ? undefined : text);
}
