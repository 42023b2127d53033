// Writes docs/configuration.md from the settings in src/settings.ts; `--check` only compares.
import { readFileSync, writeFileSync } from "node:fs";
import { PLUGIN_KEYS } from "../dist/src/config/plugin-keys.js";
import { REFERENCE } from "../dist/src/config/reference.js";

const FILE = new URL("../docs/configuration.md", import.meta.url);

const settingRows = Object.entries(REFERENCE).map(([name, { meaning, values, fallback }]) => {
  const byDefault = fallback === "" ? "" : `\`${fallback}\``;
  return `| \`${name}\` | ${meaning} | ${values} | ${byDefault} |`;
});

/** What else is to be known of a key that is honoured. */
const NOTES = {
  db_path: "; name a new file: the plugin's own has tables of another program, and is refused",
};

const pluginRows = Object.entries(PLUGIN_KEYS).map(([key, plugin]) => {
  const name = key.toUpperCase();
  const what = {
    honoured: () => `is the setting \`${name}\`${NOTES[key] ?? ""}`,
    ignored: () => "may say anything",
    "only off": () => {
      const also = plugin.alsoAccepted.map((value) => `, or \`${value}\``).join("");
      return `off${also}; else: ${plugin.reason}`;
    },
  }[plugin.fate];
  return `| \`${key}\` | ${plugin.fate} | ${what()} |`;
});

const text = `# Configuration

No setting is needed. What is set in the environment counts; else what the configuration file says; else
the default. \`anchord config print\` shows every setting in force and where it comes from, secrets masked.

A value that is out of range, a key that is no setting, and settings that do not go together end the start
with exit code 2 and say what must be changed: \`config.yaml:3: grpc_prot: is no setting: did you mean
grpc_port?\` Empty means unset.

The tables are generated from the code, and a test compares the two: run \`npm run gen:docs\` after a change.

## The configuration file

\`--config FILE\`, else \`CONFIG_FILE\`, else \`./config.yaml\` where there is one: YAML, one line a setting, its
name in lower case. What the environment separates by commas may be a list.

\`\`\`yaml
grpc_port: 50051
record_types: [trade, order, system_change, login, config_change]
mining_interval: 60
log_level: WARNING
log_to_file: true
log_file: /var/log/anchord/anchord.log
\`\`\`

Keep secrets out of it: \`private_key_file\` names a file that a secrets manager mounts, and the environment has
the rest. The file that it names may have any mode, since mounted secrets are often readable for everybody who sees them.

## Every setting

| setting | meaning | must be | default |
|---|---|---|---|
${settingRows.join("\n")}

## Keys of the trading bot's plugin

The \`config.yaml\` of the plugin is read as it is, and refused only where it asks for what cannot be had. Each of its keys has one of three fates: **honoured**;
**ignored**, since it describes the plugin; or **only off**, since it asks for what cannot be had: it may be
\`false\`, \`0\`, \`none\`, \`[]\` or empty, and is refused with anything else.

| key | fate | what it does |
|---|---|---|
${pluginRows.join("\n")}

## The log

JSON lines on standard error, and with \`LOG_TO_FILE\` in \`LOG_FILE\` as well, which is created for its owner only.
A file that would grow above \`LOG_FILE_MB\` is renamed to \`LOG_FILE.1\`, the one before it to \`LOG_FILE.2\`, and so
on up to \`LOG_FILES\`. A line is written before the service goes on, so none is lost however it ends; a file that
cannot be written, or a full disk, is told on standard error and tried again every 10 seconds, and stops nothing.

Every chain operation has a line for each step of its life, at level \`info\`: \`operation signed\`,
\`operation broadcast\`, \`operation mined\`, and at level \`error\` \`a transaction ended without effect\`.
At level \`warn\`, \`fees have risen\` is said of one that takes the place of another. They have
its \`kind\` (\`SEAL\`, \`EVIDENCE\`, \`SLA\`, \`ESCALATION\`), \`number\`, \`nonce\` and \`transactionHash\`, and once
mined its \`blockNumber\` and \`gasUsed\`.

\`[secret]\` stands in place of every secret: keys, tokens, passwords in addresses, paths and queries of node
addresses, and credentials in headers. A token or password of less than 8 characters is not looked for.
`;

if (process.argv.includes("--check")) {
  if (readFileSync(FILE, "utf8") !== text) {
    console.error("docs/configuration.md is out of date: run npm run gen:docs");
    process.exit(1);
  }
} else writeFileSync(FILE, text);
