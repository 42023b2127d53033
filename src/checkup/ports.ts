import { createServer } from "node:net";
import { ConnectError, createClient } from "@connectrpc/connect";
import type { Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { AuditService } from "../../gen/ts/anchord/v1/audit_service_pb.js";
import { ErrorInfoSchema } from "../../gen/ts/google/rpc/error_details_pb.js";
import type { Config } from "../config.js";
import { fail, ok } from "./finding.js";
import type { Finding } from "./finding.js";

/** How long whatever has a port may take to answer, in milliseconds. */
const PATIENCE_MS = 3_000;

/** Looks at whether the doors can be opened, or are open already. */
export async function* portFindings({ HOST, PORT, GRPC_PORT }: Config): AsyncGenerator<Finding> {
  yield await portFinding("PORT", HOST, PORT, (baseUrl) =>
    createConnectTransport({ baseUrl, httpVersion: "1.1" }),
  );
  yield await portFinding("GRPC_PORT", HOST, GRPC_PORT, (baseUrl) =>
    createGrpcTransport({ baseUrl }),
  );
}

async function portFinding(
  setting: string,
  host: string,
  port: number,
  transportTo: (baseUrl: string) => Transport,
): Promise<Finding> {
  const check = setting === "PORT" ? "HTTP port" : "gRPC port";
  if (port === 0) return ok(check, "any that is free");
  const at = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const failure = await listenFailure(host, port);
  if (failure === undefined) return ok(check, `${at} is free`);
  if (await isAnchord(transportTo(`http://${at}`))) return ok(check, `${at} is served by anchord`);
  return fail(check, `${at} cannot be listened on (${failure})`, `free it, or set ${setting}`);
}

/** Why nobody can listen on a port; undefined where one can. */
function listenFailure(host: string, port: number): Promise<string | undefined> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen(port, host, () => server.close(() => resolve(undefined)));
  });
}

/** Whether an answer comes that only this service gives: a batch, or an error of its own. */
async function isAnchord(transport: Transport): Promise<boolean> {
  const audit = createClient(AuditService, transport);
  try {
    await audit.getBatch({ batch: { case: "number", value: 1n } }, { timeoutMs: PATIENCE_MS });
    return true;
  } catch (error) {
    const infos = ConnectError.from(error).findDetails(ErrorInfoSchema);
    return infos.some(({ domain }) => domain === "anchord");
  }
}
