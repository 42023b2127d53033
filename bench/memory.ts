import { row } from "./row.js";
import type { Measurement } from "./row.js";
import { peakMegabytes } from "./support/resident.js";
import { settled, startService, streamRecords } from "./support/service.js";

const LIMIT_MB = 400;

/** Peak memory of the daemon, its workers included, while records stream in until all are anchored. */
export const memory: Measurement = async ({ records }) => {
  const service = await startService();
  await streamRecords(service, records);
  await settled(service);
  const value = peakMegabytes(service.pid);
  await service.stop();
  const name = `peak memory, ${records.toLocaleString("en")} records streamed / limit`;
  return [row({ name, value, against: LIMIT_MB, unit: "MB", reach: 1, better: "lower" })];
};
