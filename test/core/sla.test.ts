import { create } from "@bufbuild/protobuf";
import { expect } from "chai";
import { DeadlineRefusedSchema } from "../../gen/ts/anchord/v1/record_pb.js";
import { hex, sha256 } from "../../src/core/bytes.js";
import { CHAIN_CALLER, SERVICE_CALLER, subjectKey } from "../../src/core/evidence.js";
import { decodeEntry, encodeRecord } from "../../src/core/record.js";
import {
  announced,
  changed,
  isBreached,
  LATEST_DEADLINE,
  levelDue,
  nextLevelTime,
  projected,
  recordedIntent,
  recordedRefusal,
  refusalOf,
  verdictOf,
} from "../../src/core/sla.js";
import type { Cycle, SlaIntent } from "../../src/core/sla.js";
import { randomOf, seedOfRun } from "../support/random.js";
import { slaRecord } from "../support/sla-log.js";

const NOW = 1_800_000_000;
const SET: SlaIntent = { kind: "SET", deadline: NOW + 100, ladder: [0, 60] };

/** A deadline that was set, and changed so, in steps ten seconds apart. */
function after(...intents: readonly SlaIntent[]): Cycle {
  let cycle: Cycle | undefined;
  for (const [i, intent] of [SET, ...intents].entries()) {
    const time = NOW + 10 * i;
    cycle = changed(cycle, 1, announced(cycle, intent, time), time);
  }
  return cycle as Cycle;
}

const [PAUSED, RESUMED, MET] = (["PAUSED", "RESUMED", "MET"] as const).map((kind) => ({
  kind,
})) as [SlaIntent, SlaIntent, SlaIntent];

