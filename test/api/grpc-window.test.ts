import { connect } from "node:http2";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { widenWindows } from "../../src/api/grpc-window.js";
import { until } from "../support/until.js";

const WINDOW_BYTES = 1024 * 1024;

describe("widened windows", () => {
  it("let a caller send a MiB before it is read, of one stream and of all of a connection", async () => {
    const server = new Server();
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => {
        if (error === null) resolve(bound);
        else reject(error);
      });
    });
    widenWindows(server);
    const session = connect(`http://127.0.0.1:${port}`);
    try {
      await until(
        "each stream may carry a MiB",
        () => session.remoteSettings?.initialWindowSize === WINDOW_BYTES,
      );
      await until(
        "the connection may carry a MiB",
        () => session.state.remoteWindowSize === WINDOW_BYTES,
      );
    } finally {
      session.destroy();
      server.forceShutdown();
    }
  });
});
