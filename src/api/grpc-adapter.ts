import type { EventEmitter } from "node:events";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescMethod, DescService, Message } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createContextValues } from "@connectrpc/connect";
import type { ContextValues, HandlerContext, Interceptor, ServiceImpl } from "@connectrpc/connect";
import { Metadata } from "@grpc/grpc-js";
import type {
  MethodDefinition,
  Server,
  ServerDuplexStream,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  StatusObject,
  UntypedHandleCall,
} from "@grpc/grpc-js";
import { StatusSchema } from "../../gen/ts/google/rpc/status_pb.js";
import { AnchordError, messageOf } from "../core/errors.js";
import { encodingOf } from "./encoded.js";
import { toConnectError } from "./errors.js";

/**
 * Serves Connect handlers, with their interceptors, through grpc-js: for small calls it does several
 * times the requests a second of Connect's own gRPC handler.
 */

type Unary = ServerUnaryCall<Buffer, Uint8Array>;
type Reading = ServerReadableStream<Buffer, Uint8Array>;
type Writing = ServerWritableStream<Buffer, Uint8Array>;
type Duplex = ServerDuplexStream<Buffer, Uint8Array>;
type Call = Unary | Reading | Writing | Duplex;
type AnyRequest = Parameters<ReturnType<Interceptor>>[0];
type AnyResponse = Awaited<ReturnType<ReturnType<Interceptor>>>;

/** A service with its handlers. */
export interface Served {
  readonly service: DescService;
  readonly implementation: ServiceImpl<DescService>;
}

/** Puts a service and its handlers together. */
export function served<S extends DescService>(service: S, implementation: ServiceImpl<S>): Served {
  return { service, implementation: implementation as ServiceImpl<DescService> };
}

/** Adds a service to a grpc-js server. Messages over `maxBytes` are refused. */
export function addService(
  server: Server,
  { service, implementation }: Served,
  options: { readonly interceptors: readonly Interceptor[]; readonly maxBytes: number },
): void {
  const definition: Record<string, MethodDefinition<Uint8Array, Buffer>> = {};
  const handlers: Record<string, UntypedHandleCall> = {};
  for (const method of service.methods) {
    const handler = (implementation as Record<string, unknown>)[method.localName] as Handler;
    const invoke = withInterceptors(method, handler.bind(implementation), options.interceptors);
    definition[method.localName] = definitionOf(method);
    handlers[method.localName] = handle(method, invoke, options.maxBytes) as UntypedHandleCall;
  }
  server.addService(definition as never, handlers);
}

type Handler = (input: unknown, context: HandlerContext) => unknown;
type Invoke = (input: Message | AsyncIterable<Message>, context: GrpcContext) => Promise<unknown>;

/** Bytes go in and out as they are, so that a message that cannot be read gets a typed status. */
function definitionOf(method: DescMethod): MethodDefinition<Uint8Array, Buffer> {
  const asBuffer = (bytes: Uint8Array) =>
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: isRequestStream(method),
    responseStream: isResponseStream(method),
    requestSerialize: asBuffer,
    requestDeserialize: (bytes) => bytes,
    responseSerialize: asBuffer as never,
    responseDeserialize: (bytes) => bytes,
  };
}

function isRequestStream({ methodKind }: DescMethod): boolean {
  return methodKind === "client_streaming" || methodKind === "bidi_streaming";
}

function isResponseStream({ methodKind }: DescMethod): boolean {
  return methodKind === "server_streaming" || methodKind === "bidi_streaming";
}

/** Puts the interceptors around a handler: the first is the outermost. */
function withInterceptors(
  method: DescMethod,
  handler: Handler,
  interceptors: readonly Interceptor[],
): Invoke {
  const streams = method.methodKind !== "unary";
  const innermost = async (request: AnyRequest): Promise<AnyResponse> => {
    const { context } = request as AnyRequest & { context: GrpcContext };
    const input = isRequestStream(method) || !streams ? request.message : await onlyOne(request);
    const output = handler(input, context);
    return {
      service: method.parent,
      method,
      stream: streams,
      header: context.responseHeader,
      trailer: context.responseTrailer,
      message: isResponseStream(method) || !streams ? await output : asIterable(await output),
    } as AnyResponse;
  };
  const next = interceptors.reduceRight(
    (inner, interceptor) => interceptor(inner) as never,
    innermost,
  );
  return async (input, context) => {
    const request = new GrpcRequest(method, input, context) as unknown as AnyRequest;
    return (await next(request)).message;
  };
}

