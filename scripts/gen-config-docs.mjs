// Writes docs/configuration.md from the settings in src/config.ts; `--check` only compares.
import { readFileSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { settings } from "../dist/src/config.js";

const FILE = new URL("../docs/configuration.md", import.meta.url);

const { properties } = z.toJSONSchema(settings, { io: "input" });

function values({ type, enum: choices, minimum, maximum, minLength, maxLength, format, pattern }) {
  if (choices !== undefined) return choices.map((choice) => `\`${choice}\``).join(", ");
  if (type === "integer" || minimum !== undefined) return `${minimum} to ${maximum}`;
  if (format === "uri") return "an http or https address";
  if (pattern !== undefined) return `text matching \`${pattern.replaceAll("|", "\\|")}\``;
  if (maxLength !== undefined) return `text of ${minLength ?? 0} to ${maxLength} characters`;
  return "text";
}

const rows = Object.entries(properties).map(([name, schema]) => {
  const fallback =
    schema.default === undefined || schema.default === "" ? "" : `\`${schema.default}\``;
  return `| \`${name}\` | ${schema.description} | ${values(schema)} | ${fallback} |`;
});

const text = `# Configuration

Every setting is an environment variable. A value that is out of range, and settings that do not go
together, are refused at the start with the name of the setting. Empty means unset.

This table is generated from \`src/config.ts\`, and a test compares the two: run \`npm run gen:docs\`
after a change.

| setting | meaning | values | default |
|---|---|---|---|
${rows.join("\n")}
`;

if (process.argv.includes("--check")) {
  if (readFileSync(FILE, "utf8") !== text) {
    console.error("docs/configuration.md is out of date: run npm run gen:docs");
    process.exit(1);
  }
} else writeFileSync(FILE, text);
