import { ExitCode } from "./exit-code.js";

/** The exit codes of a command that only asks the service for something. */
export const CLIENT_CODES = {
  ok: "done",
  usage: "usage, or a token is missing",
  unreachable: "the service cannot be reached",
  failed: "refused or failed",
} as const satisfies Codes;

type Codes = Partial<Record<keyof typeof ExitCode, string>>;

/** What a command's help says below its options: what else is to be known, examples, exit codes. */
export function afterHelp(parts: {
  /** A paragraph. */
  readonly notes?: string;
  /** Whole command lines. */
  readonly examples: readonly string[];
  /** What each code means here, those that cannot be left out. */
  readonly codes: Codes;
}): string {
  const { notes, examples, codes } = parts;
  const meanings = Object.entries(ExitCode)
    .filter(([name]) => name in codes)
    .map(([name, code]) => `  ${code}  ${codes[name as keyof Codes]}`);
  return [
    "",
    ...(notes === undefined ? [] : [...wrapped(notes), ""]),
    "Examples:",
    ...examples.map((example) => `  ${example}`),
    "",
    "Exit codes:",
    ...meanings,
  ].join("\n");
}

/** As wide as commander writes where there is no terminal. */
const LINE_WIDTH = 80;

function wrapped(text: string): string[] {
  const lines = [""];
  for (const word of text.split(/\s+/)) {
    const line = lines.at(-1) ?? "";
    if (line.length + word.length >= LINE_WIDTH) lines.push(word);
    else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`;
  }
  return lines;
}
