import { readFileSync, writeFileSync } from "node:fs";

/** Megabytes of memory that a process has now. */
export function residentMegabytes(pid: number): number {
  return megabytes(pid, "VmRSS");
}

/** The most megabytes of memory that a process has had, since that was last forgotten. */
export function peakMegabytes(pid: number): number {
  return megabytes(pid, "VmHWM");
}

/** Lets the peak of a process begin again at what it has now. */
export function forgetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
}

function megabytes(pid: number, field: "VmRSS" | "VmHWM"): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const [, kilobytes] = new RegExp(`^${field}:\\s*(\\d+) kB$`, "m").exec(status) ?? [];
  if (kilobytes === undefined) throw new Error("this system does not tell a process's memory");
  return Number(kilobytes) / 1024;
}