async function onlyOne(request: AnyRequest): Promise<Message> {
  for await (const message of request.message as AsyncIterable<Message>) return message;
  throw new ConnectError("the request has no message", Code.InvalidArgument);
}

async function* asIterable<T>(message: T): AsyncIterable<T> {
  yield message;
}

/** A request as interceptors see it; headers and signal are made only if somebody looks. */
class GrpcRequest {
  readonly requestMethod = "POST";
  readonly service: DescService;
  readonly stream: boolean;

  constructor(
    readonly method: DescMethod,
    readonly message: Message | AsyncIterable<Message>,
    readonly context: GrpcContext,
  ) {
    this.service = method.parent;
    this.stream = method.methodKind !== "unary";
  }

  get url(): string {
    return this.context.url;
  }
  get signal(): AbortSignal {
    return this.context.signal;
  }
  get header(): Headers {
    return this.context.requestHeader;
  }
  get contextValues(): ContextValues {
    return this.context.values;
  }
}

/** What a handler learns of its call. */
class GrpcContext implements HandlerContext {
  readonly protocolName = "grpc";
  readonly requestMethod = "POST";
  readonly service: DescService;
  readonly values = createContextValues();
  readonly timeoutMs: () => number | undefined;
  #signal: AbortController | undefined;
  #requestHeader: Headers | undefined;
  #responseHeader: Headers | undefined;
  #responseTrailer: Headers | undefined;

  constructor(
    readonly method: DescMethod,
    private readonly call: Call,
  ) {
    this.service = method.parent;
    const deadline = call.getDeadline();
    const end = deadline instanceof Date ? deadline.getTime() : deadline;
    this.timeoutMs = () => (Number.isFinite(end) ? end - Date.now() : undefined);
  }

  get url(): string {
    return `http://${this.call.getHost()}${this.call.getPath()}`;
  }

  get signal(): AbortSignal {
    if (this.#signal === undefined) {
      const controller = new AbortController();
      this.#signal = controller;
      if (this.call.cancelled) controller.abort();
      (this.call as EventEmitter).once("cancelled", () => controller.abort());
    }
    return this.#signal.signal;
  }

  get requestHeader(): Headers {
    if (this.#requestHeader === undefined) {
      this.#requestHeader = new Headers();
      for (const [key, value] of Object.entries(this.call.metadata.getMap())) {
        if (typeof value === "string") this.#requestHeader.set(key, value);
      }
    }
    return this.#requestHeader;
  }

