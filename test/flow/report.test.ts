import { expect } from "chai";
import fc from "fast-check";
import { csvRow } from "../../src/flow/report/csv.js";
import { dayText } from "../../src/flow/report/day.js";
import type { DayTypeCount, ReportFacts } from "../../src/flow/report/facts.js";
import { htmlReport } from "../../src/flow/report/html.js";
import { countsByDay, countsOverTime, gasOverTime } from "../../src/flow/report/periods.js";
import { seedOfRun } from "../support/random.js";

const seed = seedOfRun();

/** What a report says of these counts, as if it were written at the end of 2026. */
function factsOf(days: readonly DayTypeCount[], scope: Partial<ReportFacts> = {}): ReportFacts {
  const sums = new Map<string, number>();
  for (const { type, count } of days) sums.set(type, (sums.get(type) ?? 0) + count);
  return {
    type: undefined,
    start: undefined,
    end: undefined,
    detailed: false,
    generatedAt: new Date("2026-12-31T12:00:00Z"),
    count: days.reduce((sum, { count }) => sum + count, 0),
    types: [...sums].map(([type, count]) => ({ type, count })),
    days,
    gas: { months: [], unknown: 0 },
    integrity: {
      verdict: "not_checked",
      checkedAt: undefined,
      batchesChecked: 0,
      recordsChecked: 0,
      recordsNotAnchored: 0,
      problemsTotal: 0,
      problems: [],
    },
    identity: undefined,
    ...scope,
  };
}

const onDays = (...days: string[]) => days.map((day) => ({ day, type: "trade", count: 1 }));

describe("a report's charts", () => {
  it("show days, then weeks, months and years, as many as can be told apart, and no gaps", () => {
    const shown = (...days: string[]) => {
      const { unit, periods } = countsOverTime(factsOf(onDays(...days)));
      return [unit, periods.length, periods[0]?.label, periods.at(-1)?.label];
    };
    expect(shown("2026-03-01")).to.deep.equal(["day", 1, "2026-03-01", "2026-03-01"]);
    expect(shown("2026-02-27", "2026-03-02").slice(0, 2)).to.deep.equal(["day", 4]);
    expect(shown("2026-01-01", "2026-04-03").slice(0, 2)).to.deep.equal(["day", 93]);
    expect(shown("2026-01-01", "2026-04-04")).to.deep.equal([
      "week",
      14,
      "2025-12-29",
      "2026-03-30",
    ]);
    expect(shown("2024-12-31", "2027-02-01")).to.deep.equal(["month", 27, "2024-12", "2027-02"]);
    expect(shown("1970-01-01", "2199-12-31")).to.deep.equal(["year", 230, "1970", "2199"]);
  });

  it("lose no record, whatever the days and types are", () => {
    const day = fc.integer({ min: 0, max: 5_000 }).map(dayText);
    const type = fc.integer({ min: 0, max: 9 }).map((n) => `type${n}`);
    const count = fc.integer({ min: 1, max: 1_000 });
    const counts = fc.array(fc.record({ day, type, count }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(counts, (days) => {
        const facts = factsOf([...days].sort((a, b) => (a.day < b.day ? -1 : 1)));
        for (const { series, periods } of [countsOverTime(facts), countsByDay(facts)]) {
          expect(series.length).to.be.at.most(8);
          const all = periods.flatMap(({ values }) => values).reduce((sum, each) => sum + each, 0);
          expect(all).to.equal(facts.count);
        }
      }),
      { seed, numRuns: 50 },
    );
  });

  it("reach over the time that was asked for, but not into the future", () => {
    const scope = { start: "2026-12-27T10:00:00Z", end: "2030-01-01T00:00:00Z" };
    const { periods } = countsOverTime(factsOf(onDays("2026-12-29"), scope));
    expect(periods.map(({ label }) => label.slice(8))).to.deep.equal("27 28 29 30 31".split(" "));
  });

  it("show each month's gas, also where none was spent", () => {
    const gas = { seals: 5, evidence: 0, deadlines: 2, escalations: 0 };
    const { unit, periods } = gasOverTime([
      { month: "2025-11", ...gas },
      { month: "2026-02", ...gas },
    ]);
    expect([unit, periods.map(({ label }) => label)]).to.deep.equal([
      "month",
      ["2025-11", "2025-12", "2026-01", "2026-02"],
    ]);
    expect(periods.map(({ values }) => values)).to.deep.equal([
      [5, 0, 2, 0],
      [0, 0, 0, 0],
      [0, 0, 0, 0],
      [5, 0, 2, 0],
    ]);
  });

  it("end with the calendar", () => {
    const gas = { seals: 5, evidence: 0, deadlines: 0, escalations: 0 };
    const { periods } = gasOverTime([
      { month: "9999-11", ...gas },
      { month: "9999-12", ...gas },
    ]);
    expect(periods.map(({ label }) => label)).to.deep.equal(["9999-11", "9999-12"]);
    const { unit } = gasOverTime([
      { month: "2026-11", ...gas },
      { month: "9999-12", ...gas },
    ]);
    expect(unit).to.equal("year");
  });
});

describe("a report as a page", () => {
  it("says of nothing that there is nothing", async () => {
    const page: string[] = [];
    const records = (async function* () {
      yield [];
    })();
    for await (const part of htmlReport(factsOf([], { detailed: true }), records)) page.push(part);
    expect(page.join("")).to.include("No record is of this type and time.");
    expect(page.join("")).to.include("No gas is known to have been spent.");
    expect(page.join("")).not.to.match(/NaN|undefined|Infinity/);
  });
});

describe("a row of CSV", () => {
  it("keeps cells apart as RFC 4180 says, and hands no formula to a spreadsheet", () => {
    expect(csvRow(["a,b", 'say "so"', "two\nlines", null, -5, "plain"])).to.equal(
      '"a,b","say ""so""","two\nlines",,-5,plain\r\n',
    );
    expect(csvRow(["=1+1", "+1", "-1", "@x", "\tx", '=HYPERLINK("x")'])).to.equal(
      "'=1+1,'+1,'-1,'@x,'\tx,\"'=HYPERLINK(\"\"x\"\")\"\r\n",
    );
  });
});
