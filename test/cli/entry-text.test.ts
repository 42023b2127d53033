import { create } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { expect } from "chai";
import { EntrySchema } from "../../gen/ts/anchord/v1/receipt_pb.js";
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

  /** What is shown of an entry of this body. */
  const textOf = (body: NonNullable<MessageInitShape<typeof EntrySchema>["body"]>) =>
    entryText(create(EntrySchema, { subject: "complaint/1", body })).split("\n");

  it("is a deadline, with its ladder", () => {
    const deadline = { seconds: 1_769_860_800n };
    const ladder = [{ seconds: 0n }, { seconds: 86_400n }];
    const cause = "ab".repeat(32);
    expect(textOf({ case: "deadlineSet", value: { deadline, ladder, cause } })).to.include.members([
      "deadline_set.deadline: 2026-01-31T12:00:00Z",
      "deadline_set.ladder: 0 s, 86400 s",
      `deadline_set.cause: ${cause}`,
    ]);
  });

  it("is why a deadline was moved, and nothing of a reason that nobody gave", () => {
    const deadline = { seconds: 1_769_860_800n };
    expect(
      textOf({ case: "deadlineExtended", value: { deadline, reason: "ill" } }),
    ).to.include.members([
      "deadline_extended.deadline: 2026-01-31T12:00:00Z",
      "deadline_extended.reason: ill",
    ]);
    expect(textOf({ case: "deadlinePaused", value: {} }).join()).not.to.include("deadline_paused");
  });

  it("is a level with the times when it was due and raised", () => {
    const dueTime = { seconds: 1_769_860_800n };
    const raiseTime = { seconds: 1_769_860_802n };
    const value = { cycle: 1, level: 2, dueTime, raiseTime };
    expect(textOf({ case: "levelRaised", value })).to.include.members([
      "level_raised.cycle: 1",
      "level_raised.level: 2",
      "level_raised.due_time: 2026-01-31T12:00:00Z",
      "level_raised.raise_time: 2026-01-31T12:00:02Z",
    ]);
  });

  it("is also what no calendar has, where an entry is forged", () => {
    const deadline = { seconds: 2n ** 62n };
    const ladder = [{ seconds: -(2n ** 62n), nanos: -1 }];
    expect(textOf({ case: "deadlineSet", value: { deadline, ladder } })).to.include.members([
      "deadline_set.deadline: 4611686018427387904 s 0 ns",
      "deadline_set.ladder: -4611686018427387904 s -1 ns",
    ]);
  });
});