  get responseHeader(): Headers {
    return (this.#responseHeader ??= new Headers());
  }

  get responseTrailer(): Headers {
    return (this.#responseTrailer ??= new Headers());
  }

  /** Sends the headers that a handler has set, if it has set any. */
  sendHeader(): void {
    if (this.#responseHeader === undefined) return;
    const metadata = metadataOf(this.#responseHeader);
    if (Object.keys(metadata.getMap()).length > 0) this.call.sendMetadata(metadata);
  }

  /** The trailers that a handler has set. */
  get trailer(): Metadata | undefined {
    return this.#responseTrailer && metadataOf(this.#responseTrailer);
  }
}

function metadataOf(headers: Headers): Metadata {
  const metadata = new Metadata();
  headers.forEach((value, key) => metadata.set(key, value));
  return metadata;
}

function handle(method: DescMethod, invoke: Invoke, maxBytes: number) {
  const read = (bytes: Buffer) => readMessage(method, bytes, maxBytes);
  const write = (message: unknown) =>
    encodingOf(message as object) ??
    toBinary(method.output, create(method.output, message as never));
  switch (method.methodKind) {
    case "unary":
      return (call: Unary, done: Done) => {
        void answerOne(method, call, done, write, (context) => invoke(read(call.request), context));
      };
    case "client_streaming":
      return (call: Reading, done: Done) => {
        void answerOne(method, call, done, write, async (context) =>
          onlyResult(await invoke(readAll(call, read), context)),
        );
      };
    case "server_streaming":
      return (call: Writing) =>
        void answerMany(method, call, write, (context) =>
          invoke(asIterable(read(call.request)), context),
        );
    case "bidi_streaming":
      return (call: Duplex) =>
        void answerMany(method, call, write, (context) => invoke(readAll(call, read), context));
  }
}

/** Bytes of a stream that wait to be sent before no more are made: the least that keeps it flowing. */
const MOST_UNSENT = 128 * 1024;

const SENT = "anchord:sent";
const ENDS_OF_WAIT = [SENT, "cancelled", "close"];

type Done = (error: Partial<StatusObject> | null, value?: Uint8Array, trailer?: Metadata) => void;

function readMessage(method: DescMethod, bytes: Buffer, maxBytes: number): Message {
  if (bytes.length > maxBytes) {
    const message = `a message of ${bytes.length} bytes is more than ${maxBytes}: send less at once`;
    throw new AnchordError("MESSAGE_TOO_LARGE", message);
  }
  try {
    return fromBinary(method.input, bytes);
  } catch (error) {
    const message = `the bytes are not a ${method.input.typeName}: ${messageOf(error)}`;
    throw new AnchordError("MALFORMED_MESSAGE", message);
  }
}

async function* readAll(call: Reading | Duplex, read: (bytes: Buffer) => Message) {
  try {
    // The answer is still to be written when reading ends early, so the call is not destroyed then.
    for await (const bytes of call.iterator({ destroyOnReturn: false }))
      yield read(bytes as Buffer);
  } catch (error) {
    throw call.cancelled ? new ConnectError("the caller has gone", Code.Canceled) : error;
  }
}

async function onlyResult(messages: unknown): Promise<unknown> {
  for await (const message of messages as AsyncIterable<unknown>) return message;
  throw new Error("the handler returned no message");
}

async function answerOne(
  method: DescMethod,
  call: Unary | Reading,
  done: Done,
  write: (message: unknown) => Uint8Array,
  invoke: (context: GrpcContext) => Promise<unknown>,
): Promise<void> {
  try {
    const context = new GrpcContext(method, call);
    const bytes = write(await invoke(context));
    context.sendHeader();
    done(null, bytes, context.trailer);
  } catch (error) {
    done(statusOf(error));
  }
}

async function answerMany(
  method: DescMethod,
  call: Writing | Duplex,
  write: (message: unknown) => Uint8Array,
  invoke: (context: GrpcContext) => Promise<unknown>,
): Promise<void> {
  const context = new GrpcContext(method, call);
  try {
    const messages = (await invoke(context)) as AsyncIterable<unknown>;
    context.sendHeader();
    let unsent = 0;
    for await (const message of messages) {
      if (call.cancelled) return;
      const bytes = write(message);
      unsent += bytes.length;
      call.write(bytes, () => {
        unsent -= bytes.length;
        call.emit(SENT);
      });
      while (unsent > MOST_UNSENT && !call.cancelled) await sent(call);
    }
    call.end(context.trailer);
  } catch (error) {
    if (!call.cancelled) call.emit("error", statusOf(error));
  }
}

/** Resolves when the caller has read more, or is gone. */
function sent(call: Writing | Duplex): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      for (const event of ENDS_OF_WAIT) call.off(event, settle);
      resolve();
    };
    for (const event of ENDS_OF_WAIT) call.once(event, settle);
  });
}

/** An error as gRPC carries it: status, message, and google.rpc.Status with the details. */
function statusOf(thrown: unknown): Partial<StatusObject> & Error {
  const error = toConnectError(thrown);
  const metadata = metadataOf(error.metadata);
  const details = error.details.map((detail) =>
    "desc" in detail
      ? anyPack(detail.desc, create(detail.desc, detail.value))
      : { typeUrl: `type.googleapis.com/${detail.type}`, value: detail.value },
  );
  if (details.length > 0) {
    const status = create(StatusSchema, { code: error.code, message: error.rawMessage, details });
    metadata.set("grpc-status-details-bin", Buffer.from(toBinary(StatusSchema, status)));
  }
  return Object.assign(new Error(error.rawMessage), {
    code: error.code as number,
    details: error.rawMessage,
    metadata,
  });
}
