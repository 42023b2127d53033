import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";

/** A fixed address in front of a server that comes and goes. */
export interface Relay {
  readonly url: string;
  /** Port of the server behind; undefined while there is none, and connections are refused. */
  target: number | undefined;
  /** Breaks every connection that there is. */
  cut(): void;
  close(): Promise<void>;
}

/** Starts a relay on a free port of the loopback interface. */
export async function startRelay(target: number | undefined): Promise<Relay> {
  const sockets = new Set<Socket>();
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy()).on("close", () => sockets.delete(socket));
  };
  const server = createServer((inbound) => {
    keep(inbound);
    if (relay.target === undefined) return void inbound.destroy();
    const outbound = connect(relay.target, "127.0.0.1");
    keep(outbound);
    inbound.pipe(outbound).pipe(inbound);
    inbound.on("close", () => outbound.destroy());
    outbound.on("close", () => inbound.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const relay: Relay = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    target,
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
    close: async () => {
      relay.cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return relay;
}
