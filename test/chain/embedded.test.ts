import { expect } from "chai";
import { startDaemon } from "../support/daemon.js";
import type { Daemon } from "../support/daemon.js";

describe("The embedded chain", () => {
  let daemon: Daemon;
  before(async () => {
    daemon = await startDaemon();
  });
  after(() => daemon.stop());

  const ask = (method: string, headers: Record<string, string> = {}) =>
    fetch(daemon.rpcUrl, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: [] }),
    });

  it("answers what a verifier asks", async () => {
    expect(await (await ask("eth_chainId")).json()).to.include({ result: "0x539" });
  });

  for (const method of [
    "evm_snapshot",
    "miner_stop",
    "personal_listAccounts",
    "eth_sendTransaction",
  ]) {
    it(`does not offer ${method}, with which anyone could rewrite it or use its key`, async () => {
      const answer = (await (await ask(method)).json()) as { error?: { code: number } };
      expect(answer.error?.code).to.equal(-32601);
    });
  }

  it("does not talk to pages of other origins", async () => {
    const answer = await ask("eth_chainId", { origin: "http://elsewhere.example" });
    expect(answer.status).to.equal(403);
    expect(answer.headers.get("access-control-allow-origin")).to.equal(null);
  });
});
