import { createHash } from "node:crypto";
import { fromBinary } from "@bufbuild/protobuf";
import type { DescMethod, MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import type { Client, Interceptor, Transport } from "@connectrpc/connect";
import { codeFromString } from "@connectrpc/connect/protocol-connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { Client as GrpcClient, credentials } from "@grpc/grpc-js";
import type { ServiceError } from "@grpc/grpc-js";
import { AuditService } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { BadRequestSchema, ErrorInfoSchema } from "../../gen/ts/google/rpc/error_details_pb.js";
import { StatusSchema } from "../../gen/ts/google/rpc/status_pb.js";
import type { Daemon } from "./daemon.js";

/** A client of the audit service. */
export type AuditClient = Client<typeof AuditService>;

/** One of the ways into a daemon. */
export interface Door {
  readonly name: "gRPC" | "HTTP";
  /** What carries the calls of clients that send this bearer token. */
  transport(daemon: Daemon, token?: string): Transport;
  /** A client that sends this bearer token with every call. */
  client(daemon: Daemon, token?: string): AuditClient;
  /** Sends bytes as the request of a call without a stream of requests, however wrong they are. */
  send(daemon: Daemon, method: DescMethod, bytes: Uint8Array): Promise<Outcome>;
}

/** What a call came to: the bytes of its answer, or why it was refused. */
export type Outcome = { readonly answer: Uint8Array } | { readonly refusal: Refusal };

/** A refusal, as programs read it. */
export interface Refusal {
  readonly code: keyof typeof Code;
  /** Of google.rpc.ErrorInfo; empty where there is none. */
  readonly reason: string;
  readonly domain: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** The fields of google.rpc.BadRequest. */
  readonly fields: readonly string[];
  readonly message: string;
}

/** The gRPC door: binary messages through HTTP/2. */
export const GRPC_DOOR: Door = {
  name: "gRPC",
  transport: ({ grpcPort }, token) =>
    createGrpcTransport({
      baseUrl: `http://127.0.0.1:${grpcPort}`,
      interceptors: bearer(token),
    }),
  client: (daemon, token) => createClient(AuditService, GRPC_DOOR.transport(daemon, token)),
  send: ({ grpcPort }, method, bytes) => sendGrpc(grpcPort, method, bytes),
};

/** The HTTP door: the client speaks JSON through HTTP/1.1, and `send` sends binary messages. */
export const HTTP_DOOR: Door = {
  name: "HTTP",
  transport: ({ url }, token) =>
    createConnectTransport({
      baseUrl: url,
      httpVersion: "1.1",
      useBinaryFormat: false,
      interceptors: bearer(token),
    }),
  client: (daemon, token) => createClient(AuditService, HTTP_DOOR.transport(daemon, token)),
  send: async ({ url }, method, bytes) => {
    const response = await post(url, method, bytes, "application/proto");
    const body = Buffer.from(await response.arrayBuffer());
    return response.ok ? { answer: body } : { refusal: refusalIn(body.toString()) };
  },
};

/** Both doors: they differ in nothing but the way of writing. */
export const DOORS: readonly Door[] = [GRPC_DOOR, HTTP_DOOR];

/** The methods of the service by name, for `send`. */
export const METHODS = AuditService.method;

/** The caller that a record names for a token. */
export function callerOf(token: string): string {
  return createHash("sha256").update(token).digest("hex").slice(0, 16);
}

/** Posts a body to a method of the HTTP door. */
export function post(
  url: string,
  method: DescMethod,
  body: Uint8Array | string,
  contentType = "application/json",
): Promise<Response> {
  return fetch(`${url}/${method.parent.typeName}/${method.name}`, {
    method: "POST",
    headers: { "content-type": contentType },
    body: body as string,
  });
}

/** Posts JSON text to a method of the HTTP door. */
export async function sendJson(
  daemon: Daemon,
  method: DescMethod,
  text: string | Uint8Array,
): Promise<Outcome> {
  const response = await post(daemon.url, method, text);
  const body = await response.text();
  return response.ok ? { answer: Buffer.from(body) } : { refusal: refusalIn(body) };
}

/** Reads the answer of a method. */
export function answerOf<M extends DescMethod>(
  method: M,
  outcome: Outcome,
): MessageShape<M["output"]> {
  if ("refusal" in outcome) throw new Error(`refused: ${outcome.refusal.message}`);
  return fromBinary(method.output, outcome.answer) as MessageShape<M["output"]>;
}

/** Why a call through a client was refused. Throws where it was not. */
export async function refusalOf(call: Promise<unknown>): Promise<Refusal> {
  try {
    await call;
  } catch (error) {
    if (error instanceof ConnectError) return refusal(error);
    throw error;
  }
  throw new Error("the call was not refused");
}

/** A client's error as programs read it. */
export function refusal(error: ConnectError): Refusal {
  const [info] = error.findDetails(ErrorInfoSchema);
  const [bad] = error.findDetails(BadRequestSchema);
  return {
    code: Code[error.code] as keyof typeof Code,
    reason: info?.reason ?? "",
    domain: info?.domain ?? "",
    metadata: info?.metadata ?? {},
    fields: bad?.fieldViolations.map(({ field }) => field) ?? [],
    message: error.rawMessage,
  };
}

/** A Connect error in JSON, as programs read it. */
export function refusalIn(text: string): Refusal {
  const { code, message, details } = JSON.parse(text) as {
    code: string;
    message?: string;
    details?: readonly { type: string; value: string }[];
  };
  const error = new ConnectError(message ?? "", codeFromString(code));
  error.details = (details ?? []).map(({ type, value }) => ({
    type,
    value: Buffer.from(value, "base64"),
  }));
  return refusal(error);
}

function bearer(token: string | undefined): Interceptor[] {
  if (token === undefined) return [];
  return [
    (next) => (request) => {
      request.header.set("authorization", `Bearer ${token}`);
      return next(request);
    },
  ];
}

function sendGrpc(port: number, method: DescMethod, bytes: Uint8Array): Promise<Outcome> {
  const client = new GrpcClient(`127.0.0.1:${port}`, credentials.createInsecure(), {
    "grpc.max_send_message_length": -1,
  });
  const path = `/${method.parent.typeName}/${method.name}`;
  const asIs = (message: Uint8Array) => Buffer.from(message);
  return new Promise<Outcome>((resolve) => {
    if (method.methodKind === "server_streaming") {
      const call = client.makeServerStreamRequest(path, asIs, asIs, bytes);
      call.once("error", (error: ServiceError) => resolve({ refusal: grpcRefusal(error) }));
      call.once("data", (answer: Buffer) => resolve({ answer }));
    } else {
      client.makeUnaryRequest(path, asIs, asIs, bytes, (error, answer) =>
        resolve(error === null ? { answer: answer as Buffer } : { refusal: grpcRefusal(error) }),
      );
    }
  }).finally(() => client.close());
}

function grpcRefusal(thrown: ServiceError): Refusal {
  const error = new ConnectError(thrown.details, thrown.code as number as Code);
  const [status] = thrown.metadata.get("grpc-status-details-bin");
  if (status instanceof Buffer) {
    error.details = fromBinary(StatusSchema, status).details.map(({ typeUrl, value }) => ({
      type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1),
      value,
    }));
  }
  return refusal(error);
}
