import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { expect } from "chai";
import { WebSocketServer } from "ws";
import type { WebSocket } from "ws";
import { watchHeads } from "../../src/chain/push.js";
import type { WatchTimes } from "../../src/chain/push.js";
import { until } from "../support/until.js";

const NOTIFICATION = JSON.stringify({
  jsonrpc: "2.0",
  method: "eth_subscription",
  params: { subscription: "0x1", result: { number: "0x1" } },
});

/** What a node may say instead of a notification. */
const NONSENSE: readonly (string | Buffer)[] = [
  Buffer.of(0, 255, 1),
  "not json at all",
  "",
  "null",
  "5",
  '"x"',
  "[null]",
  "[1,{}]",
  '{"jsonrpc":"2.0","id":1,',
  '{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}',
  '{"jsonrpc":"2.0","method":"eth_subscription","params":null}',
  '[{"a":1}][{',
];

describe("watchHeads", () => {
  const ends: (() => unknown)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  /** A node that does as told with each connection. */
  async function startNode(onConnection: (socket: WebSocket) => void, port = 0) {
    const server = new WebSocketServer({ port, host: "127.0.0.1" });
    let connections = 0;
    server.on("connection", (socket) => {
      connections++;
      socket.on("error", () => undefined);
      onConnection(socket);
    });
    await once(server, "listening");
    const close = async () => {
      for (const socket of server.clients) socket.terminate();
      await new Promise((resolve) => server.close(resolve));
    };
    ends.push(close);
    return {
      port: (server.address() as AddressInfo).port,
      connections: () => connections,
      open: () => server.clients.size,
      close,
    };
  }

  /** A node that is no WebSocket server. */
  async function startRaw(onSocket: (socket: Socket) => void): Promise<number> {
    const sockets = new Set<Socket>();
    const server: Server = createServer((socket) => {
      sockets.add(socket);
      socket.on("error", () => undefined);
      onSocket(socket);
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    ends.push(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    return (server.address() as AddressInfo).port;
  }

  function watch(port: number, times: WatchTimes = { reconnectMs: 10 }, hash = "") {
    let heads = 0;
    const stop = watchHeads(`ws://127.0.0.1:${port}/v1/secret${hash}`, () => heads++, times);
    ends.push(stop);
    return { heads: () => heads, stop };
  }

  it("subscribes, and calls back when it is connected and for each notification", async () => {
    const said: string[] = [];
    let node: WebSocket | undefined;
    const { port } = await startNode((socket) => {
      node = socket;
      socket.on("message", (data: Buffer) => said.push(data.toString()));
    });
    const { heads } = watch(port, {}, "#fragment");
    await until("it has subscribed", () => said.length === 1);
    expect(JSON.parse(said[0]!)).to.include({ jsonrpc: "2.0", method: "eth_subscribe" });
    expect(JSON.parse(said[0]!)).to.have.deep.property("params", ["newHeads"]);
    expect(heads()).to.equal(1);
    node?.send(NOTIFICATION);
    node?.send(NOTIFICATION);
    await until("both were heard", () => heads() === 3);
  });

  it("takes whatever a node says for a hint, and stays connected", async () => {
    const { port, connections } = await startNode((socket) => {
      for (const message of NONSENSE) socket.send(message);
    });
    const { heads } = watch(port);
    await until("all was heard", () => heads() === 1 + NONSENSE.length);
    expect(connections()).to.equal(1);
  });

  it("connects again after frames that are none, and after more than it takes at once", async () => {
    const { port, connections } = await startNode((socket) => {
      const raw = (socket as unknown as { _socket: Socket })._socket;
      if (connections() % 2 === 0) raw.write(Buffer.of(0xff, 0xff, 0xff));
      else socket.send(Buffer.alloc(2 * 1024 * 1024));
    });
    watch(port);
    await until("it has connected again", () => connections() >= 4);
  });

  it("waits before it connects again to a node that closes at once, however it does", async () => {
    const ways = [
      (socket: WebSocket) => socket.close(1008, "go away"),
      (socket: WebSocket) => socket.terminate(),
    ];
    for (const way of ways) {
      const { port, connections } = await startNode(way);
      const start = performance.now();
      const { heads, stop } = watch(port, { reconnectMs: 100 });
      await until("it has connected often", () => connections() >= 4);
      expect(performance.now() - start).to.be.greaterThan(290);
      expect(heads()).to.be.at.most(4);
      stop();
    }
  });

  it("waits as long when nobody says how long", async () => {
    const { port, connections } = await startNode((socket) => socket.close());
    const timers: number[] = [];
    const { setTimeout: real } = globalThis;
    globalThis.setTimeout = ((...args: Parameters<typeof real>) => {
      if (args[1] === 5000) timers.push(args[1]);
      return real(...args);
    }) as typeof real;
    try {
      watch(port, {});
      await until("it waits", () => timers.length > 0);
    } finally {
      globalThis.setTimeout = real;
    }
    expect(connections()).to.equal(1);
    expect(timers).to.have.length(1);
  });

  it("finds a node again that was gone", async () => {
    const first = await startNode(() => undefined);
    const { heads } = watch(first.port);
    await until("it is connected", () => heads() === 1);
    await first.close();
    const again = await startNode((socket) => socket.send(NOTIFICATION), first.port);
    await until("it is connected again", () => heads() === 3);
    expect(again.connections()).to.equal(1);
  });

  it("gives up a handshake that is refused or never answered", async () => {
    let asked = 0;
    const port = await startRaw((socket) => {
      if (++asked % 3 === 0) socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
      else if (asked % 3 === 1) socket.destroy();
    });
    watch(port, { reconnectMs: 10, answerMs: 50 });
    await until("it has asked again and again", () => asked >= 7);
  });

  it("hangs up on a node that no longer answers, and not on one that does", async () => {
    const dead = await startNode((socket) => {
      (socket as unknown as { _socket: Socket })._socket.pause();
    });
    let pings = 0;
    const alive = await startNode((socket) => socket.on("ping", () => pings++));
    const times = { reconnectMs: 10, answerMs: 30 };
    watch(dead.port, times);
    watch(alive.port, times);
    await until("the silent one was left", () => dead.connections() >= 3);
    await until("the other was asked often", () => pings >= 5);
    expect(alive.connections()).to.equal(1);
  });

  it("answers pings, but keeps no answers for a node that does not read them", async () => {
    let pongs = 0;
    const polite = await startNode((socket) => {
      socket.on("pong", () => pongs++);
      socket.ping("a");
    });
    watch(polite.port);
    await until("its ping was answered", () => pongs === 1);
    const rude = await startNode((socket) => {
      const raw = (socket as unknown as { _socket: Socket })._socket;
      raw.pause();
      const pinging = setInterval(() => {
        for (let i = 0; i < 10_000; i++) socket.ping("x".repeat(125), false, () => undefined);
      }, 1);
      raw.on("close", () => clearInterval(pinging));
      ends.push(() => clearInterval(pinging));
    });
    watch(rude.port);
    await until("it was left", () => rude.connections() > 1);
  });

  it("ends at once when it is stopped, and stays ended", async () => {
    const node = await startNode(() => undefined);
    const connected = watch(node.port);
    await until("it is connected", () => connected.heads() === 1);
    connected.stop();
    await until("its connection has ended", () => node.open() === 0);
    connected.stop();
    let asked = 0;
    const port = await startRaw(() => asked++);
    const connecting = watch(port);
    await until("it connects", () => asked === 1);
    connecting.stop();
    const waiting = watch(await startRaw((socket) => socket.destroy()), { reconnectMs: 60_000 });
    waiting.stop();
    const { stop } = watch(node.port);
    stop(); // before anything has happened
    const other = watch(node.port);
    await until("another is connected", () => other.heads() === 1);
    expect(node.connections()).to.equal(2);
    expect(asked).to.equal(1);
    expect(connected.heads()).to.equal(1);
  });
});
