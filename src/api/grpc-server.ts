import { toBinary } from "@bufbuild/protobuf";
import type { DescFile } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type { Interceptor } from "@connectrpc/connect";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { ReflectionService } from "@grpc/reflection";
import { HealthImplementation } from "grpc-health-check";
import { file_anchord_v1_error_reason } from "../../gen/ts/anchord/v1/error_reason_pb.js";
import { file_google_rpc_error_details } from "../../gen/ts/google/rpc/error_details_pb.js";
import { addService } from "./grpc-adapter.js";
import type { Served } from "./grpc-adapter.js";
import { widenWindows } from "./grpc-window.js";

/** Largest message that the doors accept. */
export const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;

/** Above this grpc-js itself refuses a message, before it is read whole. */
const MAX_FRAME_BYTES = 16 * 1024 * 1024;

/** The gRPC door. */
export interface GrpcDoor {
  /** The port that it listens on. */
  readonly port: number;
  /** Says in grpc.health.v1 whether the service serves. */
  setServing(serving: boolean): void;
  /** Lets running calls finish for so long, then ends them. */
  close(graceMs: number): Promise<void>;
}

/** Opens the gRPC door. Rejects when the port is taken. */
export async function openGrpc(
  address: { readonly host: string; readonly port: number },
  services: readonly Served[],
  interceptors: readonly Interceptor[],
): Promise<GrpcDoor> {
  const server = new Server({
    "grpc.max_receive_message_length": MAX_FRAME_BYTES,
    "grpc.keepalive_time_ms": 60_000,
  });
  for (const each of services)
    addService(server, each, { interceptors, maxBytes: MAX_MESSAGE_BYTES });
  const names = ["", ...services.map(({ service }) => service.typeName)];
  const health = new HealthImplementation(
    Object.fromEntries(names.map((name) => [name, "NOT_SERVING"])),
  );
  health.addToServer(server);
  reflection(services).addToServer(server);
  const port = await bind(server, address);
  widenWindows(server);
  return {
    port,
    setServing: (serving) => {
      const status = serving ? "SERVING" : "NOT_SERVING";
      for (const name of names) health.setStatus(name, status);
    },
    close: (graceMs) => close(server, graceMs),
  };
}

/** Reflection over our services and everything that they refer to, error details included. */
function reflection(services: readonly Served[]): ReflectionService {
  const files = new Map<string, DescFile>();
  const add = (file: DescFile) => {
    if (files.has(file.proto.name)) return;
    for (const dependency of file.dependencies) add(dependency);
    files.set(file.proto.name, file);
  };
  for (const { service } of services) add(service.file);
  add(file_anchord_v1_error_reason);
  add(file_google_rpc_error_details);
  const fileDescriptorProtos = [...files.values()].map(({ proto }) =>
    Buffer.from(toBinary(FileDescriptorProtoSchema, proto)),
  );
  return new ReflectionService({ all: { fileDescriptorProtos } } as never);
}

function bind(server: Server, { host, port }: { host: string; port: number }): Promise<number> {
  const target = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  return new Promise((resolve, reject) => {
    server.bindAsync(target, ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(new Error(`the gRPC door cannot listen on ${target}: ${error.message}`));
    });
  });
}

async function close(server: Server, graceMs: number): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => {
      server.forceShutdown();
      resolve();
    }, graceMs);
    server.tryShutdown(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
