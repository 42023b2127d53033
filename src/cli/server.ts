import { Code, ConnectError } from "@connectrpc/connect";
import type { Interceptor, Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { InvalidArgumentError, Option } from "commander";
import type { Command } from "commander";
import { ExitCode } from "./exit-code.js";
import { ErrorInfoSchema } from "../../gen/ts/google/rpc/error_details_pb.js";
import { printable } from "./printable.js";

/** How a command reaches the service. */
export interface ServerOptions {
  /** Base address of the gRPC door. */
  readonly server: string;
  readonly token?: string;
}

/** The port of the gRPC door where none is named. */
const DEFAULT_PORT = "50051";

/** Gives a command the options of a client of the service. */
export function withServer(command: Command): Command {
  return command
    .addOption(
      new Option("--server <address>", "gRPC door of the service: host:port, or https://host:port")
        .env("ANCHORD_SERVER")
        .default(`http://127.0.0.1:${DEFAULT_PORT}`, `localhost:${DEFAULT_PORT}`)
        .argParser(serverAddress),
    )
    .addOption(
      new Option("--token <token>", "bearer token, where it asks for one").env("ANCHORD_TOKEN"),
    );
}

/** Whoever accepts a connection and never answers is found out by pings, also while a call may take long. */
const PING_MS = { every: 20_000, patience: 10_000 } as const;

/** A connection to the service. */
export function connectServer({ server, token }: ServerOptions): Transport {
  const authorize: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
  return createGrpcTransport({
    baseUrl: server,
    pingIntervalMs: PING_MS.every,
    pingTimeoutMs: PING_MS.patience,
    interceptors: token === undefined ? [] : [authorize],
  });
}

/** Runs what calls the service. Resolves to its exit code, or to that of what it failed with, which is said. */
export async function reporting(
  options: ServerOptions,
  run: () => Promise<number>,
): Promise<number> {
  try {
    return await run();
  } catch (error) {
    return reportFailure(error, options);
  }
}

/** Does something else where what was asked for is not there. */
export function unlessMissing<T>(instead: () => T): (error: unknown) => T {
  return (error) => {
    if (ConnectError.from(error).code === Code.NotFound) return instead();
    throw error;
  };
}

/** Says on standard error what a call failed with, and returns the exit code. */
export function reportFailure(error: unknown, { server, token }: ServerOptions): number {
  if (error instanceof InvalidArgumentError) return said(error.message, ExitCode.usage);
  const failure = ConnectError.from(error);
  const { code, rawMessage } = failure;
  if (code === Code.Unavailable && failure.findDetails(ErrorInfoSchema).length > 0) {
    process.stderr.write(`UNREACHABLE: ${printable(rawMessage)}\n`); // the service itself said so
    return ExitCode.unreachable;
  }
  if (code === Code.Unavailable || code === Code.DeadlineExceeded) {
    process.stderr.write(
      `UNREACHABLE: ${new URL(server).host}: ${printable(rawMessage)}. Is it running? --server names another\n`,
    );
    return ExitCode.unreachable;
  }
  if (/protocol error/i.test(rawMessage)) {
    process.stderr.write(
      `UNREACHABLE: ${new URL(server).host} does not speak gRPC: see --server\n`,
    );
    return ExitCode.unreachable;
  }
  if (/wrong version number|packet length too long/.test(rawMessage)) {
    process.stderr.write(
      `UNREACHABLE: ${new URL(server).host} does not speak TLS: give --server http://…, or host:port\n`,
    );
    return ExitCode.unreachable;
  }
  switch (code) {
    case Code.InvalidArgument:
      return said(rawMessage, ExitCode.usage);
    case Code.Unauthenticated:
      return said(`${tokenText(token)} one of its API_TOKENS`, ExitCode.usage);
    case Code.DataLoss:
      return said(rawMessage, ExitCode.broken);
    default:
      return said(rawMessage, ExitCode.failed);
  }
}

function tokenText(token: string | undefined): string {
  if (token !== undefined) return "the service does not know this --token (or ANCHORD_TOKEN): give";
  return "the service asks for a token: with --token, or in ANCHORD_TOKEN, give";
}

function said(message: string, code: number): number {
  process.stderr.write(`anchord: ${printable(message)}\n`);
  return code;
}

/** host, host:port, or a whole address. */
function serverAddress(text: string): string {
  const isWhole = /^https?:\/\//.test(text);
  const address = isWhole ? text : `http://${text}`;
  if (!URL.canParse(address)) {
    throw new InvalidArgumentError("must be host:port, or an address such as https://host:50051");
  }
  if (isWhole || /:\d+\/?$/.test(text)) return address;
  const url = new URL(address);
  url.port = DEFAULT_PORT;
  return url.href;
}
