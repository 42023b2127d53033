import { middleRound, row } from "./row.js";
import type { Measurement } from "./row.js";
import { runScript, startScript } from "./support/script.js";
import { settled, startService } from "./support/service.js";

const IN_FLIGHT = 64;

/** Durable acknowledgements a second, against a server that only echoes the same message. */
export const unary: Measurement = async ({ quick }) => {
  const echo = await startScript("echo-server");
  const service = await startService();
  const rate = (port: string | number, path: string) =>
    runScript<number>("unary-load", `127.0.0.1:${port}`, path, IN_FLIGHT, quick ? 2 : 5);
  const rounds: { value: number; against: number }[] = [];
  for (let i = 0; i < (quick ? 1 : 3); i++) {
    const against = await rate(echo.line, "/bench.Echo/Echo");
    const value = await rate(service.grpcPort, "/anchord.v1.AuditService/RecordEvent");
    rounds.push({ value, against });
    await settled(service);
  }
  await service.stop();
  echo.stop();
  const name = `unary durable acknowledgement, ${IN_FLIGHT} in flight / bare echo`;
  return [row({ name, ...middleRound(rounds), unit: "calls/s", reach: 0.5, better: "higher" })];
};
