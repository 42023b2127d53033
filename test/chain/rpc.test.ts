import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect } from "chai";
import { connectRpc } from "../../src/chain/rpc.js";
import { messageOf } from "../../src/core/errors.js";

describe("JSON-RPC", () => {
  it("keeps the node's address, which may hold a key, out of its errors", async () => {
    const rpc = connectRpc("http://127.0.0.1:1/v3/s3cr3t");
    try {
      await rpc("eth_chainId");
      expect.fail("it answered");
    } catch (error) {
      expect(messageOf(error)).to.match(/the chain does not answer .*ECONNREFUSED/);
      expect(JSON.stringify(error) + (error as Error).stack).not.to.contain("s3cr3t");
    }
  });

  it("keeps it out of what the node itself says, too", async () => {
    const server = createServer((request, response) => {
      const error = { code: -32_000, message: `bad project ${request.url}` };
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ jsonrpc: "2.0", id: 1, error }));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    try {
      await connectRpc(`http://127.0.0.1:${port}/v3/s3cr3tpr0ject`)("eth_chainId");
      expect.fail("it answered");
    } catch (error) {
      expect(messageOf(error)).to.equal("bad project /v3/[secret]");
    } finally {
      server.close();
    }
  });
});
