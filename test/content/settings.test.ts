import { expect } from "chai";
import { loadConfig } from "../../src/config.js";
import { ConfigError } from "../../src/config/error.js";

const PEER_ID = "12D3KooWHdQcicjQHLEeGEG3v6q1Fjgc499UWFobZi86eBn1KxeE";

describe("the settings of the content store", () => {
  it("listen on loopback and know no peers, where nothing is set", () => {
    const { CONTENT_KEY, IPFS_LISTEN, IPFS_PEERS } = loadConfig({});
    expect(CONTENT_KEY).to.equal(undefined);
    expect(IPFS_LISTEN).to.deep.equal(["/ip4/127.0.0.1/tcp/4001"]);
    expect(IPFS_PEERS).to.deep.equal([]);
  });

  it("are lists, separated by commas", () => {
    const peers = [`/dns4/node.example/tcp/4001/p2p/${PEER_ID}`, "/ip6/2001:db8::1/tcp/65535"];
    const config = loadConfig({
      IPFS_LISTEN: "/ip4/0.0.0.0/tcp/0, /ip6/::1/tcp/4001,",
      IPFS_PEERS: peers.join(" , "),
    });
    expect(config.IPFS_LISTEN).to.deep.equal(["/ip4/0.0.0.0/tcp/0", "/ip6/::1/tcp/4001"]);
    expect(config.IPFS_PEERS).to.deep.equal(peers);
  });

  it("may name no address at all", () => {
    expect(loadConfig({ IPFS_LISTEN: "none" }).IPFS_LISTEN).to.deep.equal([]);
  });

  const refused: Readonly<Record<string, readonly string[]>> = {
    CONTENT_KEY: ["ab", "ab".repeat(33), `${"ab".repeat(31)}xy`],
    IPFS_LISTEN: [
      "127.0.0.1:4001",
      "/ip4/127.0.0.1",
      "/ip4/300.0.0.1/tcp/4001",
      "/ip4/127.0.0.1/tcp/65536",
      "/ip6/127.0.0.1/tcp/4001",
      "/ip4/127.0.0.1/udp/4001/quic-v1",
      "/ip4/127.0.0.1/tcp/4001/ws",
      "/dns4/localhost/tcp/4001",
      `/ip4/127.0.0.1/tcp/4001/p2p/${PEER_ID}`,
      "/ip4/127.0.0.1/tcp/4001 /ip4/127.0.0.1/tcp/4002",
    ],
    IPFS_API_URL: [
      "127.0.0.1:5001",
      "/ip4/127.0.0.1/tcp/5001",
      "ftp://127.0.0.1",
      "http://user:100%@127.0.0.1:5001",
      "http://127.0.0.1:5001/?arg=1",
    ],
    IPFS_GATEWAY_URL: ["ipfs.example", "ipfs://node"],
    IPFS_PEERS: [
      "node.example:4001",
      "/ip4/10.0.0.1/tcp/0",
      "/ip4/10.0.0.1/tcp/4001/p2p/",
      "/ip4/10.0.0.1/tcp/4001/p2p/short",
      `/ip4/10.0.0.1/tcp/4001,/p2p/${PEER_ID}`,
    ],
  };
  for (const [name, values] of Object.entries(refused)) {
    for (const value of values) {
      it(`refuse ${name}=${value}`, () => {
        expect(() => loadConfig({ [name]: value })).to.throw(ConfigError, `${name}: `);
      });
    }
  }

  it("name a Kubo node and a gateway", () => {
    const { IPFS_API_URL, IPFS_GATEWAY_URL } = loadConfig({
      IPFS_API_URL: "https://user:pass%25word@ipfs.example:5001",
      IPFS_GATEWAY_URL: "https://gateway.example/",
    });
    expect(IPFS_API_URL).to.equal("https://user:pass%25word@ipfs.example:5001");
    expect(IPFS_GATEWAY_URL).to.equal("https://gateway.example");
  });

  it("are for one IPFS node alone", () => {
    for (const [name, value] of [
      ["IPFS_LISTEN", "/ip4/127.0.0.1/tcp/4001"],
      ["IPFS_PEERS", `/ip4/10.0.0.1/tcp/4001/p2p/${PEER_ID}`],
    ] as const) {
      const both = { IPFS_API_URL: "http://user:secret@127.0.0.1:5001", [name]: value };
      expect(() => loadConfig(both))
        .to.throw(ConfigError, `${name}: `)
        .with.property("message")
        .that.contains("IPFS_API_URL")
        .and.does.not.contain("secret");
    }
  });

  it("never repeat a password in a refusal", () => {
    for (const url of [
      "http://user:secret@",
      "http://user:secret%@127.0.0.1",
      "user:secret@host",
    ]) {
      expect(() => loadConfig({ IPFS_API_URL: url }))
        .to.throw(ConfigError)
        .with.property("message")
        .that.does.not.contain("secret");
    }
  });

  it("never repeat a key in a refusal", () => {
    expect(() => loadConfig({ CONTENT_KEY: "deadbeef-secret" }))
      .to.throw(ConfigError)
      .with.property("message")
      .that.does.not.contain("deadbeef");
  });
});
