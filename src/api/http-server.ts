import { createServer } from "node:http";
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Code, ConnectError, createConnectRouter } from "@connectrpc/connect";
import type { Interceptor } from "@connectrpc/connect";
import { codeFromString, codeToString } from "@connectrpc/connect/protocol-connect";
import {
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import { toBinary, create } from "@bufbuild/protobuf";
import { detailsOf, isUnreadable, reasonOf } from "./errors.js";
import type { Served } from "./grpc-adapter.js";
import { MAX_MESSAGE_BYTES } from "./grpc-server.js";
import { localOnly } from "./local-only.js";

/** The HTTP door. */
export interface HttpDoor {
  readonly port: number;
  /** Lets running calls finish for so long, then ends them. */
  close(graceMs: number): Promise<void>;
}

/** How long a request's headers may take: without a limit on all of it, Node.js has none on these. */
const HEADERS_MS = 60_000;

/** Opens the HTTP door: Connect and gRPC-Web for the services, `routes` for everything else. */
export async function openHttp(
  address: {
    readonly host: string;
    readonly port: number;
    /** Whether everyone who can reach the door may use it, which must then be this host alone. */
    readonly isOpen: boolean;
  },
  services: readonly Served[],
  interceptors: readonly Interceptor[],
  routes: RequestListener,
): Promise<HttpDoor> {
  const listener = connectListener(services, interceptors, routes);
  // An upload may take as long as it takes; callers that are gone without a word are found by keepalive.
  const options = { requestTimeout: 0, headersTimeout: HEADERS_MS, keepAlive: true };
  const server = createServer(options, address.isOpen ? localOnly(listener) : listener);
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) =>
      reject(
        new Error(
          `the HTTP door cannot listen on ${address.host}:${address.port}: ${error.message}`,
        ),
      ),
    );
    server.listen(address.port, address.host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: (graceMs) =>
      new Promise((resolve) => {
        const timer = setTimeout(() => server.closeAllConnections(), graceMs);
        server.close(() => {
          clearTimeout(timer);
          resolve();
        });
        server.closeIdleConnections();
      }),
  };
}

/** Connect's defaults drop a misspelt field, and alter text that is not UTF-8, in silence. */
const STRICT_JSON = {
  ignoreUnknownFields: false,
  textDecoder: new TextDecoder("utf-8", { fatal: true }), // read by Connect, missing in its types
};

type Universal = ReturnType<typeof createConnectRouter>["handlers"][number];
type UniversalResponse = Awaited<ReturnType<Universal>>;

function connectListener(
  services: readonly Served[],
  interceptors: readonly Interceptor[],
  routes: RequestListener,
): RequestListener {
  const router = createConnectRouter({
    connect: true,
    grpcWeb: true,
    grpc: false,
    interceptors: [...interceptors],
    readMaxBytes: MAX_MESSAGE_BYTES,
    jsonOptions: STRICT_JSON,
    acceptCompression: [compressionGzip],
  });
  for (const { service, implementation } of services) router.service(service, implementation);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  return (request, response) => {
    const handler = handlers.get(request.url?.split("?", 1)[0] ?? "");
    if (handler === undefined) routes(request, response);
    else void serve(handler, request, response);
  };
}

async function serve(handler: Universal, request: IncomingMessage, response: ServerResponse) {
  // What is left of a request that was refused halfway is read, or its caller would not see the answer.
  response.once("finish", () => request.resume());
  try {
    const universal = universalRequestFromNodeRequest(request, response, undefined, undefined);
    const answer = await handler({ ...universal, body: bodyOf(request) });
    await universalResponseToNodeResponse(await withReason(answer), response);
  } catch {
    // The request line or the host is no address, or the caller went away while we answered.
    if (response.headersSent) response.destroy();
    else response.writeHead(400).end();
  }
}

/** The bytes of a request. It lives on when reading ends early: the answer is still to be written. */
async function* bodyOf(request: IncomingMessage): AsyncGenerator<Uint8Array> {
  try {
    for await (const bytes of request.iterator({ destroyOnReturn: false }))
      yield bytes as Uint8Array;
  } catch (error) {
    throw new ConnectError("the caller has gone", Code.Canceled, undefined, undefined, error);
  }
}

/**
 * Adds the reason to errors that Connect answers before any interceptor runs, such as JSON that it
 * cannot read. Other answers pass as they are.
 */
async function withReason(answer: UniversalResponse): Promise<UniversalResponse> {
  const type = answer.header?.get("content-type") ?? "";
  if (answer.status < 400 || !type.startsWith("application/json")) return answer;
  const error = JSON.parse(await textOf(answer.body)) as {
    code: string;
    message?: string;
    details?: unknown[];
  };
  let { status } = answer;
  if (error.details === undefined) {
    let code = codeFromString(error.code) ?? Code.Internal;
    if (isUnreadable(code, error.message ?? "")) {
      code = Code.InvalidArgument;
      error.code = codeToString(code);
      status = 400;
    }
    error.details = detailsOf(reasonOf(code)).map(({ desc, value }) => ({
      type: desc.typeName,
      value: Buffer.from(toBinary(desc, create(desc, value)))
        .toString("base64")
        .replace(/=+$/, ""),
    }));
  }
  const body = Buffer.from(JSON.stringify(error));
  answer.header?.set("content-length", String(body.length));
  return { ...answer, status, body: once(body) };
}

async function textOf(body: UniversalResponse["body"]): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body ?? []) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
