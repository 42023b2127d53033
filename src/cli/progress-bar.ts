/** How far something has come. */
export interface Progress {
  /** Shows that so much of so much is done; where there is no terminal, by this line, if there is one. */
  show(done: number, total: number, line?: string): void;
}

/** What is counted: pieces, or bytes, which are shown in larger units. */
export type Counted = "bytes" | "pieces";

/** Runs something under a bar on standard error, which goes away with its end. */
export async function withProgress<T>(
  what: string,
  counted: Counted,
  run: (bar: Progress) => Promise<T>,
): Promise<T> {
  if (!process.stderr.isTTY) return run(PLAIN);
  const { default: progress } = await import("cli-progress");
  const bar = new progress.SingleBar(
    {
      format: `${what} {bar} {percentage}%  {value} of {total}  {eta_formatted} left`,
      clearOnComplete: true,
      formatValue: (value, _options, type) =>
        counted === "bytes" && type !== "percentage" ? bytesText(value) : `${value}`,
    },
    progress.Presets.rect,
  );
  const show = (done: number, total: number) => {
    if (!bar.isActive) bar.start(total, done);
    bar.setTotal(total);
    bar.update(done);
  };
  try {
    return await run({ show });
  } finally {
    bar.stop();
  }
}

const PLAIN: Progress = {
  show: (_done, _total, line) => {
    if (line !== undefined) process.stderr.write(`${line}\n`);
  },
};

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** A number of bytes in the largest unit of which there is one at least, such as "1.5 MiB". */
export function bytesText(bytes: number): string {
  const unit = bytes < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10));
  const size = bytes / 1024 ** unit;
  return `${unit === 0 ? size : size.toFixed(1)} ${UNITS[unit]}`;
}