describe("A deadline", () => {
  const cases: readonly (readonly [string, Cycle | undefined, SlaIntent, number, string?])[] = [
    ["is set where there is none", undefined, SET, NOW],
    ["is not set to the very moment", undefined, SET, NOW + 100, "DeadlineInPast"],
    ["is set to the last moment", undefined, { ...SET, deadline: LATEST_DEADLINE }, NOW],
    ["is not set beyond it", undefined, { ...SET, deadline: 2 ** 40 }, NOW, "DeadlineTooFar"],
    ["needs a ladder", undefined, { ...SET, ladder: [] }, NOW, "EmptyLadder"],
    [
      "has 8 levels at most",
      undefined,
      { ...SET, ladder: [...Array(9).keys()] },
      NOW,
      "TooManyLevels",
    ],
    ["has levels that ascend", undefined, { ...SET, ladder: [1, 1] }, NOW, "LadderNotAscending"],
    ["is set once", after(), SET, NOW, "AlreadyOpen"],
    ["is set in the past, before it is open", after(), SET, NOW + 100, "DeadlineInPast"],
    ["is set again once met", after(MET), SET, NOW + 20],
    ["is not changed before it is set", undefined, MET, NOW, "UnknownDeadline"],
    ["is extended a second before", after(), extendedTo(101), NOW + 99],
    ["is not extended at the moment", after(), extendedTo(101), NOW + 100, "AlreadyBreached"],
    ["is extended to later alone", after(), extendedTo(100), NOW, "NotLater"],
    ["is not extended too far", after(), extendedTo(2 ** 40), NOW, "DeadlineTooFar"],
    ["is not extended while it stands", after(PAUSED), extendedTo(101), NOW + 20, "AlreadyPaused"],
    ["is not paused after", after(), PAUSED, NOW + 100, "AlreadyBreached"],
    ["is paused once", after(PAUSED), PAUSED, NOW + 20, "AlreadyPaused"],
    ["is not resumed while it runs", after(), RESUMED, NOW, "NotPaused"],
    ["is resumed at any time", after(PAUSED), RESUMED, NOW + 1_000],
    ["is met at any time", after(), MET, NOW + 1_000],
    ["is met once", after(MET), MET, NOW + 20, "AlreadyMet"],
    ["is closed once met", after(MET), PAUSED, NOW + 20, "NotOpen"],
  ];

  for (const [name, before, intent, now, refusal] of cases) {
    it(name, () => {
      expect(refusalOf(before, intent, now)).to.equal(refusal);
    });
  }

  it("is later by as long as it was paused, also where it is met meanwhile", () => {
    const paused = after(PAUSED);
    expect(paused).to.include({ state: "PAUSED", pauseTime: NOW + 10, deadline: NOW + 100 });
    expect(isBreached(paused, NOW + 10_000)).to.equal(false);
    expect(nextLevelTime(paused)).to.equal(undefined);
    expect(after(PAUSED, RESUMED)).to.include({ state: "OPEN", deadline: NOW + 110 });
    const met = after(PAUSED, MET);
    expect(met).to.include({ state: "MET", deadline: NOW + 110, meetTime: NOW + 20 });
    expect(verdictOf(met, NOW + 10_000)).to.equal("MET_IN_TIME");
  });

  it("ends in time before the moment, and late from it on", () => {
    const at = (time: number) => changed(after(), 1, { kind: "MET", deadline: NOW + 100 }, time);
    expect(verdictOf(at(NOW + 99), NOW)).to.equal("MET_IN_TIME");
    expect(verdictOf(at(NOW + 100), NOW)).to.equal("MET_LATE");
    expect(verdictOf(after(), NOW + 99)).to.equal(undefined);
    expect(verdictOf(after(), NOW + 100)).to.equal("BREACHED");
  });

  it("has its levels due one after the other", () => {
    expect([99, 100, 159, 160].map((by) => levelDue(after(), NOW + by))).to.deep.equal([
      0, 1, 1, 2,
    ]);
    const raised = changed(after(), 1, { kind: "LEVEL_RAISED", level: 1, dueTime: 0 }, NOW);
    expect([nextLevelTime(after()), nextLevelTime(raised)]).to.deep.equal([NOW + 100, NOW + 160]);
    expect(levelDue(after(MET), NOW + 1_000)).to.equal(0);
  });

  it("is projected by what waits, as if the chain took it now", () => {
    const next = { ...SET, deadline: NOW + 500 };
    expect(projected(undefined, [SET, MET, next], NOW)).to.deep.include({
      number: 2,
      state: "OPEN",
      deadline: NOW + 500,
    });
    expect(projected(after(), [next, PAUSED], NOW)).to.include({ number: 1, state: "PAUSED" });
    expect(projected(undefined, [MET], NOW)).to.equal(undefined);
  });

  it("never has what the contract cannot, whatever is asked", () => {
    const seed = seedOfRun();
    console.log(`      SEED=${seed}`);
    const random = randomOf(seed);
    let cycle: Cycle | undefined;
    for (let step = 0, now = NOW; step < 5_000; step++, now += random.between(0, 30)) {
      const deadline = now + random.between(-5, 100);
      const intent = random.pick<SlaIntent>([
        { kind: "SET", deadline, ladder: [0, 60] },
        { kind: "EXTENDED", deadline, reason: "why" },
        PAUSED,
        RESUMED,
        MET,
      ]);
      if (refusalOf(cycle, intent, now) !== undefined) continue;
      const before: Cycle | undefined = cycle;
      const number = (before?.number ?? 0) + (intent.kind === "SET" ? 1 : 0);
      cycle = changed(before, number, announced(before, intent, now), now);
      if (before?.number !== cycle.number) continue;
      expect(cycle.deadline, "it moves to later alone").to.be.at.least(before.deadline);
      expect(isBreached(cycle, now), "a breach stays").to.equal(isBreached(before, now));
      expect(cycle.raised).to.equal(before.raised);
    }
  });
});

describe("What the log says of deadlines", () => {
  for (const intent of [SET, extendedTo(200), PAUSED, RESUMED, MET]) {
    it(`has a change ${intent.kind} as it was asked for`, () => {
      const told = recordedIntent(decodeEntry(slaRecord("a", intent).entry));
      expect(told?.intent).to.deep.equal(intent);
      expect(hex(told!.subjectKey)).to.equal(hex(subjectKey("a")));
    });
  }

  it("asks for nothing where the chain told it", () => {
    const entry = decodeEntry(slaRecord("a", SET).entry);
    expect(recordedIntent({ ...entry, caller: CHAIN_CALLER })).to.equal(undefined);
  });

  it("has a refusal with its reason, which is never empty", () => {
    const recordId = sha256(Buffer.from("a"));
    const refusal = (reason: string) => {
      const value = create(DeadlineRefusedSchema, { recordId: hex(recordId), reason });
      const body = { case: "deadlineRefused", value } as const;
      const common = { subject: "a", actor: "", occurTime: undefined, request: undefined };
      return decodeEntry(encodeRecord({ ...common, caller: SERVICE_CALLER, body }).entry);
    };
    const told = recordedRefusal(refusal("AlreadyMet(…)"));
    expect([hex(told!.recordId), told!.reason]).to.deep.equal([hex(recordId), "AlreadyMet(…)"]);
    expect(recordedRefusal(refusal(""))?.reason).to.equal("refused");
  });
});

function extendedTo(by: number): SlaIntent {
  return { kind: "EXTENDED", deadline: NOW + by, reason: "why" };
}
