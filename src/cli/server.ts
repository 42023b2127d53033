import { Code, ConnectError } from "@connectrpc/connect";
import type { Interceptor, Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { InvalidArgumentError, Option } from "commander";
import type { Command } from "commander";
import { ExitCode } from "./exit-code.js";
import { printable } from "./printable.js";

/** How a command reaches the service. */
export interface ServerOptions {
  /** Base address of the gRPC door. */
  readonly server: string;
  readonly token?: string;
}

/** Gives a command the options of a client of the service. */
export function withServer(command: Command): Command {
  return command
    .addOption(
      new Option("--server <address>", "gRPC door of the service")
        .env("ANCHORD_SERVER")
        .default("http://127.0.0.1:50051", "localhost:50051")
        .argParser(serverAddress),
    )
    .addOption(
      new Option("--token <token>", "bearer token, where it asks for one").env("ANCHORD_TOKEN"),
    );
}

/** A connection to the service. */
export function connectServer({ server, token }: ServerOptions): Transport {
  const authorize: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
  return createGrpcTransport({
    baseUrl: server,
    interceptors: token === undefined ? [] : [authorize],
  });
}

/** Says on standard error what a call failed with, and returns the exit code. */
export function reportFailure(error: unknown, { server }: ServerOptions): number {
  const { code, rawMessage } = ConnectError.from(error);
  if (code === Code.Unavailable || code === Code.DeadlineExceeded) {
    process.stderr.write(`UNREACHABLE: ${new URL(server).host}: ${printable(rawMessage)}\n`);
    return ExitCode.unreachable;
  }
  process.stderr.write(`anchord: ${printable(rawMessage)}\n`);
  return code === Code.InvalidArgument ? ExitCode.usage : ExitCode.failed;
}

/** host:port, or a whole address. */
function serverAddress(text: string): string {
  const address = /^https?:\/\//.test(text) ? text : `http://${text}`;
  if (!URL.canParse(address)) {
    throw new InvalidArgumentError("must be host:port, or an address such as https://host:50051");
  }
  return address;
}
