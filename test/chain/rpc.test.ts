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
});
