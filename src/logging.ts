import { pino } from "pino";
import type { Logger } from "pino";
import type { Config } from "./config.js";
import { logFile } from "./config/derived.js";
import { hiderOf } from "./config/secrets.js";
import { LogFile } from "./logging/file.js";

/** Bytes of lines that wait while standard error takes none; what comes then is dropped. */
const MOST_WAITING = 1024 * 1024;

/**
 * The log of the service, as JSON lines: to standard error, and to a file where LOG_TO_FILE says so. No line has
 * a secret of the configuration, and nothing that happens to a line stops the service. Lines are written before
 * the call returns, so that none is lost however the process ends.
 */
export function openLogger(config: Config): Logger {
  const hide = lineHider(hiderOf(config));
  const stderr = pino.destination({ dest: 2, sync: true, maxLength: MOST_WAITING });
  stderr.on("error", () => undefined); // such as a full disk behind it: there is nowhere to say so
  const file = config.LOG_TO_FILE ? new LogFile(fileOptions(config), say) : undefined;
  const log = pino(
    { level: config.LOG_LEVEL },
    {
      write: (line: string) => {
        const safe = hide(line);
        stderr.write(safe);
        file?.write(safe);
      },
    },
  );
  return log;

  function say(message: string): void {
    log.warn(message);
  }
}

function fileOptions(config: Config) {
  return {
    path: logFile(config),
    mostBytes: config.LOG_FILE_MB * 1_000_000,
    kept: config.LOG_FILES,
  };
}

/** Hides secrets in the values of a line, whatever they do to its JSON. */
function lineHider(hide: (text: string) => string): (line: string) => string {
  return (line) => {
    // What JSON has escaped may be a secret that does not show.
    if (!line.includes("\\") && hide(line) === line) return line;
    const value = JSON.parse(line, (_key, inner: unknown) =>
      typeof inner === "string" ? hide(inner) : inner,
    ) as unknown;
    return `${JSON.stringify(value)}\n`;
  };
}
