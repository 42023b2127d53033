import { Command } from "commander";
import { evidenceDownloadCommand, evidenceExportCommand } from "./evidence-save.js";
import { evidenceUploadCommand } from "./evidence-upload.js";
import { afterHelp, CLIENT_CODES } from "./help.js";
import { evidenceVerifyCommand } from "./evidence-verify.js";

const HELP = afterHelp({
  examples: [
    "anchord evidence upload letter.pdf --subject complaint/ABC12345",
    "anchord evidence verify letter.pdf",
  ],
  codes: {
    ...CLIENT_CODES,
    broken: "it is not anchored, lost or altered",
    notAnchored: "not anchored yet",
  },
});

/** `anchord evidence`: hands files in, verifies them, and gets them back. */
export function evidenceCommand(): Command {
  return new Command("evidence")
    .description("Hand files in as evidence, verify them, and get them back.")
    .addCommand(evidenceUploadCommand())
    .addCommand(evidenceVerifyCommand())
    .addCommand(evidenceDownloadCommand())
    .addCommand(evidenceExportCommand())
    .addHelpText("after", HELP);
}
