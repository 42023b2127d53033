import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";

/** A request as REST handlers get it. */
export interface RestRequest {
  readonly headers: IncomingMessage["headers"];
  /** What the route's pattern captured. */
  readonly parameter: string;
  /** Reads the body as JSON; throws a RestError that says what is wrong with it. */
  json(): Promise<unknown>;
}

/** What a REST handler answers: JSON, or text of a type that it names. */
export interface RestAnswer {
  readonly status: number;
  readonly body: unknown;
  readonly contentType?: string;
}

/** One route: a method, and a path in which a last part `:name` captures anything without a slash. */
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
    return route.handle({ headers: request.headers, parameter, json: () => readJson(request) });
  }
  throw new RestError(404, "Endpoint not found");
}

function pathOf({ url }: IncomingMessage): string {
  const path = url?.split("?", 1)[0] ?? "/";
  return path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path;
}

/** What a pattern captures of a path; empty where it captures nothing; undefined where it differs. */
function match(pattern: string, path: string): string | undefined {
  const at = pattern.indexOf(":");
  if (at < 0) return pattern === path ? "" : undefined;
  const rest = path.slice(at);
  if (!path.startsWith(pattern.slice(0, at)) || rest === "" || rest.includes("/")) return undefined;
  try {
    return decodeURIComponent(rest);
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
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_BODY_BYTES)
      throw new RestError(413, `the body is over ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks)));
  } catch {
    throw new RestError(400, "the body is not valid JSON in UTF-8");
  }
}

function send(response: ServerResponse, { status, body, contentType }: RestAnswer): void {
  const text = contentType === undefined ? JSON.stringify(body) : String(body);
  response.writeHead(status, {
    "content-type": contentType ?? "application/json",
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET",
    "access-control-allow-headers": "authorization",
    ...(status === 413 ? { connection: "close" } : {}),
  });
  response.end(body === undefined ? undefined : text);
}
