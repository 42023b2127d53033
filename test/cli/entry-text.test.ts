import { expect } from "chai";
import { entryText } from "../../src/cli/entry-text.js";
import { unhex } from "../../src/core/bytes.js";
import { decodeEntry } from "../../src/core/record.js";
import { vectors } from "../support/vectors.js";

/** What is shown of the entry vector of that name. */
function linesOf(name: string): string[] {
  const vector = vectors.entries.find((entry) => entry.name === name);
  return entryText(decodeEntry(unhex(vector?.hex ?? ""))).split("\n");
}

describe("what `anchord verify` shows of an entry", () => {
  it("is every field of evidence, and its details", () => {
    expect(linesOf("evidence_added")).to.include.members([
      "subject: complaint/ABC12345",
      "evidence_added.size: 21",
      "evidence_added.file_name: scän.txt",
      "evidence_added.media_type: text/plain",
      "evidence_added.content_kept: true",
      'details: {"pages":12,"source":{"scanner":"s-1"}}',
    ]);
  });

  it("is a size of 0, but no size where none is known", () => {
    expect(linesOf("evidence_added_empty_file")).to.include("evidence_added.size: 0");
    expect(linesOf("evidence_added_hash").join("\n")).not.to.include("evidence_added.size");
  });

  it("is the states of a file by their names", () => {
    expect(linesOf("evidence_checked")).to.include.members([
      "evidence_checked.state: CONTENT_STATE_ALTERED",
      "evidence_checked.previous_state: CONTENT_STATE_INTACT",
      "evidence_checked.size: 21",
    ]);
  });
});
